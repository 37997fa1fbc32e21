/** What came of separations: a list where there are several, a player for one of them, and links to take stems home. */

import { about, make, renew, sentence } from "./elements.js";
import { createPlayer } from "./player.js";

const STATES = { waiting: "waiting", running: "being separated …", cancelled: "cancelled" };

/**
 * Show results inside an element.
 *
 * @param {HTMLElement} place with elements for the parts, as in the page
 * @returns {{show: (entries: {name: string, report: object|null}[]) => void}} a report is what the server says of a
 *   job, or null where it has none yet
 */
export function createResults(place) {
  const find = (selector) => place.querySelector(selector);
  let entries = [];
  let heard = null; // the identifier of the job in the player
  let player = null;
  let shown = ""; // what the list says: an element that is pressed must not be replaced for nothing

  function show(now) {
    entries = now;
    const done = entries.filter(isDone);
    place.hidden = !done.length && entries.length < 2;
    if (!done.some(({ report }) => report.id === heard)) listen(done[0]);
    showList(done);
  }

  function showList(done) {
    const several = entries.length > 1;
    const says = JSON.stringify([heard, entries.map((entry) => [entry.name, entry.report?.id, factsOf(entry)])]);
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
    const { name, report } = entry;
    const failed = report?.state === "failed";
    if (!isDone(entry)) return make("li", failed ? { class: "failed" } : {}, [about(name, factsOf(entry))]);
    const choice = make("input", { type: "radio", name: "heard", change: () => listen(entry) });
    choice.checked = report.id === heard;
    const zip = { class: "button quiet", href: `/api/jobs/${report.id}/stems.zip`, download: "" };
    return make("li", {}, [
      make("label", {}, [choice, about(name, factsOf(entry))]),
      make("span", { class: "end" }, [make("a", { ...zip, "aria-label": `Stems of ${name} as zip` }, ["Zip"])]),
    ]);
  }

  /** Put the stems of a mixture into the player; without one, take them away. */
  function listen(entry) {
    player?.destroy();
    player = null;
    heard = entry?.report.id ?? null;
    find("#heard").hidden = !entry;
    if (!entry) return;
    const { result, warnings } = entry.report;
    const at = `/api/jobs/${heard}`;
    const tracks = result.stems.map((name, index) => ({
      name,
      role: result.has_residual && index === result.stems.length - 1 ? "residual" : "stem",
      url: `${at}/${index}.wav`,
      spectrogram: `${at}/${index}.png`,
    }));
    const whole = { name: entry.name, role: "mixture", url: `${at}/mixture.wav`, spectrogram: `${at}/mixture.png` };
    const which = entries.length > 1 ? `${entry.name}: ` : "";
    const outcome = `${which}${explained(result)} of the mixture's energy is explained.`;
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
    if (entries.length === 1) find("#outcome").scrollIntoView({ block: "nearest" });
  }

  return { show };
}

export function isDone({ report }) {
  return report?.state === "done";
}

function factsOf({ name, report }) {
  if (!report) return "not begun";
  if (report.state === "done") return `${explained(report.result)} explained`;
  if (report.state === "failed") return report.message.replace(`${name}: `, "");
  return STATES[report.state];
}

function explained({ explained_energy: share }) {
  return `${Math.round(100 * share)}\u00a0%`;
}
