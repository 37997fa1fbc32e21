/** The page: mixtures, dictionaries for them, and what comes of them. */

import { about, asDuration, asRate, complain, dropped, make, renew, sentence, showProgress, takeFiles } from "./elements.js";
import { followAll, sendAll } from "./jobs.js";
import { createResults, isDone } from "./results.js";
import { ask } from "./server.js";

const KEEP_ALIVE_MS = 5 * 60 * 1000; // what lies in an open page does not grow old
const find = (selector) => document.querySelector(selector);
const mixtureSection = find("#mixture");
const sourcesSection = find("#sources");
const listenSection = find("#listen");
const training = find("#training");
const results = createResults(find("#result"));
const KINDS = { convolutional: "movement", nonnegative: "quick" }; // those that are not general;

let limits = null;
let mixtures = []; // what the server said of them
let dictionaries = []; // {id, source, sample_rate, trained_s, own: whether it came with this page, chosen, kept}
let solos = [];
let separations = []; // {name, request, report: what the server last said of the job, or null}
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
find("#residual").addEventListener("change", refresh);
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", dropAnywhere);
window.addEventListener("beforeunload", (event) => {
  if (separating || learning || mixtures.length || dictionaries.some((each) => each.own && !each.kept)) event.preventDefault();
});
setInterval(keepAlive, KEEP_ALIVE_MS);
start();

async function start() {
  refresh();
  await attempt(sourcesSection, async () => {
    limits = await ask("GET", "/api/limits");
    for (const facts of await ask("GET", "/api/dictionaries")) dictionaries.push({ ...facts, chosen: false });
  });
  known = true;
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
      mixtures.push(sent);
      refresh();
    }),
  );
}

function addDictionaries(files) {
  return attempt(sourcesSection, () =>
    sendAll(sourcesSection, files, "dictionary", limits, (sent) => {
      dictionaries.push({ ...sent, own: true, chosen: true });
      refresh();
    }),
  );
}

function addSolos(files, folder) {
  if (folder && !find("#source").value) find("#source").value = folder;
  return attempt(training, () =>
    sendAll(training, files, "solo", limits, (sent) => {
      solos.push(sent);
      refresh();
    }),
  );
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
  learning = true;
  refresh();
  await attempt(training, async () => {
    const source = find("#source").value.trim();
    const network = training.querySelector("[name=network]:checked").value;
    const request = { source, network, solos: solos.map((solo) => solo.id) };
    const job = await ask("POST", "/api/trainings", request);
    showRemarks([]);
    const [end] = await followAll(training, [job], (_, { warnings }) => showRemarks(warnings));
    if (end.state === "failed") throw Object.assign(new Error(end.message), { status: end.lost ? 404 : 0 });
    if (end.state !== "done") return;
    dictionaries.push({ ...end.result, own: true, chosen: true });
    for (const solo of solos) forget(solo.id);
    solos = [];
    find("#source").value = "";
    showRemarks([]);
    openTraining(false);
    complain(sourcesSection, end.warnings, `${source} is ready. Of what it learned from:`);
  });
  learning = false;
  refresh();
}

/** Show what there is to think of the solos while they are learned. */
function showRemarks(remarks) {
  const place = find("#remarks");
  if (place.childElementCount === remarks.length) return; // said already
  place.hidden = !remarks.length;
  place.replaceChildren(...remarks.map((remark) => make("p", {}, [remark])));
}

/** Separate all mixtures; what was separated in the same way before is still there. */
async function separate() {
  separating = true;
  const before = separations;
  separations = mixtures.map(({ id, name }) => {
    const request = { mixture: id, ...settings() };
    const isSame = (one) => isDone(one) && JSON.stringify(one.request) === JSON.stringify(request);
    return before.find(isSame) ?? { name, request, report: null };
  });
  const old = before.filter((one) => one.report && !separations.includes(one));
  for (const { report } of old) ask("DELETE", `/api/jobs/${report.id}/result`).catch(() => {});
  refresh();
  await attempt(listenSection, async () => {
    const refused = await submit(separations.filter(({ report }) => !report));
    const begun = separations.filter((one) => one.report && !isDone(one));
    const onReport = (index, report) => {
      begun[index].report = report;
      results.show(separations);
    };
    const jobs = begun.map(({ report }) => report);
    const ends = await followAll(listenSection, jobs, onReport, { nameOf: (index) => begun[index].name });
    if (refused) throw refused;
    if (ends.some(({ lost }) => lost)) await keepAlive();
    if (separations.length === 1 && ends[0]?.state === "failed") throw new Error(ends[0].message);
  });
  separating = false;
  refresh();
}

