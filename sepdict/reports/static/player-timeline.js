/** The time that is in view: its ruler, how far it is magnified, what is clicked and dragged on it, and the loop. */

import { asClock, make } from "./player-dom.js";

const TICK_STEPS_S = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const TICK_WIDTH_PX = 72; // at least, or labels would touch
const LABEL_WIDTH_PX = 36; // closer to the end there is no room for one
export const ZOOM = 2; // of one press
const SHORTEST_VIEW_S = 0.5;
const MOST_ZOOM = 256;
const CLICK_PX = 5; // what is dragged less was clicked

/**
 * Make the timeline of a player, with what is magnified and scrolled in its element.
 *
 * @param {HTMLElement} element gets --player-zoom, how often the time in view goes into all of it, and --player-start, the
 *   share of all that is before it; with --player-position and --player-loop-start and -end, shares of all
 * @param {number} duration in seconds
 * @param {{seek: (time: number) => void, drag: (time: number|null) => void,
 *   setLoop: (start: number, end: number) => void, tellTiming: () => void}} act
 */
export function buildTimeline(element, duration, act) {
  const ticks = make("div", { class: "player-ticks", "aria-hidden": "true" });
  const ruler = make(
    "div",
    {
      ...{ class: "player-ruler", role: "slider", tabindex: "0", "aria-label": "Position", title: "Drag to set a loop" },
      ...{ "aria-valuemin": "0", "aria-valuemax": duration.toFixed(1) },
    },
    [ticks, make("i", { class: "player-loop" }), make("i", { class: "player-cursor" })],
  );
  const scroller = make("input", { type: "range", class: "player-scroll", min: 0, step: "any" });
  scroller.setAttribute("aria-label", "Scroll through time");
  scroller.addEventListener("input", () => scrollTo(Number(scroller.value)));
  const mostZoom = Math.min(MOST_ZOOM, Math.max(1, duration / SHORTEST_VIEW_S));
  const button = (sign, label, title, factor) =>
    make("button", { type: "button", "aria-label": label, title, click: () => zoomBy(factor) }, [sign]);
  const buttons = [
    button("−", "Zoom out", "Show more time (key −)", 1 / ZOOM),
    button("+", "Zoom in", "Magnify time (key +)", ZOOM),
  ];
  let zoom = 1;
  let start = 0; // of what is in view, as a share of all
  let position = 0; // of the cursor, in seconds

  const inView = () => [start * duration, (start + 1 / zoom) * duration];
  const timeAt = (surface, { clientX }) => {
    const { left, width: wide } = surface.getBoundingClientRect();
    return duration * Math.min(1, Math.max(0, start + (clientX - left) / wide / zoom));
  };

  function setStart(share) {
    start = Math.min(1 - 1 / zoom, Math.max(0, share));
    element.style.setProperty("--player-start", start);
    scroller.value = start;
    drawTicks();
  }

  /** Scroll because the user wants to. */
  function scrollTo(share) {
    setStart(share);
    act.tellTiming();
  }

  function setZoom(wanted, wantedStart) {
    zoom = Math.min(mostZoom, Math.max(1, wanted));
    element.style.setProperty("--player-zoom", zoom);
    scroller.hidden = zoom === 1;
    scroller.max = 1 - 1 / zoom;
    setStart(wantedStart);
    const [out, closer] = buttons;
    out.disabled = zoom === 1;
    closer.disabled = zoom === mostZoom;
  }

  /** Magnify, and keep the cursor where it is if it can be seen, and the middle if not. */
  function zoomBy(factor) {
    const [from, to] = inView();
    const isSeen = position >= from && position <= to;
    const kept = isSeen ? position / (duration || 1) : start + 0.5 / zoom;
    const place = (kept - start) * zoom;
    const wanted = Math.min(mostZoom, Math.max(1, zoom * factor));
    setZoom(wanted, kept - place / wanted);
    act.tellTiming();
  }

  /** Scroll on when the cursor has left the view, or, `always`, whenever it is out of it. */
  function follow(seconds, always) {
    const [from, to] = inView();
    const wasSeen = position >= from && position <= to;
    position = seconds;
    if ((seconds >= from && seconds <= to) || !(wasSeen || always)) return;
    setStart(seconds / (duration || 1) - 0.05 / zoom);
  }

  function drawTicks() {
    const [from, to] = inView();
    const most = Math.max(1, ruler.clientWidth / TICK_WIDTH_PX);
    const step = TICK_STEPS_S.find((seconds) => (to - from) / seconds <= most) ?? TICK_STEPS_S.at(-1);
    const first = Math.floor(from / step + 1e-9);
    const count = Math.floor(to / step + 1e-9) - first + 1;
    ticks.replaceChildren(
      ...Array.from({ length: count }, (_, index) => {
        const seconds = (first + index) * step;
        const share = (seconds - from) / (to - from || 1);
        const fits = (1 - share) * ruler.clientWidth >= LABEL_WIDTH_PX;
        const tick = make("span", {}, fits ? [asClock(seconds, step < 0.1 ? 2 : step < 1 ? 1 : 0)] : []);
        tick.style.left = `${100 * share}%`;
        return tick;
      }),
    );
  }

  /** Let the cursor be dragged on a surface that shows the time in view. */
  function makeSeekable(surface) {
    surface.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      surface.setPointerCapture(event.pointerId);
      act.drag(timeAt(surface, event));
    });
    surface.addEventListener("pointermove", (event) => {
      if (surface.hasPointerCapture(event.pointerId)) act.drag(timeAt(surface, event));
    });
    surface.addEventListener("pointerup", (event) => {
      if (surface.hasPointerCapture(event.pointerId)) act.seek(timeAt(surface, event));
    });
    surface.addEventListener("pointercancel", () => act.drag(null)); // the page is being scrolled
    surface.addEventListener("wheel", onWheel, { passive: false });
  }

  /** Let a loop be dragged on a surface; a click moves the cursor there. */
  function makeLoopable(surface) {
    let begun = null; // where a drag began: {x, time}
    surface.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      surface.setPointerCapture(event.pointerId);
      begun = { x: event.clientX, time: timeAt(surface, event) };
    });
    const spanTo = (event) => [begun.time, timeAt(surface, event)].sort((one, other) => one - other);
    const isDragged = (event) => begun && Math.abs(event.clientX - begun.x) >= CLICK_PX;
    surface.addEventListener("pointermove", (event) => isDragged(event) && showLoop(...spanTo(event), true));
    surface.addEventListener("pointerup", (event) => {
      if (!begun) return;
      if (isDragged(event)) act.setLoop(...spanTo(event));
      else act.seek(begun.time);
      begun = null;
    });
    surface.addEventListener("pointercancel", () => (begun = null));
    surface.addEventListener("wheel", onWheel, { passive: false });
  }

  /** Scroll along where that is asked for. */
  function onWheel(event) {
    const by = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (zoom === 1 || !by || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    scrollTo(start + by / ruler.clientWidth / zoom);
  }

  function showLoop(from, to, isOn) {
    element.dataset.loop = isOn ? "on" : "off";
    element.style.setProperty("--player-loop-start", from / (duration || 1));
    element.style.setProperty("--player-loop-end", to / (duration || 1));
  }

  makeLoopable(ruler);
  setZoom(1, 0);
  return {
    element: make("div", { class: "player-scale" }, [ruler, scroller]),
    ruler,
    buttons,
    makeSeekable,
    drawTicks,
    zoomBy,
    follow,
    showLoop,
    inView,
    magnify: setZoom,
    shown: () => ({ zoom, start }),
    setTime(seconds) {
      element.style.setProperty("--player-position", duration > 0 ? seconds / duration : 0);
      ruler.setAttribute("aria-valuenow", seconds.toFixed(1));
      ruler.setAttribute("aria-valuetext", `${asClock(seconds)} of ${asClock(duration)}`);
    },
  };
}
