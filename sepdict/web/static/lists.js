/** The lists of sounds and dictionaries. */

import { about, asDuration, asRate, make } from "./elements.js";
import { asCount } from "./marking.js";
import { ask, drop } from "./server.js";
import { attempt, ownChange } from "./session.js";
import { changed, remove, state } from "./state.js";

const KINDS = { convolutional: "movement", nonnegative: "quick" }; // those that are not general

export function asTotal(sounds) {
  const total = sounds.reduce((sum, sound) => sum + sound.duration_s, 0);
  return sounds.length > 1 ? `${sounds.length} recordings, ${asDuration(total)} together` : "";
}

/** Take an upload off the page, and tell the server that it is not needed any more. */
export function forget(id) {
  drop(`/api/uploads/${id}`);
  remove(id);
  ownChange();
}

/** A sound in a list; a mixture can be marked. */
export function soundItem(sound, onMark) {
  const channels = { 1: "mono", 2: "stereo" }[sound.n_channels] ?? `${sound.n_channels} channels`;
  const facts = `${asDuration(sound.duration_s)}, ${asRate(sound.sample_rate)}, ${channels}`;
  const actions = [action("Remove", sound.name, () => forget(sound.id))];
  if (sound.marks) actions.unshift(action("Mark", sound.name, () => onMark(sound)));
  return make("li", {}, [
    about(sound.name, facts + (sound.marks ? asCount(sound) : "")),
    make("span", { class: "end" }, actions),
  ]);
}

let sounding = null; // {id, sound} of the dictionary that is heard alone

/** A dictionary in the list, to be chosen; in `section` is said what goes wrong with it. */
export function dictionaryItem(dictionary, section) {
  const { id, name, source, own, kept } = dictionary;
  const onChange = () => {
    dictionary.chosen = box.checked;
    changed();
  };
  const box = make("input", { type: "checkbox", change: onChange });
  box.checked = dictionary.chosen;
  const kind = KINDS[dictionary.network] ? `, ${KINDS[dictionary.network]}` : "";
  const isOnly = state.dictionaries.every((other) => other === dictionary || other.source !== source);
  const from = isOnly ? "" : own ? `${name}, ` : "in the library, ";
  const heard = `${from}heard ${asDuration(dictionary.trained_s)} at ${asRate(dictionary.sample_rate)}${kind}`;
  const label = make("label", {}, [box, about(source, heard)]);
  const download = { class: "button quiet", href: `/api/dictionaries/${id}`, download: `${source}.safetensors` };
  const hearIt = () => attempt(section, () => hear(dictionary));
  const actions = [action("Hear", source, hearIt), make("a", { ...download, "aria-label": `Download ${source}` }, ["Download"])];
  if (own) {
    const keepIt = () => attempt(section, () => keep(dictionary));
    actions.unshift(kept ? make("span", { class: "facts" }, ["kept"]) : action("Keep", source, keepIt));
    actions.push(action(kept ? "Remove from this page" : "Remove", source, () => forget(id)));
  }
  return make("li", {}, [label, make("span", { class: "end" }, actions)]);
}

/** Play what a dictionary sounds like alone, or stop it. */
async function hear({ id, source }) {
  const again = sounding?.id === id && !sounding.sound.paused;
  sounding?.sound.pause();
  if (again) return;
  sounding = { id, sound: new Audio(`/api/dictionaries/${id}/sound.wav`) };
  try {
    await sounding.sound.play();
  } catch (error) {
    if (error.name !== "AbortError") throw new Error(`${source} cannot be heard`, { cause: error }); // nor if it was stopped
  }
}

async function keep(dictionary) {
  dictionary.kept = (await ask("POST", `/api/dictionaries/${dictionary.id}/keep`)).id;
}

function action(text, of, click) {
  return make("button", { type: "button", class: "quiet", "aria-label": `${text} ${of}`, click }, [text]);
}
