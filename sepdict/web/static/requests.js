/** What the server is asked for: the separation of a mixture, by the page's settings. */

import { asLabels } from "./marking.js";
import { settings } from "./options.js";
import { chosenDictionaries, isDone, jobsOf, sourcesOf } from "./state.js";

export function requestFor(mixture) {
  const how = settings(sourcesOf(mixture).length === 1);
  const dictionaries = chosenDictionaries().map(({ id }) => id);
  const [labels, corrections] = [mixture.marks, mixture.corrections].map(asLabels);
  return { mixture: mixture.id, dictionaries, labels, corrections, ...how };
}

/** Write a request so that the same ones are the same text, whoever has put the keys in which order. */
export function asText(request) {
  if (!request) return "";
  const { mixture, dictionaries, residual, background_model: model, quality } = request;
  const drawn = [request.labels, request.corrections].map(asLabels);
  return JSON.stringify([mixture, dictionaries, ...drawn, residual, model, quality]);
}

/**
 * Ask for a draft of the first mixture as well, if something is to be learned before it: that takes a minute or two, and
 * a draft can be heard in seconds. What is learned for the first mixture is there for the others.
 */
export function draftsFor([first]) {
  if (first?.quality !== "standard") return [];
  const draft = { ...first, quality: "draft", preliminary: true };
  const done = jobsOf("separation").filter(isDone).map(({ request }) => request);
  return done.some((each) => asText(each) === asText(draft) || taught(each) === taught(first)) ? [] : [draft];
}

/** Write down from what is learned to tell the sources of a request apart; drafts learn nothing. */
export function taught({ mixture, dictionaries, labels, quality }) {
  const marked = labels.length ? [mixture, asLabels(labels)] : [];
  return quality === "draft" ? "" : JSON.stringify([[...dictionaries].sort(), ...marked]);
}