/** Ask for separations, until one is refused; returns the refusal, or null. */
async function submit(entries) {
  for (const [index, entry] of entries.entries()) {
    if (entries.length > 1) showProgress(listenSection, { text: `Asking for ${index + 1} of ${entries.length}` });
    try {
      entry.report = await ask("POST", "/api/separations", entry.request);
    } catch (error) {
      return error;
    }
  }
  return null;
}

/** Say how the user wants mixtures to be separated. */
function settings() {
  const chosen = dictionaries.filter((each) => each.chosen).map((each) => each.id);
  const rest = find("#residual").checked || chosen.length === 1; // a single dictionary always leaves one
  const unknown = rest && find("#unknown").checked;
  return { dictionaries: chosen, residual: rest, unknown, compose: find("#compose").checked };
}

function refresh() {
  const items = (sounds, without) => sounds.map((sound) => soundItem(sound, () => without(sound)));
  const mixtureItems = items(mixtures, (gone) => (mixtures = mixtures.filter((other) => other !== gone)));
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
  sourcesSection.classList.toggle("ready", dictionaries.some((each) => each.chosen));
  listenSection.classList.toggle("ready", separations.some(isDone));
}

/** Offer what means something with the dictionaries that are chosen. */
function refreshOptions() {
  const nChosen = dictionaries.filter((each) => each.chosen).length;
  const alone = nChosen === 1;
  find("#always").hidden = !alone;
  find("#residual").parentElement.hidden = alone;
  find("#compose").parentElement.hidden = alone;
  find("#unknown").parentElement.hidden = !alone && !find("#residual").checked;
  find("#unknown").parentElement.classList.toggle("nested", !alone);
  find("#separate").disabled = separating || !mixtures.length || !nChosen;
  find("#separate").textContent = mixtures.length > 1 ? `Separate all ${mixtures.length}` : "Separate";
  const missing = [mixtures.length ? "" : "a mixture", nChosen ? "" : "at least one dictionary"].filter(Boolean);
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
  return make("li", {}, [
    about(sound.name, `${asDuration(sound.duration_s)}, ${asRate(sound.sample_rate)}, ${channels}`),
    make("span", { class: "end" }, [action("Remove", sound.name, onRemove)]),
  ]);
}

function dictionaryItem(dictionary) {
  const { id, source, own, kept } = dictionary;
  const onChange = () => {
    dictionary.chosen = box.checked;
    refresh();
  };
  const box = make("input", { type: "checkbox", change: onChange });
  box.checked = dictionary.chosen;
  const kind = KINDS[dictionary.network] ? `, ${KINDS[dictionary.network]}` : "";
  const heard = `heard ${asDuration(dictionary.trained_s)} at ${asRate(dictionary.sample_rate)}${kind}`;
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
    actions.push(action("Remove", source, onRemove));
  }
  return make("li", {}, [label, make("span", { class: "end" }, actions)]);
}

function action(text, of, click) {
  return make("button", { type: "button", class: "quiet", "aria-label": `${text} ${of}`, click }, [text]);
}

function keep(dictionary) {
  return attempt(sourcesSection, async () => {
    await ask("POST", `/api/dictionaries/${dictionary.id}/keep`);
    dictionary.kept = true;
  });
}

/** Tell the server that an upload is not needed any more; whether it hears that does not matter. */
function forget(id) {
  ask("DELETE", `/api/uploads/${id}`).catch(() => {});
}

/** Use everything that is in the page, and drop what the server no longer has. */
async function keepAlive() {
  const lost = new Set();
  const own = dictionaries.filter((each) => each.own);
  for (const { id } of [...mixtures, ...solos, ...own]) {
    await ask("GET", `/api/uploads/${id}`).catch((error) => error.status === 404 && lost.add(id));
  }
  for (const { report } of separations) if (report) ask("GET", `/api/jobs/${report.id}`).catch(() => {});
  mixtures = mixtures.filter((each) => !lost.has(each.id));
  solos = solos.filter((solo) => !lost.has(solo.id));
  dictionaries = dictionaries.filter((each) => !lost.has(each.id));
  refresh();
}
