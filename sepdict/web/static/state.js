/** What is on the page: what the server has of it, and what is set in it. */

import { asLabels, namesOf } from "./marking.js";

export const state = {
  limits: null,
  known: false, // whether the server has said what is in the library
  mixtures: [], // as the server describes uploads, with `marks` and `corrections`
  solos: [],
  dictionaries: [], // {id, source, …, own: whether it is this page's, chosen, kept: its id in the library}
  undoable: [], // dictionaries that were removed from the library on this page: {undo: by what they come back, …}
  jobs: [], // as the server reports them, in the order in which they were asked for
  ofOthers: { marks: {}, corrections: {} }, // of recordings that are not here any more, by their checksums
  heard: "", // the job in the player
  levels: {}, // of the player, by jobs
  timings: {}, // the same
  opened: [], // steps that stay open though there is a result
};

const find = (selector) => document.querySelector(selector);
const TICKED = { residual: "#residual", background_model: "#background-model", standard: "#standard" };
const removed = new Set(); // what the user has taken away; what the server said before does not bring it back
let onChange = () => {};

/** Have something done after every change. */
export function whenChanged(act) {
  onChange = act;
}

/** Say that something on the page is another now. */
export function changed() {
  onChange();
}

/** Enter an upload, unless it is there. */
export function addUpload(facts, more = {}) {
  if (removed.has(facts.id)) return;
  const list = { mixture: state.mixtures, solo: state.solos, dictionary: state.dictionaries }[facts.kind];
  if (list.some(({ id }) => id === facts.id)) return;
  list.push({ ...entryOf(facts), ...more });
}

function entryOf(facts) {
  if (facts.kind === "dictionary") return { ...facts, own: true, chosen: false };
  if (facts.kind !== "mixture") return facts;
  const entry = { ...facts };
  for (const [kind, ofOthers] of Object.entries(state.ofOthers)) {
    entry[kind] = ofOthers[facts.sha256] ?? [];
    delete ofOthers[facts.sha256];
  }
  return entry;
}

/** Enter what the server says of a job. */
export function setJob(report) {
  const index = state.jobs.findIndex(({ id }) => id === report.id);
  if (index >= 0) state.jobs[index] = report;
  else if (!removed.has(report.id)) state.jobs.push(report);
}

/** Take an upload or a job away. */
export function remove(gone) {
  removed.add(gone);
  for (const list of ["mixtures", "solos", "dictionaries", "jobs"]) {
    state[list] = state[list].filter(({ id }) => id !== gone);
  }
}

/** Forget all that a server had that ended, but marks and corrections, which are of use when the recordings are added again. */
export function forgetAll() {
  for (const [kind, ofOthers] of Object.entries(state.ofOthers)) {
    for (const mixture of state.mixtures) ofOthers[mixture.sha256] = asLabels(mixture[kind]);
  }
  Object.assign(state, { mixtures: [], solos: [], jobs: [], heard: "", levels: {}, timings: {}, opened: [] });
  const stay = state.dictionaries.filter(({ own, kept }) => !own || kept);
  state.dictionaries = stay.map((each) => (each.own ? { ...each, id: each.kept, own: false } : each));
}

/**
 * Take over what the server has; what is known already stays the same object.
 *
 * Returns the dictionaries that are in the library no more, though they are chosen.
 */
