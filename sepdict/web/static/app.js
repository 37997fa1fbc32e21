/** The page: mixtures, dictionaries for them, and what comes of them. */

import { createComparing } from "./comparing.js";
import { createCorrecting } from "./correcting.js";
import { dictionaryItems } from "./dictionaries.js";
import { catchFocus, complain, dropped, renew, sentence, takeFiles } from "./elements.js";
import { createFold } from "./folding.js";
import { askForAll, createWatching, followAll, isSending, sendAll } from "./jobs.js";
import { action, asTotal, forget, soundItem } from "./lists.js";
import { asCount, createMarking, namesOf, troubleOf } from "./marking.js";
import { showOptions } from "./options.js";
import { asText, draftsFor, requestFor } from "./requests.js";
import { createResults } from "./results.js";
import { ask, askNow, isUnfinished, lookUp, whenSilent } from "./server.js";
import { attempt, begin, ofSession, openSession, ownChange, saveSoon } from "./session.js";
import {
  addUpload,
  changed,
  chosenDictionaries,
  earlierResults,
  forgetAll,
  isDone,
  jobsOf,
  remove,
  resultsNow,
  setJob,
  soundingMixtures,
  sourcesOf,
  state,
  whenChanged,
} from "./state.js";
import { createTraining } from "./training.js";

const SAME = "There is nothing to do: the stems below were separated in just this way.";
const N_NAMED = 5; // of what is gone; of more it is said how many
const find = (selector) => document.querySelector(selector);
const welcome = find("#welcome");
const mixtureSection = find("#mixture");
const sourcesSection = find("#sources");
const listenSection = find("#listen");
const correcting = createCorrecting(find("#correction"), { onChange: changed, separate });
const results = createResults(find("#result"), { onHeard: correcting.hear });
const marking = createMarking(find("#marking"), { onChange: changed });
const comparing = createComparing(find("#comparing"));
const training = createTraining(sourcesSection, { addOnce });
const watching = createWatching(() => jobsOf("separation").filter(isUnfinished), followThem);
const foldMixture = createFold(mixtureSection);
const foldSources = createFold(sourcesSection);

let isOpen = false; // whether it is known what is in the session
let asking = false;

whenChanged(refresh);
whenSilent(showSilence);
takeFiles(find('[data-kind="mixture"]'), addMixtures);
takeFiles(find('[data-kind="dictionary"]'), addDictionaries);
find("#try-demo").addEventListener("click", tryDemo);
find("#separate").addEventListener("click", separate);
find("#try-now").addEventListener("click", askNow);
find("#anew").addEventListener("click", () => {
  history.replaceState(null, "", "/");
  location.reload();
});
for (const option of ["#residual", "#background-model", "#standard"]) find(option).addEventListener("change", changed);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", dropAnywhere);
window.addEventListener("beforeunload", (event) => isSending() && event.preventDefault());
start();

async function start() {
  refresh();
  try {
    state.limits = await lookUp("/api/limits");
    if (!(await openSession({ onTaken, onGone }))) showGone();
    isOpen = true;
    refresh();
  } catch (error) {
    complain(find("#session"), [sentence(error.message)]);
  }
}

/** Show what the server had that was new to this page; `first` is what was set on a page that is opened again. */
function onTaken(first, gone) {
  if (gone.length) {
    const names = gone.map(({ source }) => source).join(", ");
    const stays = "Work that goes on uses what it began with.";
    complain(sourcesSection, [`Removed from the library, or renamed, on another page: ${names}. ${stays}`]);
  }
  if (first) training.open(first.training);
  if (first) state.heard = first.heard;
  if (marking.mixture && !state.mixtures.includes(marking.mixture)) marking.close();
  marking.showAnew();
  training.watch();
  comparing.watch();
  watch();
}

/** Go on in a new session, and say what is gone: this page was open, so something of it is still here. */
async function onGone() {
  const own = state.dictionaries.filter((each) => each.own && !each.kept).map(({ source }) => source);
  const stems = resultsNow().filter(({ report, before }) => isDone(report) || before);
  const what = [...[...state.mixtures, ...state.solos].map(({ name }) => name), ...own];
  const gone = [...what, ...stems.map(({ name }) => `the stems of ${name}`)];
  const hasMarks = state.mixtures.some(({ marks }) => marks.length);
  marking.close();
  state.limits = await lookUp("/api/limits");
  forgetAll();
  await begin();
  if (!gone.length) return;
  const more = gone.length > N_NAMED ? ` and ${gone.length - N_NAMED} more` : "";
  const marksStay = hasMarks ? " Marks are there again when you add the same recordings again." : "";
  complain(find("#session"), [
    `The server no longer has ${gone.slice(0, N_NAMED).join(", ")}${more}: it ended meanwhile, or heard nothing of ` +
      `this page for an hour. Please add again what you need.${marksStay}`,
  ]);
}

