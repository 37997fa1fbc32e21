/**
 * A player for sounds that belong together: a mixture, its stems and what is left, on one clock.
 *
 * An ES module that needs nothing but those beside it; joined to one, they may as well stand inside a page.
 *
 * @example
 * const player = createPlayer(document.querySelector("#player"), {
 *   duration: 11.6,
 *   sampleRate: 44100,
 *   tracks: [
 *     { name: "duet", role: "mixture", url: "duet.flac", spectrogram: "duet.png" },
 *     { name: "violin", role: "stem", url: "violin.flac", spectrogram: "violin.png", mask: "violin-mask.png" },
 *   ],
 * });
 *
 * @typedef {object} Track
 * @property {string} name
 * @property {"mixture"|"stem"|"rest"|"residual"} role rest: the sum of all stems but those shown
 * @property {string} url of a sound that the browser can decode; data: URLs are read without any request
 * @property {string} [spectrogram] URL of a picture that spans the whole duration from its left to its right edge
 * @property {string} [mask] the same of the mask, and
 * @property {string} [excitation] of the excitations: where any track has one, the user can choose what is shown
 * @property {{gain_db?: number, muted?: boolean, soloed?: boolean}} [level] how it is set at the start
 * @property {number} [hue] 1 to 6, as in player.css; stems have them in turn
 */

import { isLeft, nameKeys, take } from "./player-keys.js";
import { amplitudeOf, boundGain, MOST_GAIN_DB } from "./player-levels.js";
import { mixDown, save } from "./player-mix.js";
import { levelLike, Sound } from "./player-sound.js";
import { ZOOM } from "./player-timeline.js";
import { frequencyMarks, VIEWS } from "./player-track.js";
import { buildView } from "./player-view.js";

const N_HUES = 6; // of stems, in player.css
const STEP_S = 1; // of an arrow key, and with Shift
const LONG_STEP_S = 10;
const SHORTEST_LOOP_S = 0.05;
const KEYS = [
  ["Space", "Play or pause, also with a button in focus: Enter presses it"],
  ["← →", `${STEP_S} second back or on, with Shift ${LONG_STEP_S}`],
  ["Home End", "To the beginning or the end, with the focus in the player"],
  ["1 … 9", "Hear one track alone, with Shift beside others"],
  ["L", "Play the loop again and again, or end that; drag on the ruler to set it"],
  ["I O", "Let the loop begin, or end, here"],
  ["+ −", "Magnify time, or show more of it"],
  ["A", "Hear the mixture in place of the stems, as loud as they are"],
  ["0", `Set the fader in focus to 0 dB; the highest is +${MOST_GAIN_DB} dB`],
  ["?", "Show this sheet, and close it"],
];

let latest = null; // the player that keys pressed anywhere on the page are meant for

