/** Marking moments of a mixture in which one source is alone, on its spectrogram. */

import { asDuration, complain, make, renew, sentence } from "./elements.js";
import { asClock } from "./player-dom.js";
import { isLeft, nameKeys, take } from "./player-keys.js";
import { ask, askWith, previewOf, whyNot } from "./server.js";
import { takeTurn } from "./turns.js";
import { zoomed } from "./zoom.js";

const ADDED_S = 2; // a mark that no pointer has drawn
export const SHORTEST_S = 0.05; // shorter drags are clicks
const STEP_S = 0.1; // of the arrow keys in times
const LEAST_S = 1; // of a source, to learn it from
const N_HUES = 6; // in player.css
const KEYS = [
  ["Space", "Play or pause the recording"],
  ["← →", "1 second back or on"],
  ["M", `Mark ${ADDED_S} seconds from here`],
];
const FILES = { audacity: ".txt", raven: ".selections.txt" };

/** Marks or corrections, as the server takes them. */
export function asLabels(marks) {
  return marks.map(({ start_s, end_s, name, low_hz = null, high_hz = null }) => ({ start_s, end_s, name, low_hz, high_hz }));
}

/** The sources that are marked in a mixture, in the order in which they are first heard. */
export function namesOf({ marks }) {
  return [...new Set(inOrder(marks).map(({ name }) => name).filter(Boolean))];
}

/** Say what is wrong with the marks of a mixture, or nothing. */
export function troubleOf({ name: mixture, marks }) {
  if (marks.some(({ name }) => !name)) return `a name for each mark in ${mixture}`;
  const sorted = inOrder(marks);
  for (const [index, mark] of sorted.entries()) {
    const over = sorted.slice(0, index).find((other) => other.name !== mark.name && other.end_s > mark.start_s + 0.001);
    if (over) return `marks of ${over.name} and ${mark.name} in ${mixture} that do not overlap`;
  }
  return "";
}

/**
 * Let marks be made in a panel.
 *
 * @param {HTMLElement} panel with elements for the parts, as in the page
 * @param {{onChange: () => void}} options called after every change of marks
 * @returns {{open: (mixture: object) => void, close: () => void, showAnew: () => void, readonly mixture: object|null}}
 *   a mixture has its marks in `marks`; `showAnew` shows them if others are there now
 */
