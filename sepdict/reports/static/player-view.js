/** What is seen of a player. */

import { asClock, make } from "./player-dom.js";
import { sheetButton } from "./player-keys.js";
import { buildFader, buildMasterMeter } from "./player-levels.js";
import { buildTimeline } from "./player-timeline.js";
import { buildTrack, VIEWS } from "./player-track.js";

const PLAY_SHAPE = "M7 4.5v15l12.5-7.5z";
const PATIENCE_MS = 300; // until it is said that something loads
const PAUSE_SHAPE = "M6.5 5h4v14h-4zM13.5 5h4v14h-4z";

let nPlayers = 0;

/** Make the elements, and say how they show what changes. */
export function buildView(element, channels, duration, marks, act) {
  const number = ++nPlayers;
  element.classList.add("player");
  element.classList.toggle("player-scaled", marks.length > 0);
  element.setAttribute("role", "group");
  element.setAttribute("aria-label", "Player");
  const shape = make("path", { d: PLAY_SHAPE }, [], "http://www.w3.org/2000/svg");
  const icon = make("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, [shape], "http://www.w3.org/2000/svg");
  const button = make("button", { type: "button", class: "player-play", "aria-label": "Play" }, [icon]);
  const now = make("span", { class: "player-now" });
  const clock = make("div", { class: "player-clock" }, [now, ` / ${asClock(duration)}`]);
  const message = make("p", { class: "player-message", role: "status" });
  const available = Object.keys(VIEWS).filter((name) => channels.some(({ track }) => track[name]));
  const choices = available.map((name) => {
    const input = make("input", { type: "radio", name: `player-${number}-view`, value: name });
    input.addEventListener("change", () => act.show(name));
    return make("label", {}, [input, make("span", {}, [VIEWS[name]])]);
  });
  const views = make("div", { class: "player-views", role: "radiogroup", "aria-label": "Pictures" }, choices);
  views.hidden = available.length < 2;
  const compare = make(
    "button",
    { type: "button", class: "player-compare", title: "Hear the mixture instead, as loud (key A)", click: act.compare },
    ["Mixture"],
  );
  compare.hidden = !act.canCompare;
  const timeline = buildTimeline(element, duration, act);
  const title = "Play the loop again and again (key L); drag on the ruler to set it";
  const loop = make("button", { type: "button", class: "player-again", title, click: act.toggleLoop }, ["Loop"]);
  const times = make("div", { class: "player-times" }, [loop, ...timeline.buttons]);
  const rows = channels.map((channel, index) => buildTrack(channel, index, marks, act));
  const list = make(
    "ol",
    { class: "player-tracks" },
    rows.map((row) => row.item),
  );
  const transport = make("div", { class: "player-transport" }, [button, clock, compare, times, views, sheetButton()]);
  const bar = make("div", { class: "player-bar" }, [transport, timeline.element]);
  const master = buildMaster(act);
  element.replaceChildren(bar, message, list, master.element);
  button.addEventListener("click", act.toggle);
  for (const { lane } of rows) timeline.makeSeekable(lane);
  let waiting = 0; // the timer until it is said that something loads

  return {
    timeline,
    setState(state, text) {
      const active = state === "playing" || state === "loading";
      shape.setAttribute("d", active ? PAUSE_SHAPE : PLAY_SHAPE);
      button.setAttribute("aria-label", active ? "Pause" : "Play");
      element.setAttribute("aria-busy", String(state === "loading"));
      if (state === "loading" && waiting) return;
      clearTimeout(waiting);
      waiting = state === "loading" ? setTimeout(() => (message.textContent = "Loading …"), PATIENCE_MS) : 0;
      message.textContent = text;
    },
    setTime(seconds) {
      timeline.setTime(seconds);
      now.textContent = asClock(seconds);
    },
    setLoop(span, isOn) {
      loop.setAttribute("aria-pressed", String(isOn));
      if (span) timeline.showLoop(...span, isOn);
    },
    sayOfMix(text) {
      master.said.textContent = text;
    },
    setComparing(on) {
      compare.setAttribute("aria-pressed", String(on));
    },
    setChannels(master_db) {
      for (const row of rows) row.update();
      master.fader.set(master_db);
    },
    setPeaks(peaks) {
      for (const [index, row] of rows.entries()) row.meter.show(peaks.tracks[index]);
      master.meter.show(peaks.master);
    },
    show(name) {
      for (const choice of choices) choice.firstChild.checked = choice.firstChild.value === name;
      for (const row of rows) row.show(name);
    },
  };
}

/** Make the row of the master, through which all tracks go. */
function buildMaster(act) {
  const fader = buildFader("Volume of the master", act.setMaster);
  const meter = buildMasterMeter();
  const head = make("div", { class: "player-head" }, [make("b", {}, ["Master"]), fader.element]);
  const title = "Save what is heard, at the levels that are set, as a WAV file";
  const button = make("button", { type: "button", class: "player-save", title, click: act.saveMix }, ["Download this mix"]);
  const said = make("span", { class: "player-said", role: "status" });
  const out = make("div", { class: "player-out" }, [...meter.elements, button, said]);
  const group = { class: "player-master", role: "group", "aria-label": "Master" };
  return { element: make("div", group, [head, out]), fader, meter, said };
}