/**
 * Build a player inside an element.
 *
 * Stems sound from the start and the mixture is mute, for the stems already add up to it: where the mixture is heard, it
 * is heard alone. What is soloed sounds alone, also where it is mute; a solo ends others, unless Shift, Ctrl or Command
 * is held. Comparing puts the mixture in the place of what is heard, as loud as that. Tracks and the master, through
 * which they all go, have gains of -60 dB, which is silence, to 12 dB. Sounds are loaded when they are to be played:
 * whole, or piece by piece, and then time stands where a piece is late.
 *
 * A loop is played again and again, sample by sample; dragging on the ruler sets it. Time can be magnified.
 * The mix that is heard can be saved as a WAV file; it is made softer where it would clip.
 *
 * The element gets the attribute `data-state` (idle, loading, playing, paused or error), an event `position`,
 * `detail: {time, duration, playing}`, whenever time moves, an event `levels`,
 * `detail: {master_db, tracks: [{gain_db, muted, soloed}, …]}`, whenever levels are set otherwise, and an event `timing`,
 * `detail: {loop: {start_s, end_s} or null, is_looping, zoom, start}`, whenever the loop, or what is in view, is.
 *
 * @param {HTMLElement} element emptied first
 * @param {object} options
 * @param {Track[]} options.tracks
 * @param {number} options.duration in seconds
 * @param {number} [options.sampleRate] to decode to, in Hz: the sounds' own takes the least memory
 * @param {{n_samples: number, n_channels: number}} [options.pieces] of every sound, where sounds are loaded piece by
 *   piece, each with `?start=…&stop=…` behind its URL, in samples at that rate
 * @param {number[][]} [options.products] inner products of all tracks with each other, which tell how loud sums are;
 *   to be given with pieces
 * @param {number} [options.spectrogramRate] the sample rate, in Hz, of what the spectrograms and masks were drawn of, if
 *   that is another; with neither, frequencies are not marked
 * @param {number} [options.master_db] the gain of the master at the start
 * @param {string} [options.view] the pictures that are shown at the start: spectrogram, mask or excitation
 * @param {object} [options.timing] the loop and what is in view at the start, as in the event
 * @returns {{play: () => void, pause: () => void, toggle: () => void, seek: (time: number) => void,
 *   compare: (on: boolean) => void, solo: (index: number, on: boolean) => void,
 *   mute: (index: number, on: boolean) => void, setGain: (index: number, gain_db: number) => void,
 *   setMaster: (gain_db: number) => void, saveMix: () => Promise<void>, show: (view: string) => void,
 *   setLoop: (from: number, to: number) => void, toggleLoop: () => void, destroy: () => void, readonly time: number,
 *   readonly playing: boolean, readonly comparing: boolean, readonly view: string, readonly duration: number,
 *   readonly audible: boolean[]}}
 */
