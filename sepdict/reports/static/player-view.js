/** What is seen of a player. */

import { asClock, make } from "./player-dom.js";
import { sheetButton } from "./player-keys.js";
import { buildFader, buildMasterMeter } from "./player-levels.js";
import { buildTrack, VIEWS } from "./player-track.js";

const TICK_STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const TICK_WIDTH_PX = 72; // at least, or labels would touch
const LABEL_WIDTH_PX = 36; // closer to the end there is no room for one
const PLAY_SHAPE = "M7 4.5v15l12.5-7.5z";
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
  const ticks = make("div", { class: "player-ticks", "aria-hidden": "true" });
  const ruler = make(
    "div",
    {
      ...{ class: "player-ruler", role: "slider", tabindex: "0", "aria-label": "Position" },
      ...{ "aria-valuemin": "0", "aria-valuemax": duration.toFixed(1) },
    },
    [ticks, make("i", { class: "player-cursor" })],
  );
  const rows = channels.map((channel, index) => buildTrack(channel, index, marks, act));
  const list = make(
    "ol",
    { class: "player-tracks" },
    rows.map((row) => row.item),
  );
  const transport = make("div", { class: "player-transport" }, [button, clock, compare, views, sheetButton()]);
  const bar = make("div", { class: "player-bar" }, [transport, make("div", { class: "player-scale" }, [ruler])]);
  const master = buildMaster(act);
  element.replaceChildren(bar, message, list, master.element);
  button.addEventListener("click", act.toggle);
  for (const surface of [ruler, ...rows.map((row) => row.lane)]) makeSeekable(surface, duration, act);

  return {
    ruler,
    setState(state, text) {
      const active = state === "playing" || state === "loading";
      shape.setAttribute("d", active ? PAUSE_SHAPE : PLAY_SHAPE);
      button.setAttribute("aria-label", active ? "Pause" : "Play");
      element.setAttribute("aria-busy", String(state === "loading"));
      message.textContent = state === "loading" ? "Loading …" : text;
    },
    setTime(seconds) {
      element.style.setProperty("--player-position", duration > 0 ? seconds / duration : 0);
      now.textContent = asClock(seconds);
      ruler.setAttribute("aria-valuenow", seconds.toFixed(1));
      ruler.setAttribute("aria-valuetext", `${asClock(seconds)} of ${asClock(duration)}`);
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
    drawTicks() {
      const most = Math.max(1, ruler.clientWidth / TICK_WIDTH_PX);
      const step = TICK_STEPS_S.find((seconds) => duration / seconds <= most) ?? TICK_STEPS_S.at(-1);
      const count = Math.floor(duration / step + 1e-9) + 1;
      ticks.replaceChildren(
        ...Array.from({ length: count }, (_, index) => {
          const share = (index * step) / (duration || 1);
          const fits = (1 - share) * ruler.clientWidth >= LABEL_WIDTH_PX;
          const label = make("span", {}, fits ? [asClock(index * step, step < 1 ? 1 : 0)] : []);
          label.style.left = `${100 * share}%`;
          return label;
        }),
      );
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

/** Let a surface that spans the whole duration be clicked and dragged. */
function makeSeekable(surface, duration, act) {
  const timeAt = (event) => {
    const { left, width } = surface.getBoundingClientRect();
    return duration * Math.min(1, Math.max(0, (event.clientX - left) / width));
  };
  surface.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    surface.setPointerCapture(event.pointerId);
    act.drag(timeAt(event));
  });
  surface.addEventListener("pointermove", (event) => {
    if (surface.hasPointerCapture(event.pointerId)) act.drag(timeAt(event));
  });
  surface.addEventListener("pointerup", (event) => {
    if (surface.hasPointerCapture(event.pointerId)) act.seek(timeAt(event));
  });
  surface.addEventListener("pointercancel", () => act.drag(null)); // the page is being scrolled
}
