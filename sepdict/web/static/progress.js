/** How far work is, in words: a job, and all that was asked for together. */

import { asDuration } from "./elements.js";
import { taught } from "./requests.js";
import { isUnfinished } from "./server.js";
import { isDone } from "./state.js";

const STAGES = {
  train: "Learning the sound",
  estimate: "Learning to tell the sources apart (once, a minute or two)",
  compare: "Comparing the sources",
  fit: "Taking the mixture apart",
  adapt: "Adapting to this mixture",
  tracks: "Separating the recordings",
  write: "Writing the stems",
};
const STEPS = {
  ready: "Get ready",
  train: "Learn what is marked",
  estimate: "Learn to tell the sources apart",
  fit: "Take the mixture apart",
  write: "Write the stems",
};
const STEP_OF = { adapt: "fit" }; // both go on in turn

/** Say how far a job is, and what of all that was asked for is left, as `wholeOf` has it. */
export function progressOf(report, whole) {
  const { state, n_before: nBefore, stage, stages, fraction, elapsed_s: elapsed, left_s: left, silent } = report;
  if (silent) return { text: "The server does not answer; trying again" };
  if (state === "waiting" && nBefore) return { text: `Waiting for ${nBefore} other ${nBefore === 1 ? "job" : "jobs"} to end` };
  const ahead = left >= 1 ? `, about ${roughly(left)} left` : "";
  const all = whole.isMore && whole.left_s >= 1 ? `; about ${roughly(whole.left_s)} until all is done` : "";
  const took = elapsed >= 1 ? `, ${asDuration(Math.floor(elapsed))}${ahead}${all}` : "";
  const plan = [...new Set(["ready", ...stages.map((each) => STEP_OF[each] ?? each)])];
  const steps = stages.length > 1 ? plan.map((each) => STEPS[each]) : []; // a single one is named already
  if (!stage) return { text: "Getting ready", took, steps, step: 0 };
  return { text: STAGES[stage] ?? "Working", took, share: fraction, steps, step: plan.indexOf(STEP_OF[stage] ?? stage) };
}

/**
 * Reckon of jobs that are done in their order which share is done, and how long the rest takes at the pace so far.
 *
 * `left_s` is null where nothing is known of that; `isMore` says whether a job has yet to begin.
 */
export function wholeOf(reports) {
  const costs = reports.map((report, index) => costOf(report, reports.slice(0, index)));
  const spent = reports.map((report, index) => costs[index] * (isEnded(report) ? 1 : report.fraction));
  const known = reports.map((report) => isDone(report) || report.state === "running");
  const elapsed_s = sum(reports.map((report, index) => (known[index] ? report.elapsed_s : 0)));
  const paid = sum(spent.filter((_, index) => known[index]));
  const [all, done] = [sum(costs), sum(spent)];
  return {
    share: all ? done / all : 0,
    left_s: paid ? (elapsed_s * (all - done)) / paid : null,
    isMore: reports.some(({ state }) => state === "waiting"),
  };
}

/** What a job costs; what is learned to tell sources apart is learned once. */
function costOf(report, before) {
  const { costs, request, state } = report;
  const wanted = state === "waiting" && costs.estimate ? taught(request) : "";
  const isKnown = wanted && before.some((each) => each.costs.estimate !== undefined && taught(each.request) === wanted);
  return sum(Object.values(costs)) - (isKnown ? costs.estimate : 0);
}

function isEnded(report) {
  return !isUnfinished(report);
}

function sum(numbers) {
  return numbers.reduce((total, each) => total + each, 0);
}

function roughly(seconds) {
  return asDuration(Math.ceil(seconds));
}
