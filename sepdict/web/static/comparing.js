/** Whether the sources of the chosen dictionaries can be told apart, as the server forecasts it. */

import { catchFocus, complain, make } from "./elements.js";
import { createWatching, followAll } from "./jobs.js";
import { ask, drop, isUnfinished } from "./server.js";
import { attempt, ofSession, ownChange } from "./session.js";
import { changed, chosenDictionaries, isDone, jobsOf, remove, setJob } from "./state.js";

/**
 * Let the chosen dictionaries be compared in a place of the page.
 *
 * @param {HTMLElement} place with elements for the parts, as in the page
 * @returns {{refresh: () => void, watch: () => Promise<void>}} `watch` follows what the server compares, wherever that
 *   was begun
 */
export function createComparing(place) {
  const find = (selector) => place.querySelector(selector);
  const watching = createWatching(() => jobsOf("comparison").filter(isUnfinished), followThem);
  let asking = false;
  let shown = null; // the report that the table is of

  find("#compare").addEventListener("click", compare);

  async function compare() {
    const byKeyboard = document.activeElement.matches(":focus-visible");
    const before = jobsOf("comparison");
    asking = true;
    changed();
    await attempt(place, async () => {
      const dictionaries = chosenDictionaries().map(({ id }) => id);
      setJob(await ask("POST", await ofSession("/api/comparisons"), { dictionaries }));
      for (const { id } of before) takeAway(id); // one at a time is enough
      ownChange();
      await watching.watch({ byKeyboard });
    });
    asking = false;
    changed();
    if (byKeyboard) catchFocus(find("#told-apart").hidden ? find("#compare") : find("#told-apart"));
  }

  async function followThem(jobs, { byKeyboard }) {
    const ends = await followAll(place, jobs, hear, { byKeyboard });
    complain(place, ends.filter(({ lost }) => !lost).map(({ message }) => message).filter(Boolean));
  }

  function hear(_, report) {
    if (report.lost) remove(report.id);
    else setJob(report);
    changed();
  }

  function takeAway(id) {
    drop(`/api/jobs/${id}/result`);
    remove(id);
  }

  function refresh() {
    const chosen = chosenDictionaries().map(({ id }) => id);
    const isOfChosen = ({ request }) => [...request.dictionaries].sort().join() === [...chosen].sort().join();
    const report = jobsOf("comparison").findLast((each) => isDone(each) && isOfChosen(each)) ?? null;
    const isBusy = asking || watching.isOn;
    find("#compare").disabled = isBusy;
    find("#compare").parentElement.hidden = Boolean(report) || (chosen.length < 2 && !isBusy);
    find("#told-apart").hidden = !report;
    if (report?.id === shown) return;
    shown = report?.id;
    find("#told-apart tbody").replaceChildren(...(report?.result.forecasts ?? []).map(rowOf));
  }

  return { refresh, watch: watching.watch };
}

function rowOf({ sources, verdict, si_sdr_improvement_db: gained }) {
  const names = `${sources.slice(0, -1).join(", ")} and ${sources.at(-1)}`;
  const head = make("th", { scope: "row" }, [names]);
  return make("tr", {}, [head, make("td", {}, [verdict]), make("td", {}, [`about ${Math.round(gained)}\u00a0dB`])]);
}
