/** Pieces of the page; text goes in as text, never as markup. */

import { make } from "./player-dom.js";
import { whenReleased } from "./pressing.js";

export { make };

/**
 * Replace the items of a list; the control that had the focus in it has it again, or what took its place.
 *
 * Items may say what they are about, `data-id`, and are then known by it wherever in the list they are. A list in which
 * something is pressed is left as it is until that is released.
 */
export function renew(list, items) {
  whenReleased(list, () => replaceItems(list, items));
}

function replaceItems(list, items) {
  const focused = document.activeElement;
  const row = [...list.children].findIndex((item) => item.contains(focused));
  const column = row < 0 ? -1 : controlsOf(list.children[row]).indexOf(focused);
  const { id } = list.children[row]?.dataset ?? {};
  list.replaceChildren(...items);
  if (row < 0) return;
  const same = items.find(({ dataset }) => id && dataset.id === id) ?? items[Math.min(row, items.length - 1)];
  const controls = controlsOf(same ?? list.closest("section"));
  (controls[column] ?? controls.at(-1) ?? focused).focus();
}

function controlsOf(element) {
  return [...element.querySelectorAll("a, button, input")];
}

/** Name a thing, with what there is to know of it. */
export function about(name, facts) {
  const parts = [make("span", { class: "name" }, [name]), make("span", { class: "facts" }, [facts])];
  return make("span", { class: "about" }, parts);
}

/**
 * Say in a section what went wrong, until it is dismissed or something else is said; nothing where there is nothing.
 *
 * What is `calm` is no more than worth knowing.
 */
export function complain(section, messages, { calm = false } = {}) {
  const notice = section.querySelector(":scope > .notice");
  notice.hidden = !messages.length;
  if (!messages.length) return;
  notice.classList.toggle("calm", calm);
  notice.setAttribute("role", calm ? "status" : "alert");
  const dismiss = make("button", { type: "button", class: "quiet", click: () => complain(section, []) }, ["Dismiss"]);
  const lines = messages.map((message) => make("span", {}, [message]));
  notice.replaceChildren(make("span", { class: "lines" }, lines), dismiss);
}

/** Give the focus to an element if nothing has it, for what had it is gone; returns whether it took it. */
export function catchFocus(element) {
  const focused = document.activeElement;
  if (focused && focused !== document.body && !focused.disabled && !focused.closest("[hidden]")) return false;
  element.focus({ preventScroll: true });
  return true;
}

/**
 * Show in a section how far something is, and for how long it has been going on; without a text there is no bar.
 *
 * Of `steps`, those before `step` are done, and those after it are to come. `more` is an element to stand below.
 */
export function showProgress(section, { text, took = "", share, steps = [], step = -1, onCancel, more } = {}) {
  const place = section.querySelector(":scope > .progress");
  place.hidden = text === undefined;
  if (place.hidden) {
    place.replaceChildren();
    return;
  }
  if (!place.firstChild) {
    const said = make("span", { class: "said" }, [make("span", { role: "status" }), make("span")]);
    const cancel = make("button", { type: "button" }, ["Cancel"]);
    const list = make("ol", { "aria-label": "Steps" });
    place.append(said, make("progress", { max: "1", "aria-label": "Progress" }), cancel, list);
  }
  const [said, bar, cancel, list] = place.children;
  const [status, seconds] = said.children; // which are no news: nobody wants to be told them one by one
  if (status.textContent !== text) status.textContent = text;
  seconds.textContent = took;
  if (share === undefined) bar.removeAttribute("value");
  else bar.value = share;
  cancel.onclick = onCancel;
  list.hidden = !steps.length;
  if (more && !place.contains(more)) place.append(more);
  list.replaceChildren(...steps.map((each, index) => stepItem(each, index - step)));
}

function stepItem(text, distance) {
  if (distance === 0) return make("li", { "aria-current": "step" }, [text]);
  const words = distance < 0 ? [text, make("span", { class: "visually-hidden" }, [", done"])] : [text];
  return make("li", distance < 0 ? { class: "done" } : {}, words);
}

/** Let files be chosen in a place or dropped on it. */
export function takeFiles(place, onFiles) {
  const input = place.querySelector("input[type=file]");
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length) onFiles(files, "");
  });
  let depth = 0; // of elements inside, which each tell of entering and leaving
  const over = (change) => place.classList.toggle("over", (depth = change ? depth + change : 0) > 0);
  place.addEventListener("dragenter", () => over(1));
  place.addEventListener("dragleave", () => over(-1));
  place.addEventListener("drop", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    over(0);
    const { files, folder } = await dropped(event.dataTransfer);
    if (files.length) onFiles(files, folder);
  });
}

/** List what was dropped, also what is in folders, and the name of the first folder. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return { files: [...transfer.files], folder: "" };
  const found = await Promise.all(entries.map(filesIn));
  return { files: found.flat(), folder: entries.find((entry) => entry.isDirectory).name };
}

async function filesIn(entry) {
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (!some.length) break;
    found.push(...some);
  }
  const visible = found.filter((each) => each.isFile && !each.name.startsWith("."));
  visible.sort((one, other) => one.name.localeCompare(other.name));
  return (await Promise.all(visible.map(filesIn))).flat();
}

/** Write seconds as people say them. */
export function asDuration(seconds) {
  if (seconds < 0.1) return "under 0.1\u00a0s";
  if (seconds < 59.95) return `${withoutZero(seconds.toFixed(1))}\u00a0s`; // no line ends before a unit
  const whole = Math.round(seconds);
  const rest = whole % 60 ? ` ${whole % 60}\u00a0s` : "";
  return `${Math.floor(whole / 60)}\u00a0min${rest}`;
}

/** Write a sample rate in Hz. */
export function asRate(sampleRate) {
  return `${withoutZero((sampleRate / 1000).toFixed(1))}\u00a0kHz`;
}

function withoutZero(number) {
  return number.replace(".0", "");
}

/** Begin a text as a sentence does, unless a file's name begins it. */
export function sentence(text) {
  return /^[^:]+\.\w+: /.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}
