/** Work that the server does, as the page shows it. */

import { catchFocus, complain, showProgress } from "./elements.js";
import { notificationBox, notify } from "./notifying.js";
import { progressOf, wholeOf } from "./progress.js";
import { ask, follow, isUnfinished, send } from "./server.js";
import { ofSession, ownChange } from "./session.js";
import { changed } from "./state.js";

const TITLE = document.title;

let nSending = 0;
let hasEnded = false; // what the title says to who looks at another tab

document.addEventListener("visibilitychange", () => hasEnded && entitle());

/** Tell whether files are being sent, which nothing but this page can go on with. */
export function isSending() {
  return nSending > 0;
}

/** Send files one after another, with one bar for all; what is refused is said in the end. */
export async function sendAll(section, files, kind, limits, onSent) {
  const canceling = new AbortController();
  const onCancel = () => canceling.abort();
  const refused = [];
  nSending += 1;
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
        const path = await ofSession("/api/uploads", { kind, name: file.name });
        await onSent(await send(file, path, { onProgress, signal: canceling.signal }));
      } catch (error) {
        if (error.name === "AbortError") break;
        refused.push(error.message.includes(file.name) ? error.message : `${file.name}: ${error.message}`);
      }
    }
  } finally {
    nSending -= 1;
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

/** Ask for separations, until one is refused; returns the refusal, or null. `onAsked` hears of the jobs. */
export async function askForAll(section, requests, onAsked) {
  for (const [index, request] of requests.entries()) {
    if (requests.length > 1) showProgress(section, { text: `Asking for ${index + 1} of ${requests.length}` });
    try {
      onAsked(await ask("POST", await ofSession("/api/separations"), request));
    } catch (error) {
      showProgress(section);
      return error;
    }
  }
  return null;
}

/**
 * Follow jobs, which the server does in their order, to their ends.
 *
 * Canceling ends the one that runs and all that have not begun. `onReport(index, report)` hears of every look at one.
 * A job that is not there any more is lost: another page has taken it away, or all is gone. `nameOf(index)` says what to
 * call one; `byKeyboard`, that Cancel is to have the focus if what was pressed has lost it.
 */
export async function followAll(section, jobs, onReport, { nameOf = () => "", byKeyboard = false } = {}) {
  const reports = [...jobs];
  const more = notificationBox();
  let canceling = false;
  const onCancel = async () => {
    canceling = true;
    showProgress(section, { text: "Canceling" });
    // from the last, so that none begins meanwhile
    for (let index = reports.length - 1; index >= 0; index--) {
      if (!isUnfinished(reports[index])) continue;
      reports[index] = await ask("DELETE", `/api/jobs/${reports[index].id}`).catch(() => reports[index]);
    }
  };
  const hear = (index, report) => {
    reports[index] = report;
    onReport(index, report);
    if (!isUnfinished(report)) ownChange(); // what the server said before would have it go on
  };
  for (const [index, job] of jobs.entries()) {
    const which = nameOf(index);
    const onLook = (report) => {
      hear(index, report);
      const whole = wholeOf(reports);
      const { text, ...how } = progressOf(report, whole);
      entitle(how.share === undefined ? "Working" : `${Math.floor(100 * whole.share)} %`);
      if (!canceling) showProgress(section, { text: which ? `${which}: ${text}` : text, ...how, onCancel, more });
      if (byKeyboard && !index) catchFocus(section.querySelector(":scope > .progress button"));
    };
    const lost = (error) => ({ ...job, state: "failed", message: error.message, lost: error.status === 404 });
    if (index && isUnfinished(reports[index])) {
      reports[index] = await ask("GET", `/api/jobs/${job.id}`).catch(() => reports[index]); // it is no longer last
    }
    hear(index, await follow(reports[index], onLook).catch(lost));
  }
  const isDone = reports.some(({ state }) => state === "done");
  const end = isDone ? "Done" : "Failed";
  entitle(document.hidden && !canceling ? end : "");
  hasEnded = true;
  if (!canceling) notify(`${end} - ${TITLE}`, reports.map(({ name, request }) => name || request.source).join(", "));
  showProgress(section);
  return reports;
}

/**
 * Prepare to follow jobs of a kind, together, and those that come meanwhile.
 *
 * @param {() => object[]} jobsNow the jobs that are still to be followed
 * @param {(jobs: object[], options: object) => Promise<void>} follow follows them to their ends
 * @returns {{isOn: boolean, watch: (options?: object) => Promise<boolean>}} `watch` returns at once, and false, while it
 *   goes on already
 */
export function createWatching(jobsNow, follow) {
  const watching = { isOn: false, watch };

  async function watch(options = {}) {
    if (watching.isOn) return false;
    watching.isOn = true;
    try {
      for (let jobs = jobsNow(); jobs.length; jobs = jobsNow()) {
        changed();
        await follow(jobs, options);
      }
    } finally {
      watching.isOn = false;
      changed();
    }
    return true;
  }

  return watching;
}

/** Begin the title of the tab with some words, for who looks at another one. */
function entitle(words = "") {
  hasEnded = false;
  document.title = words ? `${words} - ${TITLE}` : TITLE;
}