/** Say that nothing is left of what the address names. */
function showGone() {
  for (const section of [welcome, mixtureSection, sourcesSection, listenSection]) section.hidden = true;
  find("#gone").hidden = false;
  find("#anew").focus();
}

/** Say for how long the server has not answered; of 0 seconds, nothing. */
function showSilence(seconds) {
  find("#silence").hidden = !seconds;
  find("#silence .pause").textContent = seconds < 2 ? "" : `Asking again every ${seconds} seconds.`;
}

function addMixtures(files) {
  return attempt(mixtureSection, () => sendAll(mixtureSection, files, "mixture", state.limits, (sent) => addOnce(sent)));
}

/** Add the recording that comes with sepdict, with its marks, so that all that is left to do is to separate it. */
async function tryDemo() {
  find("#try-demo").disabled = true; // once is enough
  const isAdded = await attempt(welcome, async () => {
    const { upload, labels } = await ask("POST", await ofSession("/api/demo"));
    addOnce(upload);
    const demo = state.mixtures.find(({ id }) => id === upload.id);
    if (!demo.marks.length) demo.marks = labels;
  });
  find("#try-demo").disabled = false;
  if (isAdded) find("#separate").focus(); // for what had the focus is gone
}

function addDictionaries(files) {
  const onSent = (sent) => addOnce(sent, { chosen: true });
  return attempt(sourcesSection, () => sendAll(sourcesSection, files, "dictionary", state.limits, onSent));
}

/** Enter what was sent, unless a file of the same content is there. */
function addOnce(sent, more = {}) {
  const list = { mixture: state.mixtures, solo: state.solos, dictionary: state.dictionaries }[sent.kind];
  const there = list.find(({ id, sha256 }) => sha256 === sent.sha256 && id !== sent.id);
  if (!there) {
    addUpload(sent, more);
    ownChange();
    return;
  }
  forget(sent.id);
  if (more.chosen) there.chosen = true;
  changed();
  const name = there.name ?? there.source; // those of the library have no file's name
  throw new Error(`${sent.name}: is here already${name === sent.name ? "" : `, as ${name}`}`);
}

async function dropAnywhere(event) {
  event.preventDefault();
  const { files } = await dropped(event.dataTransfer);
  const some = files.filter((file) => file.name.endsWith(".safetensors"));
  if (some.length) await addDictionaries(some);
  const others = files.filter((file) => !some.includes(file));
  if (others.length) await addMixtures(others);
}

/** Separate all mixtures that were not in the same way before; what there is of them stays until there is another. */
async function separate() {
  const focused = document.activeElement;
  const byKeyboard = focused.matches(":focus-visible");
  focused.blur(); // it is about to be disabled
  asking = true;
  changed();
  const same = resultsNow().map(({ report, before }) => asText((isDone(report) ? report : before)?.request));
  const wanted = soundingMixtures().map(requestFor).filter((request) => !same.includes(asText(request)));
  const isNew = wanted.length > 0;
  wanted.unshift(...draftsFor(wanted));
  await attempt(listenSection, async () => {
    const onAsked = (report) => {
      setJob(report);
      ownChange();
    };
    const refused = await askForAll(listenSection, wanted, onAsked);
    asking = false;
    await watch({ byKeyboard });
    if (refused) throw refused;
  });
  asking = false;
  changed();
  if (!isNew) complain(listenSection, [SAME], { calm: true });
  if (resultsNow().some(({ report }) => isDone(report))) results.reveal();
  if (byKeyboard) catchFocus(find("#separate"));
}

/** Follow what the server separates, wherever that was begun, to its end. */
async function watch(options) {
  if (asking) return; // all that is asked for is followed together
  if (await watching.watch(options)) sayEnd(resultsNow());
}

async function followThem(jobs, { byKeyboard }) {
  await followAll(listenSection, jobs, hear, { nameOf: (index) => nameOfJob(jobs, index), byKeyboard });
}

/** Say how the work on a single recording has ended, if not well; of several, the list of results does. */
function sayEnd([only, ...others]) {
  if (!only || others.length) return;
  const { state: how, message } = only.report;
  if (how === "failed") complain(listenSection, [message]);
  if (how !== "canceled" || only.before?.request.preliminary) return; // what is said of a draft says enough
  const what = only.before ? "what was separated before is still there" : "nothing was separated";
  complain(listenSection, [`Canceled${message && `, for ${message}`}: ${what}.`], { calm: true });
}

