/** The lists of sounds. */

import { about, asDuration, asRate, make } from "./elements.js";
import { asCount } from "./marking.js";
import { drop, previewOf } from "./server.js";
import { attempt, ownChange } from "./session.js";
import { hear, hush, isHeard } from "./sounding.js";
import { remove } from "./state.js";

export function asTotal(sounds) {
  const total = sounds.reduce((sum, sound) => sum + sound.duration_s, 0);
  return sounds.length > 1 ? `${sounds.length} recordings, ${asDuration(total)} together` : "";
}

/** Take an upload off the page, and tell the server that it is not needed any more. */
export function forget(id) {
  hush(previewOf(id));
  drop(`/api/uploads/${id}`);
  remove(id);
  ownChange();
}

/** A sound in a list, which can be removed; `actions` are buttons for what else can be done with it, `remark` is said. */
export function soundItem(sound, actions, remark = "") {
  const channels = { 1: "mono", 2: "stereo" }[sound.n_channels] ?? `${sound.n_channels} channels`;
  const silent = sound.is_silent ? ", silent: there is nothing in it" : "";
  const facts = `${asDuration(sound.duration_s)}, ${asRate(sound.sample_rate)}, ${channels}${silent}${remark}`;
  const gone = action("Remove", sound.name, () => forget(sound.id));
  return make("li", { "data-id": sound.id }, [
    about(sound.name, facts + (sound.marks ? asCount(sound) : "")),
    make("span", { class: "end" }, [...actions, gone]),
  ]);
}

/**
 * A button that plays a file of the server, and then ends it; in `section` is said why it cannot be heard.
 *
 * Where the file is no more than the beginning of something, `beginning` is how long that is, in words.
 */
export function hearAction(path, name, section, beginning = "") {
  if (isHeard(path)) return action("Stop", name, () => hush(path));
  const begin = () => attempt(section, () => hear(path, name));
  return beginning ? action(`Hear the first ${beginning}`, `of ${name}`, begin) : action("Hear", name, begin);
}

/** A quiet button for something in a list. */
export function action(text, of, click) {
  return make("button", { type: "button", class: "quiet", "aria-label": `${text} ${of}`, click }, [text]);
}
