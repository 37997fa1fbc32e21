/** Keys: which of them the element in focus has for itself, and the sheet that names all others, opened by "?". */

import { make } from "./player-dom.js";

const NOT_TYPED_IN = ["button", "checkbox", "color", "file", "radio", "range", "reset", "submit"];
const TYPED_IN = `input${NOT_TYPED_IN.map((type) => `:not([type=${type}])`).join("")}, select, textarea, [contenteditable]`;
const MOVING = /^(Arrow|Home$|End$|Page)/; // those of sliders
const sheetGroups = new Map(); // what the sheet has under each title

/**
 * Tell whether a key that was pressed is to be left alone: it is the focused element's, or a shortcut of the browser.
 *
 * Space and letters are typed in fields, and Space ticks boxes; buttons and links have Enter, which is never taken.
 *
 * @param {KeyboardEvent} event
 * @returns {boolean}
 */
export function isLeft({ target, key, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey || document.querySelector("dialog[open]")) return true;
  if (!target.matches) return false; // the document
  if (target.closest(TYPED_IN)) return true;
  if (target.matches("[type=checkbox], [type=radio]")) return key === " " || MOVING.test(key);
  return target.matches("[type=range]") && MOVING.test(key);
}

/** Have a key do nothing else; a button in focus would be pressed when Space is released. */
export function take(event) {
  event.preventDefault();
  if (event.key === " ") event.target.addEventListener("keyup", (up) => up.preventDefault(), { once: true });
}

/**
 * Name keys on the sheet.
 *
 * @param {string} title what they are for; a title has its keys once
 * @param {[string, string][]} keys each the keys, with spaces between them, and what they do
 */
export function nameKeys(title, keys) {
  if (!sheetGroups.size) document.addEventListener("keydown", openByKey);
  sheetGroups.set(title, keys);
}

/** Make the small button that opens the sheet. */
export function sheetButton() {
  return make("button", { type: "button", class: "player-help keys", title: "All keys (?)", click: openSheet }, ["Keys"]);
}

function openByKey(event) {
  if (event.key !== "?" || isLeft(event)) return;
  take(event);
  openSheet();
}

/** Show the sheet; Escape, "?", its button and a click beside it close it. */
function openSheet() {
  const close = () => sheet.close();
  const head = make("header", {}, [
    make("h2", { id: "player-sheet-title" }, ["Keys"]),
    make("button", { type: "button", click: close }, ["Close"]),
  ]);
  const groups = [...sheetGroups].map(([title, keys]) =>
    make("section", {}, [make("h3", {}, [title]), make("dl", {}, keys.map(asLine))]),
  );
  const sheet = make("dialog", { class: "player-sheet", "aria-labelledby": "player-sheet-title" }, [
    make("div", {}, [head, ...groups]),
  ]);
  sheet.addEventListener("click", ({ target }) => target === sheet && close());
  sheet.addEventListener("keydown", (event) => {
    event.stopPropagation(); // closed, it would be opened anew
    if (event.key === "?") close();
  });
  sheet.addEventListener("close", () => sheet.remove());
  document.body.append(sheet);
  sheet.showModal();
}

function asLine([keys, what]) {
  const caps = keys.split(" ").flatMap((key) => [make("kbd", {}, [key]), " "]);
  return make("div", {}, [make("dt", {}, caps), make("dd", {}, [what])]);
}
