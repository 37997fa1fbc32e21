/** The lists of sounds. */

import { about, asDuration, asRate, make } from "./elements.js";
import { asCount } from "./marking.js";
import { drop } from "./server.js";
import { ownChange } from "./session.js";
import { remove } from "./state.js";

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

/** A quiet button for something in a list. */
export function action(text, of, click) {
  return make("button", { type: "button", class: "quiet", "aria-label": `${text} ${of}`, click }, [text]);
}
