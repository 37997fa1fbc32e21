/** The page: a mixture, dictionaries for it, and what comes of them. */

import { asDuration, asRate, complain, dropped, make, showProgress, takeFiles } from "./elements.js";
import { createPlayer } from "./player.js";
import { ask, follow, send } from "./server.js";

const KEEP_ALIVE_MS = 5 * 60 * 1000; // what lies in an open page does not grow old
const STAGES = {
  train: "Learning the sound",
  compose: "Learning to tell the sources apart",
  fit: "Taking the mixture apart",
  tune: "Tuning to this mixture",
};

const find = (selector) => document.querySelector(selector);
const mixtureSection = find("#mixture");
const sourcesSection = find("#sources");
const listenSection = find("#listen");
const training = find("#training");

let limits = null;
let mixture = null; // what the server said of it
let dictionaries = []; // {id, source, sample_rate, trained_s, own: whether it came with this page, chosen, kept}
let solos = [];
let player = null;
let result = null; // the job whose stems are shown
let separating = false;
let learning = false;

takeFiles(find('[data-kind="mixture"]'), ([file]) => addMixture(file));
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
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", dropAnywhere);
window.addEventListener("beforeunload", (event) => {
  if (separating || learning || mixture || dictionaries.some((each) => each.own && !each.kept)) event.preventDefault();
});
setInterval(keepAlive, KEEP_ALIVE_MS);
start();

async function start() {
  refresh();
  await attempt(sourcesSection, async () => {
    limits = await ask("GET", "/api/limits");
    for (const facts of await ask("GET", "/api/dictionaries")) dictionaries.push({ ...facts, chosen: false });
  });
  refresh();
}

/** Do something, and say in a section what went wrong; returns whether nothing did. */
async function attempt(section, work) {
  complain(section, "");
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") complain(section, error.message);
    if (error.status === 404) await keepAlive();
    return false;
  } finally {
    refresh();
  }
}

/** Send files one after another, with one bar for all. */
async function sendAll(section, files, kind, onSent) {
  const cancelling = new AbortController();
  const onCancel = () => cancelling.abort();
  const refused = [];
  try {
    for (const [index, file] of files.entries()) {
      const which = files.length > 1 ? ` (${index + 1} of ${files.length})` : "";
      const onProgress = (share) => {
        const text = share < 1 ? `Sending ${file.name}${which}` : `Looking at ${file.name}${which}`;
        showProgress(section, { text, share: share < 1 ? (index + share) / files.length : undefined, onCancel });
      };
      onProgress(0);
      try {
        refuseTooLarge(file);
        onSent(await send(file, kind, { onProgress, signal: cancelling.signal }));
      } catch (error) {
        if (error.name === "AbortError") break;
        refused.push(error.message.includes(file.name) ? error.message : `${file.name}: ${error.message}`);
      }
    }
  } finally {
    showProgress(section);
  }
  if (refused.length > 1) throw new Error(`${refused[0]} (and ${refused.length - 1} more were refused)`);
  if (refused.length) throw new Error(refused[0]);
}

function refuseTooLarge(file) {
  if (limits && file.size > limits.file_bytes) {
    const most = Math.round(limits.file_bytes / 2 ** 20);
    throw new Error(`${file.name}: is too large; expected ${most} MiB at most`);
  }
  if (!file.size) throw new Error(`${file.name}: is empty; expected a file with something in it`);
}

function addMixture(file) {
  return attempt(mixtureSection, () =>
    sendAll(mixtureSection, [file], "mixture", (sent) => {
      if (mixture) forget(mixture.id);
      mixture = sent;
    }),
  );
}

function addDictionaries(files) {
  return attempt(sourcesSection, () =>
    sendAll(sourcesSection, files, "dictionary", (sent) => {
      dictionaries.push({ ...sent, own: true, chosen: true });
      refresh();
    }),
  );
}

