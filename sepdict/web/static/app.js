/** The page: mixtures, dictionaries for them, and what comes of them. */

import {
  about,
  asDuration,
  asRate,
  catchFocus,
  complain,
  dropped,
  make,
  renew,
  sentence,
  takeFiles,
} from "./elements.js";
import { asCount, createMarking, labelsOf, namesOf, troubleOf } from "./marking.js";
import { settings, showOptions } from "./options.js";
import { askForAll, followAll, forgetResults, sendAll } from "./jobs.js";
import { createResults, isDone, resultOf } from "./results.js";
import { ask, drop, patience } from "./server.js";

const KEEP_ALIVE_MS = 5 * 60 * 1000; // what lies in an open page does not grow old
const N_NAMED = 5; // of what is gone; of more it is said how many
const find = (selector) => document.querySelector(selector);
const mixtureSection = find("#mixture");
const sourcesSection = find("#sources");
const listenSection = find("#listen");
const training = find("#training");
const learningPlace = find("#learning");
const results = createResults(find("#result"));
const marking = createMarking(find("#marking"), { onChange: refresh });
const KINDS = { convolutional: "movement", nonnegative: "quick" }; // those that are not general

let limits = null;
let mixtures = []; // what the server said of them
let dictionaries = []; // {id, source, …, own: whether it came with this page, chosen, kept: its id in the library}
let solos = [];
let separations = []; // entries as in results.js
let known = false; // whether it was asked what dictionaries there are
let separating = false;
let learning = false;

takeFiles(find('[data-kind="mixture"]'), addMixtures);
takeFiles(find('[data-kind="dictionary"]'), addDictionaries);
takeFiles(find('[data-kind="solo"]'), addSolos);
find("#open-training").addEventListener("click", () => openTraining(training.hidden));
find("#close-training").addEventListener("click", () => openTraining(false));
find("#source").addEventListener("input", refresh);
training.addEventListener("submit", (event) => {
  event.preventDefault();
  train();
});
find("#separate").addEventListener("click", separate);
for (const option of ["#residual", "#standard"]) find(option).addEventListener("change", refresh);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", dropAnywhere);
window.addEventListener("beforeunload", (event) => {
  const isUnkept = dictionaries.some((each) => each.own && !each.kept);
  if (separating || learning || mixtures.length || isUnkept) event.preventDefault();
});
setInterval(keepAlive, KEEP_ALIVE_MS);
start();

async function start() {
  refresh();
  let said = false;
  while (!known) {
    try {
      limits = await ask("GET", "/api/limits");
      for (const facts of await ask("GET", "/api/dictionaries")) dictionaries.push({ ...facts, chosen: false });
      known = true;
    } catch (error) {
      if (!said) complain(sourcesSection, [sentence(error.message), "Trying again every two seconds."]);
      said = true;
      await patience();
    }
  }
  if (said) complain(sourcesSection, []);
  refresh();
}

/** Do something, and say in a section what went wrong; returns whether nothing did. */
async function attempt(section, work) {
  complain(section, []);
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") complain(section, [sentence(error.message)]);
    if (error.status === 404) await keepAlive();
    return false;
  } finally {
    refresh();
  }
}

function addMixtures(files) {
  return attempt(mixtureSection, () =>
    sendAll(mixtureSection, files, "mixture", limits, (sent) => {
      addOnce(mixtures, { ...sent, marks: [] });
      refresh();
    }),
  );
}

function addDictionaries(files) {
  return attempt(sourcesSection, () =>
    sendAll(sourcesSection, files, "dictionary", limits, (sent) => {
      addOnce(dictionaries, { ...sent, own: true, chosen: true });
      refresh();
    }),
  );
}

function addSolos(files, folder) {
  if (folder && !find("#source").value) find("#source").value = folder;
  return attempt(training, () =>
    sendAll(training, files, "solo", limits, (sent) => {
      addOnce(solos, sent);
      refresh();
    }),
  );
}

