/** What came of separations: a list where there are several, a player for one of them, and links to take stems home. */

import { about, catchFocus, make, renew, sentence } from "./elements.js";
import { createPlayer } from "./player.js";

const STATES = { waiting: "waiting", running: "being separated …", canceled: "canceled" };
const ESTIMATING = "learning to tell the sources apart …";
const SILENT = "The recording is silent: there is nothing in it to take apart.";

/**
 * Show results inside an element.
 *
 * @param {HTMLElement} place with elements for the parts, as in the page
 * @returns {{show: (entries: Entry[]) => void, reveal: () => void}}
 *
 * @typedef {object} Entry
 * @property {string} name of the mixture
 * @property {{mixture: string}} request what was asked for
 * @property {object|null} report what the server says of the job, or null where it has none yet
 * @property {Entry|null} before what is done of the same mixture: it stays until there is something to replace it
 */
export function createResults(place) {
  const find = (selector) => place.querySelector(selector);
  let entries = [];
  let heard = null; // what is in the player
  let player = null;
  let shown = ""; // what the list says: an element that is pressed must not be replaced for nothing

  function show(now) {
    entries = now;
    const done = entries.map(resultOf).filter(Boolean);
    place.hidden = !done.length && entries.length < 2;
    const anew = done.find(({ request }) => request.mixture === heard?.request.mixture);
    if (!done.includes(heard)) listen(anew ?? done[0] ?? null);
    showList(done);
  }

  function showList(done) {
    const several = entries.length > 1;
    const rows = entries.map((entry) => [entry.name, entry.report?.id, factsOf(entry)]);
    const says = JSON.stringify([heard?.report.id, rows]);
    if (says === shown) return;
    shown = says;
    find("#results").hidden = !several;
    renew(find("#results"), several ? entries.map(item) : []);
    find("#together").hidden = done.length < 2;
    if (done.length < 2) return;
    const [first, ...more] = done.map(({ report }) => report.id);
    const query = more.map((id) => `more=${id}`).join("&");
    find("#together a").href = `/api/jobs/${first}/stems.zip?${query}`;
  }

  function item(entry) {
    const { name } = entry;
    const attributes = entry.report?.state === "failed" ? { class: "failed" } : {};
    const result = resultOf(entry);
    if (!result) return make("li", attributes, [about(name, factsOf(entry))]);
    const choice = make("input", { type: "radio", name: "heard", change: () => listen(result) });
    choice.checked = result === heard;
    const zip = { class: "button quiet", href: `/api/jobs/${result.report.id}/stems.zip`, download: "" };
    return make("li", attributes, [
      make("label", {}, [choice, about(name, factsOf(entry))]),
      make("span", { class: "end" }, [make("a", { ...zip, "aria-label": `Stems of ${name} as zip` }, ["Zip"])]),
    ]);
  }

  /** Put the stems of a mixture into the player; without one, take them away. */
  function listen(entry) {
    player?.destroy();
    player = null;
    heard = entry;
    find("#heard").hidden = !entry;
    if (!entry) return;
    const { result, warnings } = entry.report;
    const at = `/api/jobs/${entry.report.id}`;
    const tracks = result.stems.map((name, index) => ({
      name,
      role: result.has_residual && index === result.stems.length - 1 ? "residual" : "stem",
      url: `${at}/${index}.wav`,
      spectrogram: `${at}/${index}.png`,
    }));
    const whole = { name: entry.name, role: "mixture", url: `${at}/mixture.wav`, spectrogram: `${at}/mixture.png` };
    const which = entries.length > 1 ? `${entry.name}: ` : "";
    const outcome = which + (result.is_silent ? SILENT : `${explained(result)} of the mixture's energy is explained.`);
    find("#outcome").textContent = [outcome, ...warnings.map(sentence)].join(" ");
    player = createPlayer(find("#player"), {
      tracks: [whole, ...tracks],
      duration: result.duration_s,
      sampleRate: result.sample_rate,
    });
    const links = tracks.map(({ name, url }) =>
      make("a", { class: "button", href: url, download: `${name}.wav` }, [name]),
    );
    const all = make("a", { class: "button", href: `${at}/stems.zip`, download: "" }, ["All as zip"]);
    find("#downloads").replaceChildren(make("span", { class: "hint" }, ["Download"]), ...links, all);
  }

  /** Bring the player to where it is seen, unless the user is busy elsewhere. */
  function reveal() {
    if (catchFocus(find("#outcome"))) find("#player").scrollIntoView({ block: "nearest" });
  }

  return { show, reveal };
}

export function isDone({ report }) {
  return report?.state === "done";
}

/** Find what there is to be heard of an entry, now or from before; null where there is nothing. */
export function resultOf(entry) {
  return isDone(entry) ? entry : entry.before;
}

function factsOf({ name, report, before }) {
  const state = report ? factsOfReport(name, report) : "not begun";
  return before ? `${factsOf(before)} as it was before; ${state}` : state;
}

function factsOfReport(name, { state, result, message, stage }) {
  if (state === "done") return result.is_silent ? "silent" : `${explained(result)} explained`;
  if (state === "failed") return message.replace(`${name}: `, "");
  return state === "running" && stage === "estimate" ? ESTIMATING : STATES[state];
}

function explained({ explained_energy: share }) {
  return `${Math.round(100 * share)}\u00a0%`;
}
