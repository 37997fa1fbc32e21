/** The panel in which a dictionary is trained, and what becomes of trainings. */

import { catchFocus, complain, make, renew, takeFiles } from "./elements.js";
import { createWatching, followAll, sendAll } from "./jobs.js";
import { asTotal, forget, hearAction, soundItem } from "./lists.js";
import { ask, drop, isUnfinished, previewOf } from "./server.js";
import { attempt, ofSession, ownChange } from "./session.js";
import { addUpload, changed, jobsOf, remove, setJob, state } from "./state.js";

/**
 * Let dictionaries be trained in a section of the page.
 *
 * @param {HTMLElement} section with elements for the parts, as in the page
 * @param {{addOnce: (facts: object, more?: object) => void}} options enters an upload that is not there already
 * @returns {{open: (isOpen: boolean) => void, refresh: () => void, watch: () => Promise<void>}}
 *   `watch` follows what the server trains, wherever that was begun
 */
export function createTraining(section, { addOnce }) {
  const find = (selector) => section.querySelector(selector);
  const [panel, place] = [find("#training"), find("#learning")];
  const watching = createWatching(() => jobsOf("training"), followThem);
  let asking = false;

  takeFiles(find('[data-kind="solo"]'), addSolos);
  find("#open-training").addEventListener("click", () => open(panel.hidden, { byUser: true }));
  find("#close-training").addEventListener("click", () => open(false, { byUser: true }));
  panel.addEventListener("input", changed); // not when a field is left: lists would be new under what is being pressed
  panel.addEventListener("submit", (event) => {
    event.preventDefault();
    train();
  });

  function open(isOpen, { byUser = false } = {}) {
    panel.hidden = !isOpen;
    find("#open-training").setAttribute("aria-expanded", String(isOpen));
    if (isOpen && byUser) find("#source").focus();
    if (byUser) changed();
  }

  function addSolos(files, folder) {
    if (folder && !find("#source").value) find("#source").value = folder;
    return attempt(panel, () => sendAll(panel, files, "solo", state.limits, (sent) => addOnce(sent)));
  }

  async function train() {
    const focused = document.activeElement;
    const byKeyboard = focused.matches(":focus-visible");
    focused.blur(); // it is about to be disabled
    asking = true;
    changed();
    const request = {
      source: find("#source").value.trim(),
      network: find("[name=network]:checked").value,
      solos: state.solos.map(({ id }) => id),
    };
    await attempt(place, async () => {
      setJob(await ask("POST", await ofSession("/api/trainings"), request));
      ownChange();
      await watching.watch({ byKeyboard });
    });
    asking = false;
    changed();
    if (!byKeyboard) return; // Space may be the player's
    const made = [...section.querySelectorAll(".dictionaries input")].at(-1) ?? find("#open-training");
    catchFocus(panel.hidden ? made : find("[type=submit]:enabled") ?? find("#source"));
  }

  async function followThem(jobs, { byKeyboard }) {
    const nameOf = (index) => jobs[index].request.source;
    const onReport = (_, report) => showRemarks(isUnfinished(report) ? report.warnings : []);
    for (const end of await followAll(place, jobs, onReport, { nameOf, byKeyboard })) finish(end);
  }

  /** Take over what a training has made, or say why it has made nothing; the job itself is of no use any more. */
  function finish({ id, state: how, result, request, warnings, message, lost }) {
    remove(id);
    if (lost) return; // another page has taken it over, or everything is gone
    drop(`/api/jobs/${id}/result`);
    ownChange();
    if (how !== "done") {
      if (message) complain(place, [message]);
      return;
    }
    addUpload(result);
    for (const dictionary of state.dictionaries) if (dictionary.id === result.id) dictionary.chosen = true;
    takeAway(request);
    const notes = warnings.join("; ");
    if (notes) complain(section, [`${request.source} is ready. Note: ${notes}.`], { calm: true });
  }

  /** Take what was learned from out of the panel, and leave there what was prepared meanwhile. */
  function takeAway({ source, solos }) {
    for (const solo of solos) forget(solo);
    if (find("#source").value.trim() === source) find("#source").value = "";
    if (state.solos.length || find("#source").value) return;
    panel.reset(); // the kind, too
    open(false);
  }

  /** Show what there is to think of the solos while they are learned. */
  function showRemarks(remarks) {
    const list = find("#remarks");
    if (list.childElementCount === remarks.length) return; // said already
    list.hidden = !remarks.length;
    list.replaceChildren(...remarks.map((remark) => make("p", {}, [remark])));
  }

  function hearSolo({ id, name, duration_s }) {
    const most = state.limits?.solo_preview_s;
    return hearAction(previewOf(id), name, panel, duration_s > most ? `${most}\u00a0s` : "");
  }

  function refresh() {
    const learned = jobsOf("training").flatMap(({ request }) => request.solos);
    const isLearned = ({ id }) => learned.includes(id);
    const item = (solo) => soundItem(solo, [hearSolo(solo)], isLearned(solo) ? ", being learned" : "");
    renew(panel.querySelector(".files"), state.solos.map(item));
    find("#solos-total").textContent = asTotal(state.solos.filter((solo) => !isLearned(solo))); // for the next one
    const isReady = state.solos.length && find("#source").value.trim();
    find("#training [type=submit]").disabled = watching.isOn || asking || !isReady;
  }

  return { open, refresh, watch: watching.watch };
}