/** Enter what was sent, unless a file of the same content is there. */
function addOnce(list, sent) {
  const there = list.find((other) => other.sha256 === sent.sha256);
  if (!there) {
    list.push(sent);
    return;
  }
  forget(sent.id);
  if (sent.chosen) there.chosen = true;
  refresh();
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

function openTraining(open) {
  training.hidden = !open;
  find("#open-training").setAttribute("aria-expanded", String(open));
  if (open) find("#source").focus();
}

async function train() {
  const byKeyboard = leaveFocus();
  learning = true;
  refresh();
  const taken = [...solos];
  await attempt(learningPlace, async () => {
    const source = find("#source").value.trim();
    const network = training.querySelector("[name=network]:checked").value;
    const request = { source, network, solos: taken.map((solo) => solo.id) };
    const job = await ask("POST", "/api/trainings", request);
    showRemarks([]);
    const onReport = (_, { warnings }) => showRemarks(warnings);
    const [end] = await followAll(learningPlace, [job], onReport, { nameOf: () => source, byKeyboard });
    if (end.state === "failed") throw Object.assign(new Error(end.message), { status: end.lost ? 404 : 0 });
    if (end.state !== "done") return;
    dictionaries.push({ ...end.result, own: true, chosen: true });
    showRemarks([]);
    takeAway(source, taken);
    const notes = end.warnings.join("; ");
    if (notes) complain(sourcesSection, [`${source} is ready. Note: ${notes}.`], { calm: true });
  });
  learning = false;
  refresh();
  if (!byKeyboard) return; // Space may be the player's
  const made = [...sourcesSection.querySelectorAll(".dictionaries input")].at(-1) ?? find("#open-training");
  catchFocus(training.hidden ? made : training.querySelector("[type=submit]:enabled") ?? find("#source"));
}

/** Take what was learned from out of the panel, and leave there what was prepared meanwhile. */
function takeAway(source, taken) {
  for (const solo of taken) forget(solo.id);
  solos = solos.filter((solo) => !taken.includes(solo));
  if (find("#source").value.trim() === source) find("#source").value = "";
  if (solos.length || find("#source").value) return;
  training.reset(); // the kind, too
  openTraining(false);
}

/** Take the focus from what is about to be disabled; returns whether the keyboard had brought it there. */
function leaveFocus() {
  const byKeyboard = document.activeElement.matches(":focus-visible");
  document.activeElement.blur();
  return byKeyboard;
}

/** Show what there is to think of the solos while they are learned. */
function showRemarks(remarks) {
  const place = find("#remarks");
  if (place.childElementCount === remarks.length) return; // said already
  place.hidden = !remarks.length;
  place.replaceChildren(...remarks.map((remark) => make("p", {}, [remark])));
}

/** Separate all mixtures that were not in the same way before; what there is of them stays until there is another. */
async function separate() {
  const byKeyboard = leaveFocus();
  separating = true;
  refresh();
  const dictionariesOf = chosenDictionaries().map(({ id }) => id);
  const entries = mixtures.map((mixture) => {
    const { id, name } = mixture;
    const how = settings(sourcesOf(mixture).length === 1);
    const request = { mixture: id, dictionaries: dictionariesOf, labels: labelsOf(mixture), ...how };
    const old = separations.find((one) => one.request.mixture === id);
    const before = old ? resultOf(old) : null;
    const isSame = before && JSON.stringify(before.request) === JSON.stringify(request);
    return isSame ? before : { name, request, report: null, before };
  });
  let begun = [];
  await attempt(listenSection, async () => {
    const refused = await askForAll(listenSection, entries.filter(({ report }) => !report));
    begun = entries.filter((one) => one.report && !isDone(one));
    if (refused && !begun.length) throw refused; // nothing was begun, so nothing is replaced
    replaceBy(entries);
    await followSeparations(begun, byKeyboard);
    if (refused) throw refused;
  });
  separating = false;
  refresh();
  if (begun.some(isDone)) results.reveal();
  if (byKeyboard) catchFocus(find("#separate"));
}

/** Follow separations that were begun to their ends. */
async function followSeparations(begun, byKeyboard) {
  const onReport = (index, report) => {
    const entry = begun[index];
    entry.report = report;
    if (isDone(entry)) listLearned(report.result.learned);
    if (isDone(entry) && entry.before) forgetResults([entry.before]);
    if (isDone(entry)) entry.before = null;
    results.show(separations);
  };
  const jobs = begun.map(({ report }) => report);
  const nameOf = (index) => (begun.length > 1 ? begun[index].name : "");
  const ends = await followAll(listenSection, jobs, onReport, { nameOf, byKeyboard });
  if (ends.some(({ lost }) => lost)) await keepAlive();
  if (begun.length === 1 && separations.length < 2 && ends[0].state === "failed") throw new Error(ends[0].message);
}

/** List the dictionaries that were learned from marks, to be kept or chosen for other mixtures. */
function listLearned(learned) {
  const before = (facts) => dictionaries.some(({ sha256 }) => sha256 === facts.sha256);
  dictionaries.push(...learned.filter((facts) => !before(facts)).map((facts) => ({ ...facts, own: true, chosen: false })));
}

/** Make these the separations that are shown; what is in none of them any more is not needed. */
function replaceBy(entries) {
  const needed = entries.flatMap((one) => [one, one.before]);
  forgetResults(separations.flatMap((one) => [one, one.before]).filter((one) => one && !needed.includes(one)));
  separations = entries;
  refresh();
}

function chosenDictionaries() {
  return dictionaries.filter((each) => each.chosen);
}

/** The sources of a mixture: of the dictionaries that are chosen, and what is marked. */
function sourcesOf(mixture) {
  return [...new Set([...chosenDictionaries().map(({ source }) => source), ...namesOf(mixture)])];
}

function refresh() {
  const items = (sounds, without) => sounds.map((sound) => soundItem(sound, () => without(sound)));
  const mixtureItems = items(mixtures, (gone) => {
    if (marking.mixture === gone) marking.close();
    mixtures = mixtures.filter((other) => other !== gone);
  });
  renew(mixtureSection.querySelector(".files"), mixtureItems);
  find("#mixtures-total").textContent = asTotal(mixtures);
  find('[data-kind="mixture"] label span').textContent = mixtures.length ? "Add more" : "Choose recordings";
  renew(sourcesSection.querySelector(".dictionaries"), dictionaries.map(dictionaryItem));
  find("#no-dictionaries").hidden = !known || dictionaries.length > 0;
  const soloItems = items(solos, (gone) => (solos = solos.filter((other) => other !== gone)));
  renew(training.querySelector(".files"), soloItems);
  find("#solos-total").textContent = asTotal(solos);
  training.querySelector("[type=submit]").disabled = learning || !solos.length || !find("#source").value.trim();
  refreshOptions();
  results.show(separations);
  mixtureSection.classList.toggle("ready", mixtures.length > 0);
  sourcesSection.classList.toggle("ready", chosenDictionaries().length > 0 || mixtures.some((each) => each.marks.length));
  listenSection.classList.toggle("ready", separations.some(isDone));
}

/** Offer what means something with the sources that are marked or chosen. */
function refreshOptions() {
  const chosen = chosenDictionaries().map(({ source }) => source);
  const twice = chosen.find((source, index) => chosen.indexOf(source) !== index);
  const nSources = mixtures.length ? mixtures.map((each) => sourcesOf(each).length) : [chosen.length];
  showOptions(nSources.every((n) => n === 1));
  const clash = twice ? `Several of the chosen dictionaries are of ${twice}: choose only one of them.` : "";
  if (find("#clash").textContent !== clash) find("#clash").textContent = clash;
  find("#separate").textContent = mixtures.length > 1 ? `Separate all ${mixtures.length}` : "Separate";
  const sources = nSources.includes(0) ? "a mark or a dictionary" : clash && "one dictionary for each source";
  const missing = [mixtures.length ? "" : "a mixture", sources, ...mixtures.map(troubleOf)].filter(Boolean);
  find("#separate").disabled = separating || missing.length > 0;
  find("#missing").textContent = missing.length && !separating ? `Needs ${missing.join(" and ")}.` : "";
}

function asTotal(sounds) {
  const total = sounds.reduce((sum, sound) => sum + sound.duration_s, 0);
  return sounds.length > 1 ? `${sounds.length} recordings, ${asDuration(total)} together` : "";
}

/** A sound in a list; what is removed here is also forgotten there. */
function soundItem(sound, remove) {
  const channels = { 1: "mono", 2: "stereo" }[sound.n_channels] ?? `${sound.n_channels} channels`;
  const onRemove = () => {
    forget(sound.id);
    remove();
    refresh();
  };
  const facts = `${asDuration(sound.duration_s)}, ${asRate(sound.sample_rate)}, ${channels}`;
  const actions = [action("Remove", sound.name, onRemove)];
  if (sound.marks) actions.unshift(action("Mark", sound.name, () => marking.open(sound)));
  return make("li", {}, [
    about(sound.name, facts + (sound.marks ? asCount(sound) : "")),
    make("span", { class: "end" }, actions),
  ]);
}

function dictionaryItem(dictionary) {
  const { id, name, source, own, kept } = dictionary;
  const onChange = () => {
    dictionary.chosen = box.checked;
    refresh();
  };
  const box = make("input", { type: "checkbox", change: onChange });
  box.checked = dictionary.chosen;
  const kind = KINDS[dictionary.network] ? `, ${KINDS[dictionary.network]}` : "";
  const isOnly = dictionaries.every((other) => other === dictionary || other.source !== source);
  const from = isOnly ? "" : own ? `${name}, ` : "in the library, ";
  const heard = `${from}heard ${asDuration(dictionary.trained_s)} at ${asRate(dictionary.sample_rate)}${kind}`;
  const label = make("label", {}, [box, about(source, heard)]);
  const onRemove = () => {
    forget(id);
    dictionaries = dictionaries.filter((other) => other !== dictionary);
    refresh();
  };
  const download = { class: "button quiet", href: `/api/dictionaries/${id}`, download: `${source}.safetensors` };
  const actions = [make("a", { ...download, "aria-label": `Download ${source}` }, ["Download"])];
  if (own) {
    actions.unshift(
      kept ? make("span", { class: "facts" }, ["kept"]) : action("Keep", source, () => keep(dictionary)),
    );
    actions.push(action(kept ? "Remove from this page" : "Remove", source, onRemove));
  }
  return make("li", {}, [label, make("span", { class: "end" }, actions)]);
}

function action(text, of, click) {
  return make("button", { type: "button", class: "quiet", "aria-label": `${text} ${of}`, click }, [text]);
}

function keep(dictionary) {
  return attempt(sourcesSection, async () => {
    dictionary.kept = (await ask("POST", `/api/dictionaries/${dictionary.id}/keep`)).id;
  });
}

/** Tell the server that an upload is not needed any more. */
function forget(id) {
  drop(`/api/uploads/${id}`);
}

/** Use everything that is in the page, and drop what the server no longer has, and say so. */
async function keepAlive() {
  const lost = new Set();
  const use = (path, id) => ask("GET", `${path}/${id}`).catch((error) => error.status === 404 && lost.add(id));
  const uploads = [...mixtures, ...solos, ...dictionaries.filter((each) => each.own)];
  for (const { id } of uploads) await use("/api/uploads", id);
  const jobs = separations.flatMap((one) => [one.report, one.before?.report]).filter(Boolean);
  for (const { id } of jobs) await use("/api/jobs", id);

  const isGone = ({ id }) => lost.has(id);
  const isUndone = (one) => lost.has((one.report ?? one.before?.report)?.id);
  sayGone(mixtureSection, mixtures.filter(isGone), "add");
  sayGone(training, solos.filter(isGone), "add");
  sayGone(sourcesSection, dictionaries.filter((each) => isGone(each) && !each.kept), "train or add");
  const hadStems = (one) => resultOf(one) || one.report?.lost;
  sayGone(listenSection, separations.filter((one) => isUndone(one) && hadStems(one)), "separate", "the stems of ");
  if (marking.mixture && isGone(marking.mixture)) marking.close();
  mixtures = mixtures.filter((each) => !isGone(each));
  solos = solos.filter((each) => !isGone(each));
  dictionaries = dictionaries
    .map((each) => (isGone(each) && each.kept ? { ...each, id: each.kept, own: false } : each))
    .filter((each) => !isGone(each));
  separations = separations.filter((one) => !isUndone(one));
  refresh();
}

/** Say in a section that the server no longer has something, and what can be done. */
function sayGone(section, gone, remedy, what = "") {
  if (!gone.length) return;
  const named = gone.slice(0, N_NAMED).map(({ name }) => name);
  const more = gone.length > N_NAMED ? ` and ${gone.length - N_NAMED} more` : "";
  const why = "it ended meanwhile, or heard nothing of this page for an hour";
  const all = `${what}${named.join(", ")}${more}`;
  complain(section, [`The server no longer has ${all}: ${why}. Please ${remedy} again what you need.`]);
}
