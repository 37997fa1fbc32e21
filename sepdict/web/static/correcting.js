/** Correcting stems: boxes on their spectrograms, in time and frequency, of what belongs to another stem. */

import { make, renew } from "./elements.js";
import { asLabels, hueOf, placeInTime, rounded, SHORTEST_S } from "./marking.js";
import { frequencyRange } from "./player-track.js";
import { sourcesOf, state } from "./state.js";
import { zoomed } from "./zoom.js";

const ADDED_S = 1; // of a box that no pointer has drawn
const EDGE = 0.02; // of a picture's height: a box that comes so near to its edge has no limit there
const MIXTURE = "mixture";
const BUSY = "Other work goes on: wait for its end, or cancel it.";

/**
 * Let the stems of the result that is heard be corrected.
 *
 * @param {HTMLElement} place with the button that opens the panel, and elements for its parts, as in the page
 * @param {object} act
 * @param {() => void} act.onChange called after every change of corrections
 * @param {() => void} act.separate separates again
 * @returns {{hear: (report: object|null) => void, showAnew: () => void}} `hear` takes the result that is in the player;
 *   `showAnew` shows the corrections if others are there now
 */
export function createCorrecting(place, { onChange, separate }) {
  const find = (selector) => place.querySelector(selector);
  const [panel, sheet, picture, stem] = ["#correcting", ".sheet", ".sheet img", ".stem"].map(find);
  const drawn = make("span", { class: "mark drawn" });
  const showAll = zoomed(find(".lane"), sheet, { closer: find(".closer"), farther: find(".farther") });
  const before = []; // what the corrections were before each change
  let report = null;
  let mixture = null;
  let dragging = null; // where a drag began, {at_s, share}
  let shown = null; // the corrections that are listed
  let offered = []; // the stems that they can belong to

  find("#correct").addEventListener("click", () => (panel.hidden ? open() : close()));
  find(".close").addEventListener("click", close);
  find(".add").addEventListener("click", () => add({ start_s: 0, end_s: ADDED_S, low_hz: null, high_hz: null }));
  find(".undo").addEventListener("click", undo);
  find(".again").addEventListener("click", separate);
  stem.addEventListener("change", showPicture);
  sheet.addEventListener("pointerdown", begin);
  sheet.addEventListener("pointermove", (event) => dragging && showDrag(boxTo(event)));
  sheet.addEventListener("pointerup", end);
  sheet.addEventListener("pointercancel", () => showDrag(null));

  function hear(heard) {
    report = heard;
    const now = state.mixtures.find(({ id }) => id === heard?.request.mixture) ?? null;
    if (now !== mixture) before.length = 0;
    mixture = now;
    find("#correct").hidden = !mixture || !report.result || report.result.is_silent;
    if (find("#correct").hidden) return close();
    if (!panel.hidden) open();
  }

  function open() {
    const wanted = stem.value;
    const names = [...report.result.stems, MIXTURE];
    stem.replaceChildren(...names.map((name, index) => new Option(name, index)));
    if (names[wanted]) stem.value = wanted;
    if (panel.hidden) showAll();
    panel.hidden = false;
    find("#correct").setAttribute("aria-expanded", "true");
    showPicture();
    refresh();
  }

  function close() {
    panel.hidden = true;
    find("#correct").setAttribute("aria-expanded", "false");
  }

  function showPicture() {
    const { stems } = report.result;
    picture.alt = `Spectrogram of ${stems[stem.value] ?? "the mixture"}`;
    picture.src = `/api/jobs/${report.id}/${stem.value < stems.length ? stem.value : MIXTURE}.png`;
  }

  function showAnew() {
    if (mixture && !state.mixtures.includes(mixture)) return hear(report); // it was taken away
    if (panel.hidden) return;
    if (mixture.corrections !== shown || String(stemsThen()) !== String(offered)) refresh();
    else refreshActions();
  }

  /** Change the corrections, so that it can be undone. */
  function change(corrections, redraw = refresh) {
    before.push(mixture.corrections);
    mixture.corrections = shown = corrections;
    redraw();
    onChange();
  }

  /** Change one of them; the list stays as it is, for the focus is about to move in it. */
  function changeOne(index, values) {
    change(shown.map((each, other) => (other === index ? { ...each, ...values } : each)), drawBoxes);
  }

  function undo() {
    mixture.corrections = before.pop();
    refresh();
    onChange();
  }

  /** Add a box, of the first stem that is not the one which is seen. */
  function add(box) {
    const name = report.result.stems.find((_, index) => String(index) !== stem.value);
    change([...mixture.corrections, { ...box, end_s: Math.min(box.end_s, rounded(report.result.duration_s)), name }]);
    [...find(".marks").children].at(-1).querySelector("select").focus();
  }

  /** List the stems that are there, and those that there will be: a source may have another name by then. */
  function stemsThen() {
    return [...new Set([...report.result.stems, ...sourcesOf(mixture).filter(Boolean)])];
  }

  function refresh() {
    shown = mixture.corrections;
    offered = stemsThen();
    renew(find(".marks"), shown.map(item));
    drawBoxes();
  }

  function drawBoxes() {
    const boxes = shown.map((correction) => {
      const box = make("span", { class: "mark" }, [make("span", {}, [correction.name])]);
      box.style.setProperty("--hue", `var(--hue-${hueOf(report.result.stems, correction.name)})`);
      return put(box, correction);
    });
    sheet.replaceChildren(picture, ...boxes, drawn);
    showDrag(null);
    refreshActions();
  }

  function refreshActions() {
    const [now, then] = [mixture, report.request].map(({ corrections }) => JSON.stringify(asLabels(corrections)));
    const [isSame, isHeld] = [now === then, document.querySelector("#separate").disabled];
    const why = !isSame && isHeld ? document.querySelector("#missing").textContent || BUSY : "";
    find(".again").disabled = isSame || isHeld;
    if (find(".why").textContent !== why) find(".why").textContent = why;
    find(".undo").disabled = !before.length;
  }

  function item(correction, index) {
    const number = index + 1;
    const names = [...new Set([...offered, correction.name])];
    const owner = make("select", { "aria-label": `Stem of correction ${number}` }, names.map((name) => new Option(name)));
    owner.value = correction.name;
    owner.addEventListener("change", () => changeOne(index, { name: owner.value }));
    const field = (key, label, most) => numberField(index, key, `${label} of correction ${number}`, most);
    const [duration_s, highest] = [report.result.duration_s, report.result.sample_rate / 2];
    const times = make("span", { class: "times" }, [
      ...[field("start_s", "Start in seconds", duration_s), " to ", field("end_s", "End in seconds", duration_s), "\u00a0s, "],
      ...[field("low_hz", "Lowest frequency in Hz", highest), " to ", field("high_hz", "Highest frequency in Hz", highest), "\u00a0Hz"],
    ]);
    const onRemove = () => change(shown.filter((_, other) => other !== index));
    const gone = make("button", { type: "button", class: "quiet", "aria-label": `Remove correction ${number}`, click: onRemove }, ["Remove"]);
    return make("li", {}, [make("label", {}, ["belongs to ", owner]), times, make("span", { class: "end" }, [gone])]);
  }

  function begin(event) {
    if (event.button) return;
    event.preventDefault();
    sheet.setPointerCapture(event.pointerId);
    dragging = placeAt(event);
  }

  function end(event) {
    if (!dragging) return;
    const box = boxTo(event);
    showDrag(null);
    if (box.end_s - box.start_s >= SHORTEST_S) add(box);
  }

  /** Show what a drag has drawn so far; without a box there is none any more. */
  function showDrag(box) {
    if (!box) dragging = null;
    drawn.hidden = !box;
    if (box) put(drawn, box);
  }

  function placeAt({ clientX, clientY }) {
    const { left, top, width, height } = sheet.getBoundingClientRect();
    const within = (share) => Math.min(1, Math.max(0, share));
    return { at_s: report.result.duration_s * within((clientX - left) / width), share: 1 - within((clientY - top) / height) };
  }

  function boxTo(event) {
    const ends = [dragging, placeAt(event)];
    const [start_s, end_s] = ends.map(({ at_s }) => rounded(at_s)).sort((one, other) => one - other);
    const [low, high] = ends.map(({ share }) => share).sort((one, other) => one - other);
    const [lowest, highest] = frequencyRange(report.result.sample_rate);
    const asHz = (share) => Math.round(lowest * (highest / lowest) ** share);
    return { start_s, end_s, low_hz: low < EDGE ? null : asHz(low), high_hz: high > 1 - EDGE ? null : asHz(high) };
  }

  function put(box, { start_s, end_s, low_hz, high_hz }) {
    const [lowest, highest] = frequencyRange(report.result.sample_rate);
    const asShare = (hz) => Math.min(1, Math.max(0, Math.log(hz / lowest) / Math.log(highest / lowest)));
    const [low, high] = [low_hz === null ? 0 : asShare(low_hz), high_hz === null ? 1 : asShare(high_hz)];
    box.style.top = `${100 * (1 - high)}%`;
    box.style.bottom = `${100 * low}%`;
    return placeInTime(box, start_s, end_s, report.result.duration_s);
  }

  /** Let a number be typed; a frequency may be left out, and what does not fit is not taken. */
  function numberField(index, key, label, most) {
    const isTime = key.endsWith("_s");
    const input = make("input", { type: "number", min: "0", max: String(most), step: isTime ? "0.1" : "1", "aria-label": label });
    if (!isTime) input.placeholder = key === "low_hz" ? "lowest" : "highest";
    input.value = shown[index][key] ?? "";
    input.addEventListener("change", () => {
      const value = input.value === "" ? null : Number(input.value);
      if (fits({ ...shown[index], [key]: value }, report.result.duration_s)) changeOne(index, { [key]: value });
      else input.value = shown[index][key] ?? "";
    });
    return input;
  }

  return { hear, showAnew };
}

/** Find whether a correction is within a sound of a duration, and its limits are in order. */
function fits({ start_s, end_s, low_hz, high_hz }, duration_s) {
  const isTimed = start_s !== null && end_s !== null && start_s >= 0 && start_s < end_s && end_s <= duration_s + SHORTEST_S;
  return isTimed && (low_hz ?? 0) >= 0 && (low_hz ?? 0) < (high_hz ?? Infinity);
}
