/** Magnifying a picture in time, in a lane that scrolls. */

const ZOOM = 2; // of one press
const MOST_ZOOM = 64;

/**
 * Let a sheet in a lane be magnified by two buttons.
 *
 * @param {HTMLElement} lane which scrolls
 * @param {HTMLElement} sheet in it
 * @param {{closer: HTMLButtonElement, farther: HTMLButtonElement}} buttons
 * @returns {() => void} shows all of it again
 */
export function zoomed(lane, sheet, { closer, farther }) {
  let zoom = 1;
  closer.addEventListener("click", () => magnify(zoom * ZOOM));
  farther.addEventListener("click", () => magnify(zoom / ZOOM));

  function magnify(wanted) {
    const center = (lane.scrollLeft + lane.clientWidth / 2) / (lane.scrollWidth || 1);
    zoom = Math.min(MOST_ZOOM, Math.max(1, wanted));
    sheet.style.width = `${100 * zoom}%`;
    lane.scrollLeft = center * lane.scrollWidth - lane.clientWidth / 2;
    farther.disabled = zoom === 1;
    closer.disabled = zoom === MOST_ZOOM;
  }

  return () => magnify(1);
}
