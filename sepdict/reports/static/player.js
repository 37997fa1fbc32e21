/**
 * A player for sounds that belong together: a mixture, its stems and what is left, on one clock.
 *
 * An ES module without dependencies, which may as well stand inside a page, as <script type="module">.
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
 * @property {{volume?: number, muted?: boolean, soloed?: boolean}} [level] how it is set at the start
 * @property {number} [hue] 1 to 6, as in player.css; stems have them in turn
 */

const VIEWS = { spectrogram: "Spectrogram", mask: "Mask", excitation: "Excitation" };
const ROLES = { mixture: "mixture", stem: "stem", rest: "everything else", residual: "what is left" };
const LOWEST_HZ = 50; // where pictures of spectrograms and masks begin
const HIGHEST_HZ = 16000; // and end, if the sound does not end below; in between they are equal in octaves
const MARK_MARGIN = 0.06; // of a picture's height: closer to its edges no frequency is marked
const N_HUES = 6; // of stems, in player.css
const START_DELAY_S = 0.03; // so far ahead sources are scheduled, that all of them start at once
const FADE_S = 0.015; // of solo, mute and volume, that nothing clicks
const MOST_MEASURED = 1e6; // samples of a channel, for its loudness
const STEP_S = 1; // of an arrow key, and with Shift
const LONG_STEP_S = 10;
const TICK_STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const TICK_WIDTH_PX = 72; // at least, or labels would touch
const LABEL_WIDTH_PX = 36; // closer to the end there is no room for one
const PLAY_SHAPE = "M7 4.5v15l12.5-7.5z";
const PAUSE_SHAPE = "M6.5 5h4v14h-4zM13.5 5h4v14h-4z";
const CONTROLS = "button, input, select, textarea, a, summary, [contenteditable]"; // have keys of their own

let latest = null; // the player that keys pressed anywhere on the page are meant for
let nPlayers = 0;
const known = new WeakMap(); // how loud sounds are

/**
 * Build a player inside an element.
 *
 * Stems sound from the start and the mixture is mute, for the stems already add up to it: where the mixture is heard, it
 * is heard alone. What is soloed sounds alone, also where it is mute; a solo ends others, unless Shift, Ctrl or Command
 * is held. Comparing puts the mixture in the place of what is heard, as loud as that. Sounds are loaded when they are first to be played. The element gets the attribute
 * `data-state` (idle, loading, playing, paused or error), an event `position`, `detail: {time, duration, playing}`,
 * whenever time moves, and an event `levels`, `detail: [{volume, muted, soloed}, …]`, whenever tracks are set otherwise.
 *
 * @param {HTMLElement} element emptied first
 * @param {object} options
 * @param {Track[]} options.tracks
 * @param {number} options.duration in seconds
 * @param {number} [options.sampleRate] to decode to, in Hz: the sounds' own takes the least memory
 * @param {number} [options.spectrogramRate] the sample rate, in Hz, of what the spectrograms and masks were drawn of, if
 *   that is another; with neither, frequencies are not marked
 * @returns {{play: () => Promise<void>, pause: () => void, toggle: () => void, seek: (time: number) => void,
 *   compare: (on: boolean) => void, solo: (index: number, on: boolean) => void, mute: (index: number, on: boolean) => void,
 *   setVolume: (index: number, volume: number) => void, show: (view: string) => void, destroy: () => void,
 *   readonly time: number, readonly playing: boolean, readonly duration: number, readonly audible: boolean[]}}
 */
