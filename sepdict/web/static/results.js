/** What came of separations: a list where there are several, a player for one of them, and links to take stems home. */

import { about, catchFocus, make, renew, sentence } from "./elements.js";
import { createPlayer } from "./player.js";
import { asText, requestFor } from "./requests.js";
import { drop, isUnfinished } from "./server.js";
import { ownChange } from "./session.js";
import { changed, earlierResults, isDone, remove, resultsNow, state } from "./state.js";
import { takeTurn } from "./turns.js";

const STATES = { waiting: "waiting", running: "being separated …", canceled: "canceled" };
const ESTIMATING = "learning to tell the sources apart …";
const POOR_SHARE = 0.8; // of the energy: with less explained, as in reports, something is not known
const MP3_RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]; // Hz
const FORMATS = {
  wav: () => true,
  flac: ({ n_channels: n }) => n <= 8,
  mp3: ({ n_channels: n, sample_rate: rate }) => n <= 2 && MP3_RATES.includes(rate),
}; // which can hold what
const SILENT = "The recording is silent: there is nothing in it to take apart.";

/**
 * Show the results of separations inside an element, those of mixtures on the page and earlier ones.
 *
 * @param {HTMLElement} place with elements for the parts, as in the page
 * @param {{onHeard: (report: object|null) => void}} options called with the job that is in the player from now on
 * @returns {{show: () => void, reveal: () => void}}
 */