export function createMarking(panel, { onChange }) {
  const find = (selector) => panel.querySelector(selector);
  const [lane, sheet, picture, sound] = [".lane", ".sheet", ".sheet img", "audio"].map(find);
  const cursor = make("span", { class: "cursor" });
  const drawn = make("span", { class: "mark drawn" });
  let mixture = null;
  const showAll = zoomed(lane, sheet, { closer: find(".closer"), farther: find(".farther") });
  let dragging = null; // where a drag began, in seconds
  let playedTo = null; // the mark that sounds, if one does
  let shown = null; // the marks that are listed

  find(".play").addEventListener("click", () => toggle(null));
  find(".add").addEventListener("click", addHere);
  find(".close").addEventListener("click", close);
  find("input[type=file]").addEventListener("change", readFile);
  for (const form of Object.keys(FILES)) find(`.${form}`).addEventListener("click", () => save(form));
  picture.addEventListener("load", () => panel.removeAttribute("aria-busy"));
  picture.addEventListener("error", explain);
  for (const event of ["pause", "seeked"]) sound.addEventListener(event, follow);
  sound.addEventListener("play", tick);
  sound.addEventListener("play", () => takeTurn(panel, () => sound.pause()));
  sheet.addEventListener("pointerdown", begin);
  sheet.addEventListener("pointermove", drag);
  sheet.addEventListener("pointerup", end);
  sheet.addEventListener("pointercancel", () => showDrag(null));
  panel.addEventListener("keydown", onKey);
  nameKeys("Marking, with the focus in its panel", KEYS);

  function open(opened) {
    if (mixture === opened) return close();
    close();
    mixture = opened;
    panel.hidden = false;
    panel.setAttribute("aria-busy", "true");
    find(".title").textContent = `Mark ${mixture.name}`;
    picture.alt = `Spectrogram of ${mixture.name}`;
    picture.src = `/api/uploads/${mixture.id}/spectrogram.png`;
    sound.src = previewOf(mixture.id);
    complain(panel, []);
    showAll();
    refresh();
    find(".title").focus({ preventScroll: true });
    panel.scrollIntoView({ block: "nearest" });
  }

  function close() {
    if (!mixture) return;
    sound.pause();
    sound.removeAttribute("src");
    picture.removeAttribute("src");
    panel.hidden = true;
    mixture = null;
    onChange();
  }

  /** Say why there is no picture. */
  async function explain() {
    panel.removeAttribute("aria-busy");
    if (!mixture || !picture.hasAttribute("src")) return;
    const asked = mixture;
    const why = await whyNot(picture.getAttribute("src"));
    if (mixture === asked) complain(panel, [sentence(why || "the picture cannot be shown")]);
  }

  /** Mark two seconds from where the sound is, or the last ones. */
  function addHere() {
    const end_s = Math.min(sound.currentTime + ADDED_S, mixture.duration_s);
    add(Math.max(0, Math.min(sound.currentTime, end_s - ADDED_S)), end_s);
  }

  function add(start_s, end_s) {
    mixture.marks.push({ start_s: rounded(start_s), end_s: rounded(end_s), name: "" });
    changed();
    [...find(".marks").children].at(-1).querySelector("input").focus();
  }

  function changed() {
    refresh();
    onChange();
  }

  function showAnew() {
    if (mixture && mixture.marks !== shown) refresh();
  }

  function refresh() {
    shown = mixture.marks;
    renew(find(".marks"), mixture.marks.map(item));
    drawMarks();
  }

  function drawMarks() {
    const names = namesOf(mixture);
    const boxes = mixture.marks.map((mark) => {
      const box = make("span", { class: "mark" }, [make("span", {}, [mark.name || "?"])]);
      box.style.setProperty("--hue", `var(--hue-${hueOf(names, mark.name)})`);
      return place(box, mark.start_s, mark.end_s);
    });
    sheet.replaceChildren(picture, ...boxes, drawn, cursor);
    find("datalist").replaceChildren(...names.map((name) => make("option", { value: name })));
    const total = (name) => mixture.marks.reduce((sum, each) => sum + (each.name === name) * (each.end_s - each.start_s), 0);
    const said = names.map((name) => `${name} ${asDuration(total(name))}${total(name) < LEAST_S ? ", which is too little" : ""}`);
    find(".total").textContent = said.length ? `Marked: ${said.join("; ")}. Ten seconds of each are plenty.` : "";
    for (const form of Object.keys(FILES)) find(`.${form}`).disabled = !mixture.marks.length || !mixture.marks.every(({ name }) => name);
    showDrag(null);
    follow();
  }

  function item(mark, index) {
    const number = index + 1;
    const name = make("input", { type: "text", list: "marked-names", placeholder: "only … is heard here", "aria-label": `Source of mark ${number}`, autocomplete: "off" });
    name.value = mark.name;
    name.addEventListener("input", () => {
      mark.name = name.value.trim();
      drawMarks();
      onChange();
    });
    const remove = () => {
      mixture.marks = mixture.marks.filter((other) => other !== mark);
      changed();
    };
    const play = make("button", { type: "button", class: "quiet", "aria-label": `Play mark ${number}`, click: () => toggle(mark) }, ["Play"]);
    const gone = make("button", { type: "button", class: "quiet", "aria-label": `Remove mark ${number}`, click: remove }, ["Remove"]);
    const times = make("span", { class: "times" }, [time(mark, "start_s", `Start of mark ${number} in seconds`), " to ", time(mark, "end_s", `End of mark ${number} in seconds`), "\u00a0s"]);
    return make("li", {}, [name, times, make("span", { class: "end" }, [play, gone])]);
  }

  function time(mark, which, label) {
    const input = make("input", { type: "number", min: "0", max: String(rounded(mixture.duration_s)), step: String(STEP_S), "aria-label": label });
    input.value = rounded(mark[which]);
    input.addEventListener("change", () => {
      const wanted = { ...mark, [which]: Number(input.value) };
      const fits = input.value !== "" && wanted.start_s >= 0 && wanted.start_s < wanted.end_s && wanted.end_s <= mixture.duration_s + SHORTEST_S;
      if (fits) mark[which] = wanted[which];
      input.value = rounded(mark[which]);
      drawMarks();
      onChange();
    });
    return input;
  }

  function begin(event) {
    if (event.button) return;
    event.preventDefault();
    sheet.setPointerCapture(event.pointerId);
    dragging = secondsAt(event);
  }

  function drag(event) {
    if (dragging !== null) showDrag(secondsAt(event));
  }

  function end(event) {
    if (dragging === null) return;
    const span = [dragging, secondsAt(event)].sort((one, other) => one - other);
    showDrag(null);
    if (span[1] - span[0] >= SHORTEST_S) return add(...span);
    sound.currentTime = span[0];
  }

  /** Show what a drag has marked so far; without an end there is none any more. */
  function showDrag(end_s) {
    if (end_s === null) dragging = null;
    drawn.hidden = dragging === null;
    if (dragging !== null) place(drawn, Math.min(dragging, end_s), Math.max(dragging, end_s));
  }

  function place(box, start_s, end_s) {
    return placeInTime(box, start_s, end_s, mixture.duration_s);
  }

  function secondsAt({ clientX }) {
    const { left, width } = sheet.getBoundingClientRect();
    return mixture.duration_s * Math.min(1, Math.max(0, (clientX - left) / width));
  }

  /** Play on from where it stands, or a mark from its start, or pause. */
  function toggle(mark) {
    const again = !sound.paused && playedTo === mark;
    sound.pause();
    playedTo = mark;
    if (again) return;
    if (mark) sound.currentTime = mark.start_s;
    sound.play().catch((error) => error.name !== "AbortError" && complain(panel, [sentence(error.message)]));
  }

  /** Show where the sound is, and stop or begin anew at the end of the mark that is played. */
  function follow() {
    if (!mixture) return;
    if (playedTo && sound.currentTime >= playedTo.end_s) {
      if (!find(".loop").checked) sound.pause();
      sound.currentTime = playedTo.start_s;
    }
    cursor.style.left = `${(100 * sound.currentTime) / mixture.duration_s}%`;
    find(".time").textContent = `${asClock(sound.currentTime)} of ${asClock(mixture.duration_s)}`;
    find(".play").textContent = sound.paused ? "Play" : "Pause";
  }

  function tick() {
    follow();
    if (!mixture || sound.paused) return;
    const at = cursor.offsetLeft;
    if (at < lane.scrollLeft || at > lane.scrollLeft + lane.clientWidth) lane.scrollLeft = at;
    requestAnimationFrame(tick);
  }

  async function readFile({ target }) {
    const [file, asked] = [target.files[0], mixture];
    target.value = ""; // so that the same file can be chosen again
    complain(panel, []);
    try {
      const labels = await askWith(file, `/api/labels?${new URLSearchParams({ name: file.name })}`);
      asked.marks.push(...labels);
    } catch (error) {
      complain(panel, [sentence(error.message)]);
    }
    if (mixture) refresh();
    onChange();
  }

  async function save(form) {
    complain(panel, []);
    try {
      const { text } = await ask("POST", `/api/labels/${form}`, { labels: asLabels(mixture.marks) });
      const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
      make("a", { href: url, download: mixture.name.replace(/\.\w+$/, "") + FILES[form] }).click();
      URL.revokeObjectURL(url);
    } catch (error) {
      complain(panel, [sentence(error.message)]);
    }
  }

  function onKey(event) {
    if (isLeft(event)) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === " ") event.repeat || toggle(null);
    else if (step) sound.currentTime = Math.min(mixture.duration_s, Math.max(0, sound.currentTime + step));
    else if (event.key === "m") addHere();
    else return;
    take(event);
    event.stopPropagation(); // the player has the same keys
  }

  return {
    open,
    close,
    showAnew,
    get mixture() {
      return mixture;
    },
  };
}

/** How a mixture's marks are counted in a list. */
export function asCount({ marks }) {
  return marks.length ? `, ${marks.length} ${marks.length === 1 ? "mark" : "marks"}` : "";
}

function inOrder(marks) {
  return [...marks].sort((one, other) => one.start_s - other.start_s);
}

/** Find the hue of a name, as the player has it; 0 for none and for others. */
export function hueOf(names, name) {
  return name ? (names.indexOf(name) % N_HUES) + 1 : 0;
}

/** Place a box on a picture that spans a duration. */
export function placeInTime(box, start_s, end_s, duration_s) {
  box.style.left = `${(100 * start_s) / duration_s}%`;
  box.style.width = `${(100 * (end_s - start_s)) / duration_s}%`;
  return box;
}

/** Round seconds to milliseconds. */
export function rounded(seconds) {
  return Math.round(1000 * seconds) / 1000;
}