export function createPlayer(element, { tracks, duration, sampleRate, spectrogramRate = sampleRate }) {
  const hasStems = tracks.some((track) => track.role !== "mixture");
  let comparing = false;
  let hue = 0;
  const channels = tracks.map((track) => ({
    track,
    hue: track.hue ?? (track.role === "stem" ? (hue++ % N_HUES) + 1 : 0),
    ...{ soloed: false, muted: hasStems && track.role === "mixture", volume: 1 },
    ...track.level,
  }));
  const mixture = hasStems ? channels.find(({ track }) => track.role === "mixture") : undefined;
  const sound = new Sound(channels, sampleRate);
  const listening = new AbortController(); // ends all listeners outside the element
  let position = 0; // seconds, where it stands while it is not playing
  let dragged = null; // seconds, where the user is dragging it
  let loading = null;

  const time = () => Math.min(duration, Math.max(0, dragged ?? (sound.playing ? sound.time : position)));
  const marks = frequencyMarks(spectrogramRate);
  const view = buildView(element, channels, duration, marks, {
    ...{ toggle, seek, drag, mute, setVolume, show, canCompare: Boolean(mixture) },
    ...{ compare: () => compare(!comparing), solo: toggleSolo },
  });
  const resized = new ResizeObserver(() => view.drawTicks());
  resized.observe(view.ruler);
  element.addEventListener("pointerdown", () => (latest = element));
  element.addEventListener("focusin", () => (latest = element));
  element.addEventListener("click", release);
  document.addEventListener("keydown", onKey, { signal: listening.signal });
  latest ??= element;
  setState("idle");
  refresh();
  show(Object.keys(VIEWS)[0]);

  function setState(state, message = "") {
    element.dataset.state = state;
    view.setState(state, message);
    draw();
  }

  function draw() {
    view.setTime(time());
    const detail = { time: time(), duration, playing: sound.playing };
    element.dispatchEvent(new CustomEvent("position", { detail, bubbles: true }));
  }

  function refresh() {
    const anySolo = channels.some((channel) => channel.soloed);
    for (const channel of channels) channel.audible = anySolo ? channel.soloed : !channel.muted;
    const stems = channels.filter((channel) => channel.audible && channel !== mixture);
    const isAlone = mixture && (comparing || mixture.audible); // beside the stems it would only double what is heard
    for (const channel of channels) {
      if (isAlone) channel.audible = channel === mixture;
      channel.level = channel.audible ? channel.volume ** 2 : 0; // loudness is nearer to the square than to the sum
    }
    if (comparing && stems.length) mixture.level = levelLike(stems, mixture);
    sound.setLevels();
    view.setChannels();
    view.setComparing(comparing);
  }

  function compare(on) {
    comparing = on && mixture !== undefined;
    refresh();
  }

  async function play() {
    if (sound.playing || loading) return loading;
    setState("loading");
    loading = sound.load();
    try {
      await loading;
    } catch (error) {
      setState("error", error.message);
      return;
    } finally {
      loading = null;
    }
    if (listening.signal.aborted || element.dataset.state !== "loading") return; // thought better of it meanwhile
    if (position >= duration) position = 0;
    refresh(); // now it is known how loud things are
    sound.start(position);
    setState("playing");
    requestAnimationFrame(tick);
  }

  function pause() {
    if (sound.playing) position = Math.min(duration, sound.time);
    sound.stop();
    setState("paused");
  }

  function toggle() {
    if (sound.playing || loading) pause();
    else play();
  }

  function seek(seconds) {
    position = Math.min(duration, Math.max(0, seconds));
    dragged = null;
    if (sound.playing) sound.start(position);
    draw();
  }

  function drag(seconds) {
    dragged = seconds;
    draw();
  }

  function tick() {
    if (!sound.playing) return;
    if (sound.time >= duration) {
      pause();
      return;
    }
    draw();
    requestAnimationFrame(tick);
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

  function setVolume(index, volume) {
    setLevel(index, { volume: Math.min(1, Math.max(0, volume)) });
  }

  function setLevel(index, level) {
    Object.assign(channels[index], level);
    refresh();
    const detail = channels.map(({ volume, muted, soloed }) => ({ volume, muted, soloed }));
    element.dispatchEvent(new CustomEvent("levels", { detail }));
  }

  function show(name) {
    view.show(name);
  }

  function release(event) {
    // keys that a pointer left with a control are the player's again; a click that a key made counts as none
    if (event.detail > 0) event.target.closest?.("button, input")?.blur();
  }

  function onKey(event) {
    const inside = element.contains(event.target);
    const elsewhere = latest === element && !event.target.closest?.(CONTROLS);
    if (!(inside || elsewhere) || event.ctrlKey || event.metaKey || event.altKey) return;
    const onControl = event.target.matches?.("button, input, summary, a"); // which have Space and arrows of their own
    const step = event.shiftKey ? LONG_STEP_S : STEP_S;
    const digit = /^Digit([1-9])$/.exec(event.code)?.[1] ?? (/^[1-9]$/.test(event.key) ? event.key : 0);
    const seekable = !onControl || event.target.matches("button");
    if (event.key === " " && !onControl) toggle();
    else if (event.key === "ArrowLeft" && seekable) seek(time() - step);
    else if (event.key === "ArrowRight" && seekable) seek(time() + step);
    else if (event.key === "Home" && inside && seekable) seek(0);
    else if (event.key === "End" && inside && seekable) seek(duration);
    else if (event.key === "a" && mixture) compare(!comparing);
    else if (channels[digit - 1]) toggleSolo(digit - 1, event.shiftKey);
    else return;
    event.preventDefault();
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
    setVolume,
    show,
    destroy,
    duration,
    get time() {
      return time();
    },
    get playing() {
      return sound.playing;
    },
    get audible() {
      return channels.map((channel) => channel.audible);
    },
  };
}

/** All tracks decoded, on the clock of one audio context. */
class Sound {
  constructor(channels, sampleRate) {
    this.channels = channels;
    this.sampleRate = sampleRate;
    this.context = null; // made when first needed: browsers want a user's gesture before it
    this.playing = false;
    this.startedAt = 0; // on the context's clock, when time was zero
    this.offset = 0; // where it was started: until that is heard, time stands
  }

  get time() {
    const latency = this.context.outputLatency || 0; // what is computed now is heard so much later
    return Math.max(this.offset, this.context.currentTime - latency - this.startedAt);
  }

  async load() {
    this.context ??= openContext(this.sampleRate);
    await this.context.resume();
    await Promise.all(
      this.channels.map(async (channel) => {
        channel.buffer ??= await decoded(this.context, channel.track);
        if (channel.gain) return;
        channel.gain = this.context.createGain();
        channel.gain.connect(this.context.destination);
      }),
    );
  }

  start(offset) {
    this.stop();
    this.setLevels(0);
    const when = this.context.currentTime + START_DELAY_S;
    for (const channel of this.channels) {
      if (offset >= channel.buffer.duration) continue;
      channel.source = this.context.createBufferSource();
      channel.source.buffer = channel.buffer;
      channel.source.connect(channel.gain);
      channel.source.start(when, offset);
    }
    this.startedAt = when - offset;
    this.offset = offset;
    this.playing = true;
  }

  stop() {
    for (const channel of this.channels) {
      channel.source?.stop();
      channel.source?.disconnect();
      channel.source = null;
    }
    this.playing = false;
  }

  setLevels(fade = FADE_S) {
    for (const { gain, level } of this.channels) {
      if (!gain) continue;
      if (fade > 0) gain.gain.setTargetAtTime(level, this.context.currentTime, fade);
      else gain.gain.setValueAtTime(level, this.context.currentTime);
    }
  }

  close() {
    this.stop();
    this.context?.close();
  }
}

/** Find the level at which the mixture is as loud as stems are at theirs; it is not made louder than it is. */
function levelLike(stems, mixture) {
  if (!mixture.buffer) return mixture.level; // it is not known yet
  const power = stems.reduce((sum, { buffer, volume }) => sum + (volume ** 2 * loudness(buffer)) ** 2, 0);
  return Math.min(1, Math.sqrt(power) / (loudness(mixture.buffer) || 1));
}

/** Compute the root mean square of the samples of all channels, of long sounds from a part of them. */
function loudness(buffer) {
  if (known.has(buffer)) return known.get(buffer);
  const stride = Math.ceil(buffer.length / MOST_MEASURED);
  let [sum, n] = [0, 0];
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let index = 0; index < samples.length; index += stride, n++) sum += samples[index] ** 2;
  }
  known.set(buffer, Math.sqrt(sum / (n || 1)));
  return known.get(buffer);
}