export function createResults(place, { onHeard }) {
  const find = (selector) => place.querySelector(selector);
  let heard = null; // the report of the job in the player
  let wasNow = false; // whether that was the result of a mixture on the page, and no earlier one
  let player = null;
  let format = "wav"; // of downloads
  let shown = ""; // what the lists say: an element that is pressed must not be replaced for nothing

  function show() {
    const [entries, earlier] = [resultsNow(), earlierResults()];
    const done = entries.map(resultOf).filter(Boolean);
    const troubled = entries.some(({ report }) => report.message);
    place.hidden = !done.length && !earlier.length && !troubled && entries.length < 2;
    const wanted = wantedOf(done, earlier);
    if (wanted?.id !== heard?.id) listen(wanted);
    if (heard) sayOutcome(entries);
    wasNow = done.some(({ id }) => id === heard?.id);
    showLists(entries, done, earlier, troubled);
  }

  /** Find what is to be heard: what was before, or what has taken its place. */
  function wantedOf(done, earlier) {
    const all = [...done, ...earlier];
    const same = all.find(({ id }) => id === (heard?.id ?? state.heard));
    const anew = done.find(({ request }) => request.mixture === heard?.request.mixture);
    if (same && !(wasNow && anew && earlier.includes(same))) return same;
    return anew ?? done[0] ?? null;
  }

  /** Say what came of what is heard, and of a draft, whether better stems are on their way. */
  function sayOutcome(entries) {
    const { id, name, request, result, warnings } = heard;
    const which = entries.length > 1 || !entries.some(({ name: each }) => each === name) ? `${name}: ` : "";
    const isAwaited = entries.some(({ report, before }) => before?.id === id && isUnfinished(report));
    const way = isAwaited ? ", until the better stems are there." : ": press Separate for better stems.";
    const draft = request.preliminary && !isAskedFor(request) ? [`This is a draft${way}`] : [];
    const says = [...draft, which + outcomeOf(result), ...warnings.map(sentence)].join(" ");
    if (find("#outcome").textContent !== says) find("#outcome").textContent = says;
  }

  function showLists(entries, done, earlier, troubled) {
    const several = entries.length > 1 || earlier.length > 0 || troubled;
    const says = JSON.stringify([several, heard?.id, entries.map((each) => [each.report.id, factsOf(each)]), earlier]);
    if (says === shown) return;
    shown = says;
    find("#results").hidden = !several;
    renew(find("#results"), several ? entries.map(item) : []);
    find("#earlier").hidden = !earlier.length;
    renew(find("#earlier ul"), earlier.map(earlierItem));
    find("#together").hidden = done.length < 2;
    if (done.length < 2) return;
    const [first, ...more] = done.map(({ id }) => id);
    const query = more.map((id) => `more=${id}`).join("&");
    find("#together a").href = `/api/jobs/${first}/stems.zip?${query}`;
  }

  function item(entry) {
    const attributes = entry.report.state === "failed" ? { class: "failed" } : {};
    const [result, words] = [resultOf(entry), about(entry.name, factsOf(entry))];
    return result ? choiceItem(attributes, result, words) : make("li", attributes, [words]);
  }

  /** A result that others have followed, which can be taken away. */
  function earlierItem(report) {
    const { id, name, result, ended } = report;
    const facts = `${result.stems.join(", ")}; ${explained(result)}, ${asTime(ended)}`;
    const onRemove = () => {
      drop(`/api/jobs/${id}/result`);
      remove(id);
      ownChange();
    };
    const label = `Remove the result of ${name}, ${asTime(ended)}`;
    const gone = make("button", { type: "button", class: "quiet", "aria-label": label, click: onRemove }, ["Remove"]);
    return choiceItem({}, report, about(name, facts), [gone]);
  }

  function choiceItem(attributes, report, words, actions = []) {
    const choose = () => {
      wasNow = false; // nothing is to take its place
      listen(report);
      changed();
    };
    const choice = make("input", { type: "radio", name: "heard", change: choose });
    choice.checked = report.id === heard?.id;
    const zip = { class: "button quiet", href: `/api/jobs/${report.id}/stems.zip`, download: "" };
    const link = make("a", { ...zip, "aria-label": `Stems of ${report.name} as zip` }, ["Zip"]);
    return make("li", attributes, [
      make("label", {}, [choice, words]),
      make("span", { class: "end" }, [link, ...actions]),
    ]);
  }

  /** Put the stems of a mixture into the player, as it was set before; without a report, take them away. */
  function listen(report) {
    const { time, playing, comparing, view } = player ?? {};
    const goesOn = isReplaced(heard, report);
    for (const set of goesOn ? [state.levels, state.timings] : []) {
      if (set[heard.id]) set[report.id] ??= set[heard.id];
    }
    player?.destroy();
    player = null;
    heard = report;
    state.heard = report?.id ?? "";
    find("#heard").hidden = !report;
    onHeard(report);
    if (!report) return;
    const { id, name, result } = report;
    const at = `/api/jobs/${id}`;
    const stems = result.stems.map((stem, index) => ({
      name: stem,
      role: result.has_residual && index === result.stems.length - 1 ? "residual" : "stem",
      url: `${at}/${index}.wav`,
      spectrogram: `${at}/${index}.png`,
      mask: `${at}/${index}.mask.png`,
    }));
    const whole = { name, role: "mixture", url: `${at}/mixture.wav`, spectrogram: `${at}/mixture.png` };
    find("#outcome").classList.toggle("warning", isPoor(result));
    find("#way-out").hidden = !isPoor(result);
    player = createPlayer(find("#player"), {
      tracks: [whole, ...stems].map((track, index) => ({ ...track, level: state.levels[id]?.tracks[index] })),
      duration: result.duration_s,
      sampleRate: result.sample_rate,
      pieces: { n_samples: Math.round(result.duration_s * result.sample_rate), n_channels: result.n_channels },
      products: result.products,
      master_db: state.levels[id]?.master_db,
      timing: state.timings[id],
      view,
    });
    if (goesOn) player.seek(time);
    if (goesOn && comparing) player.compare(true);
    if (goesOn && playing) player.play();
    offer(at, result);
  }

  /** Offer the stems in a format that can hold them. */
  function offer(at, result) {
    const able = Object.keys(FORMATS).filter((each) => FORMATS[each](result));
    const choice = make("select", { "aria-label": "Format of downloads" }, able.map((each) => new Option(each.toUpperCase(), each)));
    choice.value = able.includes(format) ? format : able[0];
    choice.addEventListener("change", () => {
      format = choice.value;
      offer(at, result);
      find("#downloads select").focus();
    });
    const form = choice.value;
    const links = result.stems.map((stem, index) =>
      make("a", { class: "button", href: `${at}/${index}.${form}`, download: `${stem}.${form}` }, [stem]),
    );
    const all = make("a", { class: "button", href: `${at}/stems.zip?form=${form}`, download: "" }, ["All as zip"]);
    const title = "A page of its own: the player, masks and excitations, and what to trust where";
    const report = make("a", { class: "button", href: `${at}/report.html`, download: "", title }, ["Report"]);
    find("#downloads").replaceChildren(make("span", { class: "hint" }, ["Download as"]), choice, ...links, all, report);
  }

  /** Bring the player to where it is seen, unless the user is busy elsewhere. */
  function reveal() {
    if (catchFocus(find("#outcome"))) find("#player").scrollIntoView({ block: "nearest" });
  }

  find("#way-out button").addEventListener("click", () => {
    document.querySelector("#residual").checked = true;
    changed();
    document.querySelector("#separate").focus();
  });
  find("#player").addEventListener("levels", ({ detail }) => {
    const { master_db, tracks } = detail;
    state.levels = { ...state.levels, [heard.id]: { master_db, tracks: { ...tracks } } }; // by numbers, to be merged
    changed();
  });
  find("#player").addEventListener("position", ({ detail }) => {
    if (detail.playing) takeTurn(place, () => player?.playing && player.pause());
  });
  find("#player").addEventListener("timing", ({ detail }) => {
    state.timings = { ...state.timings, [heard.id]: detail };
    changed();
  });
  return { show, reveal };
}

