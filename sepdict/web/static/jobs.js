/** Work that the server does, as the page shows it. */

import { asDuration, complain, showProgress } from "./elements.js";
import { ask, follow, send } from "./server.js";

const STAGES = {
  train: "Learning the sound",
  compose: "Learning to tell the sources apart",
  compare: "Comparing the sources",
  fit: "Taking the mixture apart",
  tune: "Tuning to this mixture",
  tracks: "Separating the recordings",
};

/** Send files one after another, with one bar for all; what is refused is said in the end. */
export async function sendAll(section, files, kind, limits, onSent) {
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
        refuseTooLarge(file, limits);
        onSent(await send(file, kind, { onProgress, signal: cancelling.signal }));
      } catch (error) {
        if (error.name === "AbortError") break;
        refused.push(error.message.includes(file.name) ? error.message : `${file.name}: ${error.message}`);
      }
    }
  } finally {
    showProgress(section);
  }
  complain(section, refused);
}

function refuseTooLarge(file, limits) {
  if (limits && file.size > limits.file_bytes) {
    const most = Math.round(limits.file_bytes / 2 ** 20);
    throw new Error(`${file.name}: is too large; expected ${most} MiB at most`);
  }
  if (!file.size) throw new Error(`${file.name}: is empty; expected a file with something in it`);
}

/**
 * Follow jobs, which the server does in their order, to their ends.
 *
 * Cancelling ends the one that runs and all that have not begun. `onReport(index, report)` hears of every look at one.
 * A job that is lost is reported as failed.
 */
export async function followAll(section, jobs, onReport, { nameOf = () => "" } = {}) {
  const reports = [...jobs];
  let cancelling = false;
  const onCancel = async () => {
    cancelling = true;
    showProgress(section, { text: "Cancelling" });
    // from the last, so that none begins meanwhile
    for (let index = reports.length - 1; index >= 0; index--) {
      if (!isUnfinished(reports[index])) continue;
      reports[index] = await ask("DELETE", `/api/jobs/${reports[index].id}`).catch(() => reports[index]);
    }
  };
  const hear = (index, report) => {
    reports[index] = report;
    onReport(index, report);
  };
  for (const [index, job] of jobs.entries()) {
    const which = jobs.length > 1 ? `${index + 1} of ${jobs.length}, ${nameOf(index)}: ` : "";
    const onLook = (report) => {
      const { text, share } = progressOf(report);
      if (!cancelling) showProgress(section, { text: `${which}${text}`, share, onCancel });
      hear(index, report);
    };
    const lost = (error) => ({ ...job, state: "failed", message: error.message, lost: error.status === 404 });
    if (index && isUnfinished(reports[index])) {
      reports[index] = await ask("GET", `/api/jobs/${job.id}`).catch(() => reports[index]); // it is no longer last
    }
    hear(index, await follow(reports[index], onLook).catch(lost));
  }
  showProgress(section);
  return reports;
}

function isUnfinished({ state }) {
  return state === "waiting" || state === "running";
}

function progressOf({ state, n_before: nBefore, stage, step, n_steps: nSteps, elapsed_s: elapsed, silent }) {
  if (silent) return { text: "The server does not answer; trying again" };
  if (state === "waiting") return { text: `Waiting for ${nBefore} other ${nBefore === 1 ? "job" : "jobs"} to end` };
  const took = elapsed >= 1 ? `, ${asDuration(Math.floor(elapsed))}` : "";
  if (!stage) return { text: `Getting ready${took}` };
  return { text: `${STAGES[stage] ?? "Working"}${took}`, share: step / nSteps };
}