function openContext(sampleRate) {
  try {
    return new AudioContext(sampleRate ? { sampleRate } : {});
  } catch {
    return new AudioContext(); // not every browser takes every rate
  }
}

async function decoded(context, track) {
  try {
    return await context.decodeAudioData(await bytesOf(track.url));
  } catch (error) {
    throw new Error(`${track.name} cannot be loaded (${error.message || error.name})`, { cause: error });
  }
}

/** Fetch a sound; data: URLs are taken apart here, for not every page may fetch them. */
async function bytesOf(url) {
  if (url.startsWith("data:")) {
    const text = atob(url.slice(url.indexOf(",") + 1));
    return Uint8Array.from(text, (character) => character.charCodeAt(0)).buffer;
  }
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}

/** Make the elements, and say how they show what changes. */
function buildView(element, channels, duration, marks, act) {
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
  const transport = make("div", { class: "player-transport" }, [button, clock, compare, views]);
  const bar = make("div", { class: "player-bar" }, [transport, make("div", { class: "player-scale" }, [ruler])]);
  element.replaceChildren(bar, message, list);
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
    setComparing(on) {
      compare.setAttribute("aria-pressed", String(on));
    },
    setChannels() {
      for (const row of rows) row.update();
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

/** Make the row of one track: its name and controls, and its picture with the cursor. */
function buildTrack(channel, index, marks, act) {
  const { name, role } = channel.track;
  const key = index < 9 ? ` (key ${index + 1})` : "";
  const solo = make("button", { type: "button", class: "player-solo", title: `Hear only this${key}; with Shift, beside others` }, ["Solo"]);
  const mute = make("button", { type: "button", class: "player-mute", title: "Leave this out" }, ["Mute"]);
  const volume = make("input", { type: "range", min: "0", max: "1", step: "0.01", value: "1", title: "Volume" });
  solo.setAttribute("aria-label", `Solo ${name}`);
  mute.setAttribute("aria-label", `Mute ${name}`);
  volume.setAttribute("aria-label", `Volume of ${name}`);
  const picture = make("img", { alt: "", draggable: "false", decoding: "async" });
  const lane = make("div", { class: "player-lane" }, [picture, make("i", { class: "player-cursor" })]);
  const axis = buildAxis(marks);
  const title = make("div", { class: "player-title" }, [
    make("span", { class: "player-name", title: name }, [name]),
    make("span", { class: "player-role" }, name === ROLES[role] ? [] : [ROLES[role] ?? role]),
  ]);
  const controls = make("div", { class: "player-controls" }, [solo, mute, volume]);
  const head = make("div", { class: "player-head" }, [title, controls]);
  const item = make("li", { class: "player-track", "data-role": role, "data-hue": String(channel.hue) }, [head, axis, lane]);
  item.setAttribute("aria-label", name);
  const isAdded = ({ shiftKey, ctrlKey, metaKey }) => shiftKey || ctrlKey || metaKey;
  solo.addEventListener("click", (event) => act.solo(index, isAdded(event)));
  mute.addEventListener("click", () => act.mute(index, !channel.muted));
  volume.addEventListener("input", () => act.setVolume(index, Number(volume.value)));
  return {
    item,
    lane,
    update() {
      solo.setAttribute("aria-pressed", String(channel.soloed));
      mute.setAttribute("aria-pressed", String(channel.muted));
      volume.value = String(channel.volume);
      item.dataset.audible = String(channel.audible);
    },
    show(view) {
      const shown = channel.track[view] ? view : "spectrogram";
      const url = channel.track[shown];
      item.dataset.view = shown;
      picture.hidden = !url;
      axis.hidden = !url || shown === "excitation"; // whose rows are no frequencies
      if (url) picture.src = url;
      picture.alt = url ? `${VIEWS[shown]} of ${name}` : "";
    },
  };
}

/** Place frequencies, in Hz, in pictures of what has a sample rate: `share` 0 is at the bottom, 1 at the top. */
function frequencyMarks(sampleRate) {
  if (!sampleRate) return [];
  const highest = Math.min(HIGHEST_HZ, sampleRate / 2);
  const lowest = Math.min(LOWEST_HZ, highest / 8);
  return [1, 10, 100, 1000, 10000]
    .flatMap((decade) => [decade, 3 * decade])
    .map((hz) => ({ hz, share: Math.log(hz / lowest) / Math.log(highest / lowest) }))
    .filter(({ share }) => share > MARK_MARGIN && share < 1 - MARK_MARGIN);
}

/** Make the scale of frequencies beside a picture. */
function buildAxis(marks) {
  const labels = marks.map(({ hz, share }) => {
    const label = make("span", {}, [hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`]);
    label.style.bottom = `${100 * share}%`;
    return label;
  });
  return make("div", { class: "player-axis", "aria-hidden": "true" }, labels);
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

/** Make an element; functions among the attributes listen to events, and text goes in as text, never as markup. */
export function make(tag, attributes = {}, children = [], namespace = "http://www.w3.org/1999/xhtml") {
  const made = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Write seconds as 1:02.5, and from an hour on as 1:00:02.5. */
export function asClock(seconds, decimals = 1) {
  const rounded = Number(seconds.toFixed(decimals));
  const [hours, minutes] = [Math.floor(rounded / 3600), Math.floor(rounded / 60) % 60];
  const rest = (rounded % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
