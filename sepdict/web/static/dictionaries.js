/** The list of dictionaries: what is chosen, heard, kept, renamed and removed. */

import { about, asDuration, asRate, make } from "./elements.js";
import { action, forget, hearAction } from "./lists.js";
import { ask } from "./server.js";
import { attempt, ownChange } from "./session.js";
import { hush } from "./sounding.js";
import { changed, state } from "./state.js";

const KINDS = { convolutional: "movement", nonnegative: "quick" }; // those that are not general

let renaming = null; // {id, item} of the one whose name is being changed

/** List all dictionaries, those of the library by their names; in `section` is said what goes wrong with them. */
export function dictionaryItems(section) {
  const [own, others] = [true, false].map((wanted) => state.dictionaries.filter((each) => Boolean(each.own) === wanted));
  const installed = [...others, ...state.undoable].sort((one, other) => one.source.localeCompare(other.source));
  return [...installed, ...own].map((each) => itemOf(each, section));
}

function itemOf(dictionary, section) {
  if (dictionary.undo) return removedItem(dictionary, section);
  return dictionary.id === renaming?.id ? renaming.item : dictionaryItem(dictionary, section);
}

/** A dictionary, to be chosen. */
function dictionaryItem(dictionary, section) {
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
  const heard = `${from}learned from ${asDuration(dictionary.trained_s)} at ${asRate(dictionary.sample_rate)}${kind}`;
  const label = make("label", {}, [box, about(source, heard)]);
  const download = { class: "button quiet", href: `/api/dictionaries/${id}`, download: `${source}.safetensors` };
  const actions = [hearAction(soundOf(id), source, section), make("a", { ...download, "aria-label": `Download ${source}` }, ["Download"])];
  if (kept) actions.unshift(make("span", { class: "facts" }, ["kept"]));
  else if (own) actions.unshift(action("Keep", source, () => attempt(section, () => keep(dictionary))));
  if ((kept || !own) && state.limits?.changes_library) {
    const rename = action("Rename", source, () => beginRenaming(dictionary, section));
    rename.classList.add("rename");
    actions.push(rename, action("Remove", source, () => attempt(section, () => uninstall(dictionary))));
  } else if (own) {
    actions.push(action(kept ? "Remove from this page" : "Remove", source, () => forget(id)));
  }
  return make("li", { "data-id": installedAs(dictionary) }, [label, make("span", { class: "end" }, actions)]);
}

function soundOf(id) {
  return `/api/dictionaries/${id}/sound.wav`;
}

async function keep(dictionary) {
  dictionary.kept = (await ask("POST", `/api/dictionaries/${dictionary.id}/keep`)).id;
}

/** A dictionary that was removed from the library, and comes back if the user thinks better of it. */
function removedItem(dictionary, section) {
  const { id, source } = dictionary;
  const undo = action("Undo", `removing ${source}`, () => attempt(section, () => restore(dictionary)));
  const end = make("span", { class: "end" }, [undo]);
  return make("li", { "data-id": id }, [about(source, "removed from the library"), end]);
}

/** Put a field in the place of a dictionary, for another name. */
function beginRenaming(dictionary, section) {
  const { id, source } = dictionary;
  const hints = { autocomplete: "off", spellcheck: "false", "aria-label": `New name of ${source}` };
  const field = make("input", { type: "text", ...hints });
  field.value = source;
  const end = (now = installedAs(dictionary)) => {
    renaming = null;
    changed();
    section.querySelector(`[data-id="${now}"] .rename`)?.focus();
  };
  const save = async (event) => {
    event.preventDefault();
    const name = field.value.trim();
    if (name === source) return end();
    const isRenamed = await attempt(section, async () => end(await rename(dictionary, name)));
    if (!isRenamed) field.focus();
  };
  const buttons = [
    make("button", { type: "submit", class: "quiet" }, ["Save"]),
    make("button", { type: "button", class: "quiet", click: () => end() }, ["Cancel"]),
  ];
  const form = make("form", { submit: save }, [field, make("span", { class: "end" }, buttons)]);
  form.addEventListener("keydown", (event) => event.key === "Escape" && end());
  renaming = { id, item: make("li", { "data-id": installedAs(dictionary) }, [form]) };
  changed();
  field.select();
}

/** Find by what identifier the library has a dictionary, or the page, where it is not in the library. */
function installedAs({ id, own, kept }) {
  return own ? (kept ?? id) : id;
}

/** Rename a dictionary of the library, which stays chosen, and return its identifier from then on. */
async function rename(dictionary, name) {
  const facts = await ask("PUT", `/api/dictionaries/${installedAs(dictionary)}/name`, { name });
  replace(dictionary, facts);
  return facts.id;
}

async function uninstall(dictionary) {
  const id = installedAs(dictionary);
  hush(soundOf(dictionary.id));
  const { removed } = await ask("DELETE", `/api/dictionaries/${id}`);
  state.undoable.push({ ...dictionary, id, own: false, kept: null, undo: removed });
  replace(dictionary);
}

async function restore({ undo, ...dictionary }) {
  const facts = await ask("POST", `/api/dictionaries/${undo}/restore`);
  state.undoable = state.undoable.filter((each) => each.undo !== undo);
  replace(dictionary, facts);
}

/** Put what the library has in the place of a dictionary; of one that was learned on this page, the page's copy goes. */
function replace(dictionary, facts = null) {
  state.dictionaries = state.dictionaries.filter(({ id }) => id !== dictionary.id && id !== facts?.id);
  if (facts) state.dictionaries.push({ ...dictionary, ...facts, own: false, kept: null });
  if (dictionary.own) forget(dictionary.id);
  else ownChange();
}
