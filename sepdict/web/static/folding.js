/** Steps that fold to a line each when there is a result, which is what is looked at then. */

import { changed, state } from "./state.js";

/**
 * Let a step of the page be folded; what the user opens, or is just working in, stays open.
 *
 * @param {HTMLElement} section with a button and a place for a summary in its head
 * @returns {(hasResult: boolean, summary: string) => void} to be called after every change
 */
export function createFold(section) {
  const [button, line] = [".fold", ".summary"].map((part) => section.querySelector(part));
  let hadResult = false;

  function keepOpen(isOpen) {
    const others = state.opened.filter((id) => id !== section.id);
    state.opened = isOpen ? [...others, section.id] : others;
  }

  button.addEventListener("click", () => {
    keepOpen(section.classList.contains("folded"));
    changed();
  });

  return (hasResult, summary) => {
    if (hasResult && !hadResult && isInUse(section)) keepOpen(true);
    hadResult = hasResult;
    const isFolded = hasResult && !state.opened.includes(section.id);
    section.classList.toggle("folded", isFolded);
    button.hidden = !hasResult;
    button.textContent = isFolded ? "Change" : "Hide";
    button.setAttribute("aria-label", `${button.textContent} ${section.id}`);
    line.textContent = isFolded ? summary : "";
  };
}

function isInUse(section) {
  return section.contains(document.activeElement) || section.querySelector("form:not([hidden])") !== null;
}