export function createPlayer(element, options) {
  const { tracks, duration, sampleRate, spectrogramRate = sampleRate } = options;
  const hasStems = tracks.some((track) => track.role !== "mixture");
  let comparing = false;
  let shown = options.view ?? Object.keys(VIEWS)[0];
  let hue = 0;
  const channels = tracks.map((track) => ({
    track,
    hue: track.hue ?? (track.role === "stem" ? (hue++ % N_HUES) + 1 : 0),
    ...{ soloed: false, muted: hasStems && track.role === "mixture", gain_db: 0 },
    ...track.level,
  }));
  const mixture = hasStems ? channels.find(({ track }) => track.role === "mixture") : undefined;
  const sound = new Sound(channels, options, onSound);
  let master_db = boundGain(options.master_db ?? 0);
  const listening = new AbortController(); // ends all listeners outside the element
  let position = 0; // seconds, where it stands while it is not playing
  let dragged = null; // seconds, where the user is dragging it
  let frame = 0; // the next one in which what moves is drawn
  const { loop: first = null, is_looping: wasLooping = false, zoom = 1, start = 0 } = options.timing ?? {};
  let loop = first && within(first.start_s, first.end_s); // what is played again and again, from and to seconds
  let isLooping = Boolean(loop && wasLooping);

  const time = () => Math.min(duration, Math.max(0, dragged ?? (sound.active ? sound.time : position)));
  const marks = frequencyMarks(spectrogramRate);
  const view = buildView(element, channels, duration, marks, {
    ...{ toggle, seek, drag, mute, setGain, setMaster, saveMix, show, canCompare: Boolean(mixture) },
    ...{ compare: () => compare(!comparing), solo: toggleSolo, setLoop, toggleLoop, tellTiming },
  });
  const resized = new ResizeObserver(() => view.timeline.drawTicks());
  resized.observe(view.timeline.ruler);
  element.addEventListener("pointerdown", () => (latest = element));
  element.addEventListener("focusin", () => (latest = element));
  element.addEventListener("click", release);
  document.addEventListener("keydown", onKey, { signal: listening.signal });
  latest ??= element;
  nameKeys("Listening", KEYS);
  setState("idle");
  view.setLoop(loop, isLooping);
  view.timeline.magnify(zoom, start);
  refresh();
  show(shown);

  function setState(state, message = "") {
    element.dataset.state = state;
    view.setState(state, message);
    draw();
  }

  function draw() {
    view.setTime(time());
    const detail = { time: time(), duration, playing: sound.active };
    element.dispatchEvent(new CustomEvent("position", { detail, bubbles: true }));
  }

  function refresh() {
    const anySolo = channels.some((channel) => channel.soloed);
    for (const channel of channels) channel.audible = anySolo ? channel.soloed : !channel.muted;
    const stems = channels.filter((channel) => channel.audible && channel !== mixture);
    const isAlone = mixture && (comparing || mixture.audible); // beside the stems it would only double what is heard
    for (const channel of channels) {
      if (isAlone) channel.audible = channel === mixture;
      channel.level = channel.audible ? amplitudeOf(channel.gain_db) : 0;
    }
    const asSet = channels.map((channel) => (stems.includes(channel) ? amplitudeOf(channel.gain_db) : 0));
    const isKnown = sound.products !== undefined; // how loud things are
    if (comparing && stems.length && isKnown) mixture.level = levelLike(sound.products, asSet, channels.indexOf(mixture));
    sound.masterLevel = amplitudeOf(master_db);
    sound.setLevels();
    view.setChannels(master_db);
    view.setComparing(comparing);
  }

  function compare(on) {
    comparing = on && mixture !== undefined;
    refresh();
  }

  function play() {
    if (sound.active) return;
    if (position >= duration) position = 0;
    startAt(position);
    cancelAnimationFrame(frame);
    tick();
  }

  /** Follow the sound, which may have to wait for what is to come. */
  function onSound(state, message) {
    if (state === "playing") refresh(); // now it is known how loud things are
    if (state === "error") position = sound.offset;
    if (state !== "playing") view.setPeaks(sound.peaks());
    setState(state, message);
  }

  function pause() {
    if (sound.active) position = Math.min(duration, sound.time);
    sound.stop();
    setState("paused");
    view.setPeaks(sound.peaks());
  }

  function toggle() {
    if (sound.active) pause();
    else play();
  }

  function seek(seconds) {
    position = Math.min(duration, Math.max(0, seconds));
    dragged = null;
    if (sound.active) startAt(position);
    draw();
    view.timeline.follow(position, true);
  }

  function startAt(seconds) {
    sound.start(seconds, isLooping ? loop : null);
  }

  /** Keep a loop within the sound, and long enough to be heard. */
  function within(from, to) {
    const begin = Math.min(Math.max(0, from), duration - SHORTEST_LOOP_S);
    return [begin, Math.min(duration, Math.max(to, begin + SHORTEST_LOOP_S))];
  }

  /** Play a part again and again. */
  function setLoop(from, to) {
    loop = within(from, to);
    isLooping = true;
    view.setLoop(loop, isLooping);
    tellTiming();
    const now = time();
    if (now < loop[0] || now >= loop[1]) seek(loop[0]);
    else if (sound.active) startAt(now);
  }

  /** Begin or end to play the loop again and again; where none was set, what is in view. */
  function toggleLoop() {
    if (!isLooping) return setLoop(...(loop ?? view.timeline.inView()));
    isLooping = false;
    view.setLoop(loop, isLooping);
    tellTiming();
    if (sound.active) startAt(time());
  }

  /** Let the loop begin here, or end. */
  function moveLoop(isEnd) {
    const [from, to] = loop ?? [0, duration];
    const now = time();
    if (isEnd) setLoop(Math.min(from, now - SHORTEST_LOOP_S), now);
    else setLoop(now, to > now ? to : duration);
  }

  function tellTiming() {
    const set = loop && { start_s: loop[0], end_s: loop[1] };
    const detail = { loop: set, is_looping: isLooping, ...view.timeline.shown() };
    element.dispatchEvent(new CustomEvent("timing", { detail }));
  }

  function drag(seconds) {
    dragged = seconds;
    draw();
  }

  function tick() {
    if (!sound.active) return;
    if (sound.time >= duration) {
      pause();
      return;
    }
    draw();
    view.timeline.follow(time(), false);
    view.setPeaks(sound.peaks());
    frame = requestAnimationFrame(tick);
  }

  function solo(index, on) {
    comparing = false;
    setLevel(index, { soloed: on });
  }

  /** Solo a track or end its solo; unless it is to be heard beside others, those end. */
  function toggleSolo(index, isAdded) {
    const isOnly = channels.every(({ soloed }, other) => soloed === (other === index));
    const on = isAdded ? !channels[index].soloed : !isOnly;
    if (!isAdded) for (const channel of channels) channel.soloed = false;
    solo(index, on);
  }

  function mute(index, on) {
    comparing = false;
    setLevel(index, { muted: on });
  }

  function setGain(index, gain_db) {
    setLevel(index, { gain_db: boundGain(gain_db) });
  }

  function setMaster(gain_db) {
    master_db = boundGain(gain_db);
    tellLevels();
  }

  function setLevel(index, level) {
    Object.assign(channels[index], level);
    tellLevels();
  }

  function tellLevels() {
    refresh();
    const set = channels.map(({ gain_db, muted, soloed }) => ({ gain_db, muted, soloed }));
    element.dispatchEvent(new CustomEvent("levels", { detail: { master_db, tracks: set } }));
  }

  function show(name) {
    shown = name;
    view.show(name);
  }

  /** Save what is heard, at the levels that are set, as a file. */
  async function saveMix() {
    const onShare = (share) => view.sayOfMix(`Mixing … ${10 * Math.floor(10 * share)} %`);
    onShare(0);
    try {
      await sound.measure();
      refresh(); // now it is known how loud things are
      const levels = channels.map(({ level }) => level * sound.masterLevel);
      if (!levels.some((level) => level > 0)) throw new Error("nothing is heard; unmute a track or turn the master up");
      const { file, softer_db } = await mixDown(sound.rows, levels, { signal: listening.signal, onShare });
      const name = tracks.find(({ role }) => role === "mixture")?.name.replace(/\.\w+$/, "") ?? "separated";
      save(file, `${name} mix.wav`);
      view.sayOfMix(softer_db ? `Made ${softer_db.toFixed(1)} dB softer, so that it does not clip.` : "Saved.");
    } catch (error) {
      view.sayOfMix(`There is no mix: ${error.message}.`);
    }
  }

  function release(event) {
    // keys that a pointer left with a control are the player's again; a click that a key made counts as none
    if (event.detail > 0) event.target.closest?.("button, input")?.blur();
  }

  function onKey(event) {
    const inside = element.contains(event.target);
    if (!(inside || latest === element) || isLeft(event)) return;
    const step = event.shiftKey ? LONG_STEP_S : STEP_S;
    const digit = /^Digit([1-9])$/.exec(event.code)?.[1] ?? (/^[1-9]$/.test(event.key) ? event.key : 0);
    const key = event.key.toLowerCase();
    if (key === " ") event.repeat || toggle();
    else if (key === "arrowleft") seek(time() - step);
    else if (key === "arrowright") seek(time() + step);
    else if (key === "home" && inside) seek(0);
    else if (key === "end" && inside) seek(duration);
    else if (key === "l") toggleLoop();
    else if (key === "i" || key === "o") moveLoop(key === "o");
    else if (key === "+" || key === "=") view.timeline.zoomBy(ZOOM);
    else if (key === "-") view.timeline.zoomBy(1 / ZOOM);
    else if (key === "a" && mixture) compare(!comparing);
    else if (channels[digit - 1]) toggleSolo(digit - 1, event.shiftKey);
    else return;
    take(event);
  }

  function destroy() {
    listening.abort();
    resized.disconnect();
    sound.close();
    if (latest === element) latest = null;
    element.replaceChildren();
    delete element.dataset.state;
  }

  return {
    play,
    pause,
    toggle,
    seek,
    compare,
    solo,
    mute,
    setGain,
    setMaster,
    saveMix,
    setLoop,
    toggleLoop,
    show,
    destroy,
    duration,
    get time() {
      return time();
    },
    get playing() {
      return sound.active;
    },
    get comparing() {
      return comparing;
    },
    get view() {
      return shown;
    },
    get audible() {
      return channels.map((channel) => channel.audible);
    },
  };
}