/** Say which of several jobs one is; a draft is none of those that were asked for, so it does not count. */
function nameOfJob(jobs, index) {
  if (jobs.length === 1) return "";
  const { name, request } = jobs[index];
  if (request.preliminary) return `A draft of ${name}`;
  const asked = jobs.filter((each) => !each.request.preliminary);
  return asked.length > 1 ? `${asked.indexOf(jobs[index]) + 1} of ${asked.length}, ${name}` : name;
}

/** Enter what is heard of a separation, and the dictionaries that were learned for it. */
function hear(_, report) {
  if (!state.jobs.some(({ id }) => id === report.id)) return; // it was taken away meanwhile
  if (report.lost) remove(report.id);
  else setJob(report);
  if (isDone(report)) for (const facts of report.result.learned) addUpload(facts);
  changed();
}

function refresh() {
  renew(mixtureSection.querySelector(".files"), state.mixtures.map(mixtureItem));
  if (marking.mixture && !state.mixtures.includes(marking.mixture)) marking.close();
  find("#mixtures-total").textContent = asTotal(state.mixtures);
  find('[data-kind="mixture"] label span').textContent = state.mixtures.length ? "Add more" : "Choose recordings";
  const dictionaries = dictionaryItems(sourcesSection);
  renew(sourcesSection.querySelector(".dictionaries"), dictionaries);
  const marked = [...new Set(state.mixtures.flatMap(namesOf))];
  find("#marked").hidden = !marked.length;
  find("#marked").textContent = `Marked: ${marked.join(", ")}. What is marked is learned when you separate.`;
  find("#no-dictionaries").hidden = !state.known || dictionaries.length > 0 || marked.length > 0;
  comparing.refresh();
  training.refresh();
  refreshOptions();
  results.show();
  correcting.showAnew();
  const isEmpty = !state.mixtures.length && !state.jobs.length;
  welcome.hidden = !find("#gone").hidden || !(isOpen ? isEmpty : !location.hash);
  mixtureSection.classList.toggle("ready", state.mixtures.length > 0);
  const isMarked = state.mixtures.some(({ marks }) => marks.length);
  sourcesSection.classList.toggle("ready", chosenDictionaries().length > 0 || isMarked);
  listenSection.classList.toggle("ready", resultsNow().some(({ report }) => isDone(report)));
  fold();
  saveSoon();
}

function mixtureItem(mixture) {
  return soundItem(mixture, [action("Mark", mixture.name, () => marking.open(mixture))]);
}

/** Fold the steps that led to a result. */
function fold() {
  const { mixtures } = state;
  const hasResult = resultsNow().some(({ report, before }) => isDone(report) || before) || earlierResults().length > 0;
  const [only, ...others] = mixtures;
  const recordings = others.length ? `${mixtures.length} recordings` : (only?.name ?? "none");
  foldMixture(hasResult, recordings + asCount({ marks: mixtures.flatMap(({ marks }) => marks) }));
  const sources = [...new Set(mixtures.flatMap(sourcesOf))].join(", ") || "none";
  const nNotKept = state.dictionaries.filter(({ own, kept }) => own && !kept).length;
  foldSources(hasResult, sources + (nNotKept ? `; ${nNotKept} not kept yet` : ""));
}

/** Offer what means something with the sources that are marked or chosen. */
function refreshOptions() {
  const mixtures = soundingMixtures();
  const chosen = chosenDictionaries().map(({ source }) => source);
  const twice = chosen.find((source, index) => chosen.indexOf(source) !== index);
  const nSources = mixtures.length ? mixtures.map((each) => sourcesOf(each).length) : [chosen.length];
  showOptions(nSources.every((n) => n === 1));
  const clash = twice ? `Several of the chosen dictionaries are of ${twice}: choose only one of them.` : "";
  if (find("#clash").textContent !== clash) find("#clash").textContent = clash;
  find("#separate").textContent = mixtures.length > 1 ? `Separate all ${mixtures.length}` : "Separate";
  const sources = nSources.includes(0) ? "a mark or a dictionary" : clash && "one dictionary for each source";
  const mixture = mixtures.length ? "" : state.mixtures.length ? "a mixture that is not silent" : "a mixture";
  const missing = [mixture, sources, ...mixtures.map(troubleOf)].filter(Boolean);
  const isBusy = asking || watching.isOn;
  find("#separate").disabled = isBusy || missing.length > 0;
  find("#missing").textContent = missing.length && !isBusy ? `Needs ${missing.join(" and ")}.` : "";
}
