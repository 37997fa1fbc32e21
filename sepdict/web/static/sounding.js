/** What is heard from a list: a recording or a dictionary. */

import { whyNot } from "./server.js";
import { changed } from "./state.js";
import { takeTurn } from "./turns.js";

let heard = null; // {path, sound} of what is heard from a list

/** Tell whether a file is heard now. */
export function isHeard(path) {
  return heard?.path === path;
}

/** Play a file of the server. */
export async function hear(path, name) {
  const sound = new Audio(path);
  takeTurn(sound, () => sound.pause());
  heard = { path, sound };
  sound.addEventListener("pause", () => end(sound)); // also at its end
  changed();
  try {
    await sound.play();
  } catch (error) {
    const isMeant = error.name === "AbortError"; // it was stopped before it began
    end(sound);
    if (!isMeant) throw new Error((await whyNot(path)) || `${name} cannot be heard`, { cause: error });
  }
}

/** End what is heard, if it is this file. */
export function hush(path) {
  if (isHeard(path)) heard.sound.pause();
}

function end(sound) {
  if (heard?.sound !== sound) return;
  heard = null;
  changed();
}