export function take({ uploads, jobs, library }) {
  const here = uploads.filter(({ id }) => !removed.has(id));
  const listed = (kind, known) => {
    const facts = here.filter((each) => each.kind === kind);
    return facts.map((each) => Object.assign(known.find(({ id }) => id === each.id) ?? entryOf(each), each));
  };
  state.mixtures = listed("mixture", state.mixtures);
  state.solos = listed("solo", state.solos);
  const own = listed("dictionary", state.dictionaries);
  const installed = library.dictionaries;
  const isThere = (wanted) => installed.some(({ id }) => id === wanted.id);
  const gone = state.dictionaries.filter((each) => !each.own && each.chosen && !isThere(each));
  const known = (facts) => state.dictionaries.find(({ id }) => id === facts.id) ?? { chosen: false };
  const others = installed.filter(({ id }) => !own.some(({ kept }) => kept === id));
  state.dictionaries = [...others.map((facts) => Object.assign(known(facts), facts)), ...own];
  state.undoable = state.undoable.filter((each) => !isThere(each));
  state.known = true;
  state.jobs = jobs.filter(({ id }) => !removed.has(id));
  return gone;
}

/** Write down what is set, as the server keeps it. */
export function read() {
  const drawn = Object.entries(state.ofOthers).map(([kind, ofOthers]) => {
    const some = state.mixtures.filter((mixture) => mixture[kind].length);
    return [kind, { ...ofOthers, ...Object.fromEntries(some.map((each) => [each.sha256, asLabels(each[kind])])) }];
  });
  const ticked = Object.entries(TICKED).map(([name, box]) => [name, find(box).checked]);
  return {
    ...Object.fromEntries(drawn),
    chosen: chosenDictionaries().map(({ id }) => id),
    source: find("#source").value,
    network: find("[name=network]:checked").value,
    training: !find("#training").hidden,
    ...Object.fromEntries(ticked),
    heard: state.heard,
    levels: state.levels,
    timings: state.timings,
    opened: state.opened,
  };
}

/** Set what was written down. */
export function set(written) {
  for (const kind of Object.keys(state.ofOthers)) {
    const ofOthers = { ...written[kind] };
    for (const mixture of state.mixtures) {
      const now = asLabels(ofOthers[mixture.sha256] ?? []);
      if (JSON.stringify(asLabels(mixture[kind])) !== JSON.stringify(now)) mixture[kind] = now;
      delete ofOthers[mixture.sha256];
    }
    state.ofOthers[kind] = ofOthers;
  }
  for (const dictionary of state.dictionaries) dictionary.chosen = written.chosen.includes(dictionary.id);
  if (find("#source").value !== written.source) find("#source").value = written.source;
  find(`[name=network][value=${written.network}]`).checked = true;
  for (const [name, box] of Object.entries(TICKED)) find(box).checked = written[name];
  state.levels = written.levels;
  state.timings = written.timings;
  state.opened = written.opened;
}

export function chosenDictionaries() {
  return state.dictionaries.filter((each) => each.chosen);
}

/** The mixtures in which there is anything to take apart. */
export function soundingMixtures() {
  return state.mixtures.filter((mixture) => !mixture.is_silent);
}

/** The sources of a mixture: of the dictionaries that are chosen, and what is marked. */
export function sourcesOf(mixture) {
  return [...new Set([...chosenDictionaries().map(({ source }) => source), ...namesOf(mixture)])];
}

/** List the jobs of a kind, "separation", "training" or "comparison". */
export function jobsOf(wanted) {
  return state.jobs.filter(({ kind }) => kind === wanted);
}

export function isDone(report) {
  return report?.state === "done";
}

/** What there is of each mixture now: its last job, and, until that is done, the last one that is done before it. */
export function resultsNow() {
  const entries = state.mixtures.map(({ id, name }) => {
    const jobs = jobsOf("separation").filter(({ request }) => request.mixture === id);
    const [report, done] = [jobs.at(-1), jobs.filter(isDone).at(-1)];
    return { name, report, before: done === report ? null : (done ?? null) };
  });
  return entries.filter(({ report }) => report);
}

/** Results that others have followed, or whose mixtures are not on the page any more; the last first. */
export function earlierResults() {
  const now = resultsNow().flatMap(({ report, before }) => [report, before]);
  const others = jobsOf("separation").filter((report) => isDone(report) && !now.includes(report));
  return others.filter(({ request }) => !request.preliminary).reverse();
}
