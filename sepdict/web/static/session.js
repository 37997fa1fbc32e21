/**
 * The session of this page: the server keeps what is on it, under the name that is in the address.
 *
 * The name stands in the fragment, /#s=…, because browsers send fragments to no server: neither in the referrer, nor in
 * what servers and proxies write down of requests for pages. The content policy has no say in it.
 */

import { complain, sentence } from "./elements.js";
import { isSame, merge } from "./merge.js";
import { changed, read, set, take } from "./state.js";
import { ask, lookUp, persist, sleep } from "./server.js";

const SAVE_AFTER_MS = 300; // after the last change: names are typed letter by letter
const LOOK_MS = 2000; // for what another page of this session has changed
const LOOK_UNSEEN_MS = 30_000; // while nobody sees this one

let id = "";
let opened = () => {};
let opening = new Promise((resolve) => (opened = resolve));
let agreed = null; // the document that both this page and the server had last
let revision = -1; // of the session, as it was seen last
let library = ""; // its state, as it was seen last
let nOwnChanges = 0; // of uploads and jobs: what the server said before them is old
let saving = null; // a timer
let isSaving = false;
let isRefused = false; // what is set was not taken
let onGone = () => {};
let onTaken = () => {};

/** Name a path in this session, when there is one. */
export async function ofSession(path, query = {}) {
  await opening;
  return `${path}?${new URLSearchParams({ ...query, session: id })}`;
}

/** Note that an upload or a job was added or removed here, and say that something is another now. */
export function ownChange() {
  nOwnChanges += 1;
  changed();
}

/**
 * Open the session that is in the address, or begin one; returns whether there is one, for it may be gone.
 *
 * @param {object} hear
 * @param {(first: object|null, gone: object[]) => void} hear.onTaken when the server had something new; `first` is what
 *   is set in a session that was found, `gone` the dictionaries that were chosen here and are in the library no more
 * @param {() => void} hear.onGone when the session is gone while the page is open
 */
export async function openSession(hear) {
  ({ onTaken, onGone } = hear);
  window.addEventListener("hashchange", () => location.reload()); // another session was entered
  id = new URLSearchParams(location.hash.slice(1)).get("s") ?? "";
  try {
    if (id) await pull();
    else await begin();
    opened();
  } catch (error) {
    if (error.status !== 404) throw error;
    return false;
  }
  window.addEventListener("pagehide", () => save({ keepalive: true }));
  document.addEventListener("visibilitychange", () => document.hidden || look());
  keepLooking();
  return true;
}

/** Begin a session with what is set on this page. */
export async function begin() {
  ({ id } = await persist(() => ask("POST", "/api/sessions")));
  history.replaceState(null, "", `#s=${id}`); // no event, and Back does not lead to a page without it
  [revision, agreed] = [-1, null];
  await pull({ keep: true });
}

/** Save what is set on this page, soon. */
export function saveSoon() {
  clearTimeout(saving);
  if (agreed) saving = setTimeout(save, SAVE_AFTER_MS);
}

/** Do something, and say in a section what went wrong; returns whether nothing did. */
export async function attempt(section, work) {
  complain(section, []);
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") complain(section, [sentence(error.message)]);
    if (error.status === 404) await look();
    return false;
  } finally {
    changed();
  }
}

/** Ask what there is, and take over what is new; `keep` keeps what is set here where nobody knows what was set. */
async function pull({ keep = false } = {}) {
  const before = nOwnChanges;
  const there = await lookUp(`/api/sessions/${id}?seen=${revision}&library=${library}`);
  if (there.document === undefined || there.revision < revision || before !== nOwnChanges) return;
  const isFirst = !agreed;
  const theirs = there.document;
  const merged = isFirst ? (keep ? read() : theirs) : merge(agreed, read(), theirs);
  [agreed, revision, library] = [theirs, there.revision, there.library.state];
  const gone = take(there);
  set(merged);
  onTaken(isFirst && !keep ? theirs : null, gone);
  changed();
}

async function save(options = {}) {
  clearTimeout(saving);
  const mine = read();
  if (!agreed || isSame(mine, agreed)) return;
  if (isSaving && !options.keepalive) return saveSoon();
  isSaving = true;
  try {
    const saved = await ask("PUT", `/api/sessions/${id}`, { revision, document: mine }, options);
    agreed = mine;
    if (saved.revision === revision + 1) revision = saved.revision;
    else await pull(); // another page did something, too
    if (isRefused) complain(document.querySelector("#session"), []);
    isRefused = false;
  } catch (error) {
    await heed(error);
  } finally {
    isSaving = false;
  }
}

/** Do what is to be done where something could not be saved. */
async function heed(error) {
  if (error.status === 409) {
    await look();
    saveSoon();
  } else if (error.status === 404 || error.status === 0) {
    await look(); // which waits until there is an answer
    saveSoon();
  } else {
    isRefused = true;
    complain(document.querySelector("#session"), [`What is set on this page cannot be kept: ${error.message}.`]);
  }
}

/** Look whether another page has changed something, or whether all is gone. */
async function look() {
  const asked = id;
  if (!asked) return;
  try {
    await pull();
  } catch (error) {
    if (error.status === 404 && asked === id) {
      id = "";
      opening = new Promise((resolve) => (opened = resolve));
      await onGone();
      opened();
    } else if (error.status !== 404) complain(document.querySelector("#session"), [sentence(error.message)]);
  }
}

async function keepLooking() {
  for (;;) {
    await sleep(document.hidden ? LOOK_UNSEEN_MS : LOOK_MS);
    await look();
  }
}
