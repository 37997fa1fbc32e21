/** A track of a player: its controls, its picture and the scale of frequencies beside it. */

import { make } from "./player-dom.js";
import { buildFader, buildMeter } from "./player-levels.js";

export const VIEWS = { spectrogram: "Spectrogram", mask: "Mask", excitation: "Excitation" }; // what can be shown of tracks
const ROLES = { mixture: "mixture", stem: "stem", rest: "everything else", residual: "what is left" };
const LOWEST_HZ = 50; // where pictures of spectrograms and masks begin
const HIGHEST_HZ = 16000; // and end, if the sound does not end below; in between they are equal in octaves
const MARK_MARGIN = 0.06; // of a picture's height: closer to its edges no frequency is marked

/** Make the row of one track: its name and controls, and its picture with the cursor. */
export function buildTrack(channel, index, marks, act) {
  const { name, role } = channel.track;
  const key = index < 9 ? ` (key ${index + 1})` : "";
  const solo = make("button", { type: "button", class: "player-solo", title: `Hear only this${key}; with Shift, beside others` }, ["Solo"]);
  const mute = make("button", { type: "button", class: "player-mute", title: "Leave this out" }, ["Mute"]);
  const fader = buildFader(`Volume of ${name}`, (gain_db) => act.setGain(index, gain_db));
  const meter = buildMeter();
  solo.setAttribute("aria-label", `Solo ${name}`);
  mute.setAttribute("aria-label", `Mute ${name}`);
  const picture = make("img", { alt: "", draggable: "false", decoding: "async" });
  const lane = make("div", { class: "player-lane" }, [
    picture,
    make("i", { class: "player-loop" }),
    make("i", { class: "player-cursor" }),
  ]);
  const axis = buildAxis(marks);
  const title = make("div", { class: "player-title" }, [
    make("span", { class: "player-name", title: name }, [name]),
    make("span", { class: "player-role" }, name === ROLES[role] ? [] : [ROLES[role] ?? role]),
  ]);
  const controls = make("div", { class: "player-controls" }, [solo, mute]);
  const head = make("div", { class: "player-head" }, [title, controls, fader.element, meter.element]);
  const item = make("li", { class: "player-track", "data-role": role, "data-hue": String(channel.hue) }, [head, axis, lane]);
  item.setAttribute("aria-label", name);
  const isAdded = ({ shiftKey, ctrlKey, metaKey }) => shiftKey || ctrlKey || metaKey;
  solo.addEventListener("click", (event) => act.solo(index, isAdded(event)));
  mute.addEventListener("click", () => act.mute(index, !channel.muted));
  return {
    item,
    lane,
    meter,
    update() {
      solo.setAttribute("aria-pressed", String(channel.soloed));
      mute.setAttribute("aria-pressed", String(channel.muted));
      fader.set(channel.gain_db);
      item.dataset.audible = String(channel.audible);
    },
    show(view) {
      const shown = channel.track[view] ? view : "spectrogram";
      const url = channel.track[shown];
      item.dataset.view = shown;
      picture.hidden = !url;
      axis.hidden = !url || shown === "excitation"; // whose rows are no frequencies
      if (url) picture.src = url;
      picture.alt = url ? `${VIEWS[shown]} of ${name}` : "";
    },
  };
}

/** Find the lowest and the highest frequency, in Hz, in pictures of what has a sample rate. */
export function frequencyRange(sampleRate) {
  const highest = Math.min(HIGHEST_HZ, sampleRate / 2);
  return [Math.min(LOWEST_HZ, highest / 8), highest];
}

/** Place frequencies, in Hz, in pictures of what has a sample rate: `share` 0 is at the bottom, 1 at the top. */
export function frequencyMarks(sampleRate) {
  if (!sampleRate) return [];
  const [lowest, highest] = frequencyRange(sampleRate);
  return [1, 10, 100, 1000, 10000]
    .flatMap((decade) => [decade, 3 * decade])
    .map((hz) => ({ hz, share: Math.log(hz / lowest) / Math.log(highest / lowest) }))
    .filter(({ share }) => share > MARK_MARGIN && share < 1 - MARK_MARGIN);
}

/** Make the scale of frequencies beside a picture. */
function buildAxis(marks) {
  const labels = marks.map(({ hz, share }) => {
    const label = make("span", {}, [hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`]);
    label.style.bottom = `${100 * share}%`;
    return label;
  });
  return make("div", { class: "player-axis", "aria-hidden": "true" }, labels);
}
