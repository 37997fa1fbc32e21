/** What the page asks of the server. */

const POLL_MS = 400;
const RETRY_MS = 2000; // while the server does not answer

/** What the server refuses, in its words. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Ask for JSON. */
export async function ask(method, path, content) {
  const options = { method };
  if (content !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(content);
  } else if (method === "POST") {
    options.body = "";
  }
  return answered(path, options);
}

/** Ask with a small file as it is. */
export function askWith(file, path) {
  return answered(path, { method: "POST", body: file });
}

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refusal(0, "the server does not answer; is sepdict serve still running?");
  }
  return understood(answer.status, await answer.text());
}

/** Tell the server that something is not needed any more; an answer does not matter. */
export function drop(path) {
  ask("DELETE", path).catch(() => {});
}

/** Wait before asking again a server that does not answer. */
export function patience() {
  return sleep(RETRY_MS);
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Tell whether a job is still to end. */
export function isUnfinished({ state }) {
  return state === "waiting" || state === "running";
}

/** Send a file as it is; `onProgress` hears the share that has arrived, 0 to 1. */
export function send(file, kind, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch says nothing of how far an upload is
    request.open("POST", `/api/uploads?${new URLSearchParams({ kind, name: file.name })}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => onProgress(event.loaded / (event.total || 1)));
    request.addEventListener("load", () => {
      try {
        resolve(understood(request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    });
    const lost = `${file.name}: could not be sent; was it moved, or did the server end?`;
    request.addEventListener("error", () => reject(new Refusal(0, lost)));
    request.addEventListener("abort", () => reject(new DOMException("canceled", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** Follow a job until it ends; `onReport` hears of every look at it. */
export async function follow(job, onReport) {
  let report = job;
  while (isUnfinished(report)) {
    onReport(report);
    await sleep(POLL_MS);
    try {
      report = await ask("GET", `/api/jobs/${job.id}`);
    } catch (error) {
      if (error.status) throw error;
      onReport({ ...report, silent: true }); // it may only be a nap of this computer
      await patience();
    }
  }
  return report;
}

function understood(status, text) {
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Refusal(status, `the server gave an answer of another kind (${status})`);
  }
  if (status >= 400) throw new Refusal(status, answer.error ?? `the server refused (${status})`);
  return answer;
}