function addSolos(files, folder) {
  if (folder && !find("#source").value) find("#source").value = folder;
  return attempt(training, () =>
    sendAll(training, files, "solo", (sent) => {
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
  const other = files.find((file) => !some.includes(file));
  if (other) await addMixture(other);
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
    const made = await finish(training, "/api/trainings", { source, solos: solos.map((solo) => solo.id) });
    if (!made) return;
    dictionaries.push({ ...made.result, own: true, chosen: true });
    for (const solo of solos) forget(solo.id);
    solos = [];
    find("#source").value = "";
    openTraining(false);
    complain(sourcesSection, made.warnings.join(" "));
  });
  learning = false;
  refresh();
}

async function separate() {
  separating = true;
  showResult(null);
  refresh();
  await attempt(listenSection, async () => {
    const request = {
      mixture: mixture.id,
      dictionaries: dictionaries.filter((each) => each.chosen).map((each) => each.id),
      residual: find("#residual").checked,
      compose: find("#compose").checked,
    };
    showResult(await finish(listenSection, "/api/separations", request));
  });
  separating = false;
  refresh();
}

/** Ask for a job and follow it to its end; null if it was cancelled. */
async function finish(section, path, request) {
  const job = await ask("POST", path, request);
  let cancelling = false;
  const onCancel = async () => {
    cancelling = true;
    showProgress(section, { text: "Cancelling" });
    await ask("DELETE", `/api/jobs/${job.id}`).catch(() => {});
  };
  try {
    const end = await follow(job, (report) => {
      if (!cancelling) showProgress(section, { ...progressOf(report), onCancel });
    });
    if (end.state === "failed") throw new Error(end.message);
    return end.state === "done" ? end : null;
  } finally {
    showProgress(section);
  }
}

function progressOf({ state, n_before: nBefore, stage, step, n_steps: nSteps, elapsed_s: elapsed, silent }) {
  if (silent) return { text: "The server does not answer; trying again" };
  if (state === "waiting") return { text: `Waiting for ${nBefore} other ${nBefore === 1 ? "job" : "jobs"} to end` };
  const took = elapsed >= 1 ? `, ${asDuration(Math.floor(elapsed))}` : "";
  if (!stage) return { text: `Getting ready${took}` };
  return { text: `${STAGES[stage] ?? "Working"}${took}`, share: step / nSteps };
}

function showResult(job) {
  player?.destroy();
  player = null;
  result = job;
  find("#result").hidden = !job;
  if (!job) return;
  const { result: made } = job;
  const at = `/api/jobs/${job.id}`;
  const tracks = made.stems.map((name, index) => ({
    name,
    role: made.has_residual && index === made.stems.length - 1 ? "residual" : "stem",
    url: `${at}/${index}.wav`,
    spectrogram: `${at}/${index}.png`,
  }));
  const whole = { name: mixture?.name ?? "mixture", role: "mixture", url: `${at}/mixture.wav`, spectrogram: `${at}/mixture.png` };
  const explained = `${Math.round(100 * made.explained_energy)} % of the mixture's energy is explained.`;
  find("#outcome").textContent = [explained, ...job.warnings].join(" ");
  player = createPlayer(find("#player"), { tracks: [whole, ...tracks], duration: made.duration_s });
  const links = tracks.map(({ name, url }) => make("a", { class: "button", href: url, download: `${name}.wav` }, [name]));
  const all = make("a", { class: "button", href: `${at}/stems.zip`, download: "" }, ["All as zip"]);
  find("#downloads").replaceChildren(make("span", { class: "hint" }, ["Download"]), ...links, all);
  find("#outcome").scrollIntoView({ block: "nearest" });
}

function refresh() {
  const mixtureFacts = mixture ? [soundItem(mixture, () => (mixture = null))] : [];
  mixtureSection.querySelector(".files").replaceChildren(...mixtureFacts);
  sourcesSection.querySelector(".dictionaries").replaceChildren(...dictionaries.map(dictionaryItem));
  const soloItems = solos.map((solo) => soundItem(solo, () => (solos = solos.filter((other) => other !== solo))));
  training.querySelector(".files").replaceChildren(...soloItems);
  const total = solos.reduce((sum, solo) => sum + solo.duration_s, 0);
  find("#solos-total").textContent = solos.length > 1 ? `${solos.length} recordings, ${asDuration(total)} together` : "";
  training.querySelector("[type=submit]").disabled = learning || !solos.length || !find("#source").value.trim();
  const nChosen = dictionaries.filter((each) => each.chosen).length;
  find("#separate").disabled = separating || !mixture || !nChosen;
  const missing = [mixture ? "" : "a mixture", nChosen ? "" : "at least one dictionary"].filter(Boolean).join(" and ");
  find("#missing").textContent = missing && !separating ? `Needs ${missing}.` : "";
  mixtureSection.classList.toggle("ready", Boolean(mixture));
  sourcesSection.classList.toggle("ready", nChosen > 0);
  listenSection.classList.toggle("ready", Boolean(result));
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
  const box = make("input", { type: "checkbox", change: () => choose(dictionary, box.checked) });
  box.checked = dictionary.chosen;
  const heard = `heard ${asDuration(dictionary.trained_s)} at ${asRate(dictionary.sample_rate)}`;
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

function about(name, facts) {
  const parts = [make("span", { class: "name" }, [name]), make("span", { class: "facts" }, [facts])];
  return make("span", { class: "about" }, parts);
}

function action(text, of, click) {
  return make("button", { type: "button", class: "quiet", "aria-label": `${text} ${of}`, click }, [text]);
}

function choose(dictionary, chosen) {
  dictionary.chosen = chosen;
  const box = document.activeElement;
  const index = [...document.querySelectorAll(".dictionaries input")].indexOf(box);
  refresh();
  document.querySelectorAll(".dictionaries input")[index]?.focus(); // the list was made anew
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
  for (const { id } of [mixture, ...solos, ...own].filter(Boolean)) {
    await ask("GET", `/api/uploads/${id}`).catch((error) => error.status === 404 && lost.add(id));
  }
  if (result) ask("GET", `/api/jobs/${result.id}`).catch(() => {});
  if (mixture && lost.has(mixture.id)) mixture = null;
  solos = solos.filter((solo) => !lost.has(solo.id));
  dictionaries = dictionaries.filter((each) => !lost.has(each.id));
  refresh();
}