/** Find whether the settings are now just those of what there is, so that a draft is what is asked for. */
function isAskedFor(request) {
  const mixture = state.mixtures.find(({ id }) => id === request.mixture);
  return mixture !== undefined && asText(requestFor(mixture)) === asText(request);
}

/** Find whether so much is unknown that the stems are guesses; where the rest has a stem, it is there. */
function isPoor({ is_silent: isSilent, has_residual: hasRest, explained_energy: share }) {
  return !isSilent && !hasRest && share < POOR_SHARE;
}

/** Find whether a draft gives way to the better stems, which then sound on where it was. */
function isReplaced(draft, report) {
  if (!draft?.request.preliminary || draft.request.mixture !== report?.request.mixture) return false;
  return draft.result.stems.join() === report.result.stems.join();
}

function outcomeOf(result) {
  if (result.is_silent) return SILENT;
  if (!isPoor(result)) return `${asShare(result)} of the mixture's energy is explained.`;
  return `Much in here is not known: only ${asShare(result)} of the mixture's energy is explained, so the stems are guesses.`;
}

/** Find what there is to be heard of an entry, now or from before; null where there is nothing. */
function resultOf({ report, before }) {
  return isDone(report) ? report : before;
}

function factsOf({ report, before }) {
  const now = factsOfReport(report);
  if (!before) return now;
  const facts = factsOfReport(before);
  return `${before.request.preliminary ? `a draft, ${facts}` : `${facts} as it was before`}; ${now}`;
}

function factsOfReport({ name, state: how, result, message, stage }) {
  if (how === "done") return explained(result);
  if (how === "failed") return message.replace(`${name}: `, "");
  if (how === "canceled" && message) return `canceled, for ${message}`;
  return how === "running" && stage === "estimate" ? ESTIMATING : STATES[how];
}

function explained(result) {
  return result.is_silent ? "silent" : `${asShare(result)} explained`;
}

function asShare({ explained_energy: share }) {
  return `${Math.round(100 * share)}\u00a0%`;
}

function asTime(moment) {
  return new Date(moment).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}
