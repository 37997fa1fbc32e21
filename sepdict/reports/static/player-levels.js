/** Levels in dB: faders to set them and meters that show them. */

import { make } from "./player-dom.js";
import { take } from "./player-keys.js";

export const SILENT_DB = -60; // of a fader at its lower end, where nothing is heard
export const MOST_GAIN_DB = 12;
const FADER_STEP_DB = 0.5;
const LOWEST_SHOWN_DB = -60; // of meters
const HIGHEST_SHOWN_DB = 6;
const FALL_DB = 0.5; // of meters at every look, so that peaks can be seen

/** Express a gain in dB as a factor; the lowest is silence. */
export function amplitudeOf(gain_db) {
  return gain_db <= SILENT_DB ? 0 : 10 ** (gain_db / 20);
}

/** Keep a gain within what faders have. */
export function boundGain(gain_db) {
  return Math.min(MOST_GAIN_DB, Math.max(SILENT_DB, gain_db));
}

/** Write a gain with its sign. */
export function asGain(gain_db) {
  if (gain_db <= SILENT_DB) return "−∞ dB";
  return `${gain_db > 0 ? "+" : gain_db < 0 ? "−" : ""}${Math.abs(gain_db).toFixed(1)} dB`;
}

/** Make a fader with its value beside it; a double click or the key 0 sets it to 0 dB. */
export function buildFader(label, onSet) {
  const title = "Volume; a double click or the key 0 sets it to 0 dB";
  const range = { min: SILENT_DB, max: MOST_GAIN_DB, step: FADER_STEP_DB };
  const input = make("input", { type: "range", ...range, title, "aria-label": label });
  const value = make("span", { class: "player-value", "aria-hidden": "true" });
  input.addEventListener("input", () => onSet(Number(input.value)));
  input.addEventListener("dblclick", () => onSet(0));
  input.addEventListener("keydown", (event) => {
    if (event.key !== "0" || event.ctrlKey || event.metaKey || event.altKey) return;
    take(event);
    onSet(0);
  });
  return {
    element: make("div", { class: "player-fader" }, [input, value]),
    set(gain_db) {
      input.value = gain_db;
      input.setAttribute("aria-valuetext", asGain(gain_db));
      value.textContent = asGain(gain_db);
    },
  };
}

/** Make a meter, which is shown peaks, 1 at full scale, again and again. */
export function buildMeter() {
  const bar = make("i");
  let shown_db = -Infinity;
  return {
    element: make("div", { class: "player-meter", "aria-hidden": "true" }, [bar]),
    show(peak) {
      shown_db = peak > 0 ? Math.max(20 * Math.log10(peak), shown_db - FALL_DB) : -Infinity;
      const share = (shown_db - LOWEST_SHOWN_DB) / (HIGHEST_SHOWN_DB - LOWEST_SHOWN_DB);
      bar.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
    },
  };
}

/** Make a meter with a lamp that says when full scale is passed, until it is clicked. */
export function buildMasterMeter() {
  const meter = buildMeter();
  const title = "Peaks passed full scale and were cut off: turn the master down. A click clears this.";
  const clear = () => light(false);
  const button = make("button", { type: "button", title, "aria-label": "Clipped; clear", click: clear }, ["Clip"]);
  const lamp = make("span", { class: "player-lamp", role: "status" });
  const light = (isLit) => {
    if (isLit !== lamp.hasChildNodes()) lamp.replaceChildren(...(isLit ? [button] : []));
  };
  return {
    elements: [meter.element, lamp],
    show(peak) {
      meter.show(peak);
      if (peak > 1) light(true);
    },
  };
}
