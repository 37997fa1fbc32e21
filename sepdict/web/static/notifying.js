/** Telling who looks elsewhere that work has ended, where the browser can and the user has asked for it. */

import { make } from "./player-dom.js";

const DENIED = "The browser lets this page tell you nothing; its settings can change that";

let isWanted = false;

/** Make the box that asks for it, the only thing that has the browser ask for permission; null where there is no way. */
export function notificationBox() {
  if (!window.isSecureContext || !window.Notification) return null;
  const words = make("span", {}, ["Tell me when it is done"]);
  const box = make("input", { type: "checkbox", change: want });
  box.checked = isWanted;
  return make("label", { class: "telling" }, [box, words]);

  async function want() {
    isWanted = box.checked && (await Notification.requestPermission()) === "granted";
    if (box.checked && !isWanted) words.textContent = DENIED;
    box.checked = isWanted;
  }
}

/** Tell of an end, if that is wanted and nobody looks at the page. */
export function notify(title, body) {
  if (!isWanted || !document.hidden) return;
  try {
    new Notification(title, { body }).onclick = () => window.focus();
  } catch {
    // browsers of phones have the name, and no way but for service workers; the tab's title says it
  }
}
