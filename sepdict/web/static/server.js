/** What the page asks of the server. */

const POLL_MS = 400;
const PAUSES_MS = [500, 1000, 2000, 4000, 8000, 15000]; // while the server does not answer
const SAID_AFTER = 3; // questions in vain: once is a nap of this computer
const PATIENCE_MS = 20_000; // with an answer that takes no work
const SILENT = "the server does not answer; is sepdict serve still running?";

/** What the server refuses, in its words; 0 is the status of no answer. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Ask for JSON. */
export async function ask(method, path, content, options = {}) {
  const asked = { method, keepalive: method === "DELETE", ...options }; // what is given up is, though the page is left
  if (content !== undefined) {
    asked.headers = { "Content-Type": "application/json" };
    asked.body = JSON.stringify(content);
  } else if (method === "POST") {
    asked.body = "";
  }
  return answered(path, asked);
}

/** Ask for what the server only has to look up, again and again until it answers. */
export function lookUp(path, onSilent) {
  return persist(() => ask("GET", path, undefined, { signal: AbortSignal.timeout(PATIENCE_MS) }), onSilent);
}

/** Ask with a small file as it is. */
export function askWith(file, path) {
  return answered(path, { method: "POST", body: file });
}

async function answered(path, options) {
  try {
    const answer = await fetch(path, options);
    return understood(answer.status, await answer.text());
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(0, SILENT);
  }
}

/** Name the sound that the server makes of a recording, for the page to play. */
export function previewOf(id) {
  return `/api/uploads/${id}/sound.wav`;
}

/** Find out why a file that the page wanted to show or play did not come; nothing where it does come. */
export async function whyNot(path) {
  const asking = new AbortController();
  try {
    const answer = await fetch(path, { signal: asking.signal });
    if (!answer.ok) understood(answer.status, await answer.text());
    asking.abort(); // it is not wanted twice
    return "";
  } catch (error) {
    return error instanceof Refusal ? error.message : SILENT;
  }
}

/** Tell the server that something is not needed any more; an answer does not matter. */
export function drop(path) {
  ask("DELETE", path).catch(() => {});
}

const waiting = new Set(); // those who asked in vain: how often, and how to wake them
let tellSilence = () => {};

/** Have somebody told of the seconds until the server is asked again, and of 0 when it answers again. */
export function whenSilent(tell) {
  tellSilence = tell;
}

/** Ask the server at once, whatever the pause. */
export function askNow() {
  for (const { wake } of waiting) wake();
}

/** Do something that asks the server, until it answers, with growing pauses; `onSilent` hears of every failure. */
export async function persist(work, onSilent = () => {}) {
  const self = { nFailed: 0, wake: () => {} };
  try {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if (error.status !== 0) throw error;
      }
      self.nFailed += 1;
      waiting.add(self);
      onSilent();
      const pause = PAUSES_MS[Math.min(self.nFailed, PAUSES_MS.length) - 1];
      if (self.nFailed >= SAID_AFTER) tellSilence(pause / 1000);
      await Promise.race([sleep(pause), new Promise((resolve) => (self.wake = resolve))]);
    }
  } finally {
    if (waiting.delete(self)) {
      askNow(); // the others, too
      if (![...waiting].some(({ nFailed }) => nFailed >= SAID_AFTER)) tellSilence(0);
    }
  }
}

export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Tell whether a job is still to end. */
export function isUnfinished({ state }) {
  return state === "waiting" || state === "running";
}

/** Send a file as it is; `onProgress` hears the share that has arrived, 0 to 1. */
export function send(file, path, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch says nothing of how far an upload is
    request.open("POST", path);
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
    report = await lookUp(`/api/jobs/${job.id}`, () => onReport({ ...report, silent: true }));
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
