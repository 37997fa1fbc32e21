/** The sounds of a player, on one clock. */

import { Rows } from "./player-pieces.js";

const START_DELAY_S = 0.03; // so far ahead sources are scheduled, that all of them start at once
const ENOUGH_S = 0.5; // that must be there before it sounds, so that the rest has time to come
const RETRY_MS = 1000;
const FADE_S = 0.015; // of solo, mute and volume, that nothing clicks
const MOST_MEASURED = 3e5; // samples of a channel, for loudness
const WINDOW = 2048; // samples of a track that a look at its peak reaches back to
const MASTER_WINDOW = 8192; // also where few looks are taken, no peak is missed

/**
 * All tracks on the clock of one audio context. Their rows are scheduled at exact frames of it, one behind the other, as
 * they come; where one is late, the clock stands until it is there.
 */
export class Sound {
  /**
   * @param {object[]} channels with their `track` and `level`
   * @param {object} options as the player has them
   * @param {(state: "loading"|"playing"|"error", message?: string) => void} onState
   */
  constructor(channels, { sampleRate, pieces, products }, onState) {
    Object.assign(this, { channels, sampleRate, pieces, products, onState });
    this.context = null; // made when first needed: browsers want a user's gesture before it
    this.rows = null;
    this.master = null; // where all tracks meet
    this.masterLevel = 1;
    this.ears = []; // on the channels of the master: one on both would hear their mean
    this.active = false; // whether it is to be heard
    this.playing = false; // whether it is, and the clock runs
    this.turn = 0; // how often it was stopped
    this.startedAt = 0; // on the context's clock, when time was zero
    this.offset = 0; // seconds, where it was started: until that is heard, time stands
    this.loop = null; // what is played again and again, from and to frames
    this.next = 0; // the frame that is to be scheduled next, null where there is none
    this.until = 0; // the frame of the context's clock at which that one is to sound
    this.sources = new Set(); // what is scheduled
  }

  get time() {
    if (!this.playing) return this.offset;
    const latency = this.context.outputLatency || 0; // what is computed now is heard so much later
    const time = Math.max(this.offset, this.context.currentTime - latency - this.startedAt);
    if (!this.loop) return time;
    const [from, to] = this.loop.map((frame) => frame / this.context.sampleRate);
    return time < to ? time : from + ((time - from) % (to - from));
  }

  /** Make the clock, unless there is one, and wake it, which the user's gesture allows. */
  async wake() {
    this.context ??= openContext(this.sampleRate);
    await this.context.resume();
    if (this.rows || this.context.state === "closed") return;
    this.master = this.openMaster();
    for (const channel of this.channels) {
      channel.gain = this.context.createGain();
      channel.gain.connect(this.master);
      channel.ear = new Ear(this.context, channel.gain, WINDOW);
    }
    const hear = { onReady: () => this.fill(), onError: (error) => this.fail(error) };
    const tracks = this.channels.map(({ track }) => track);
    this.rows = new Rows(this.context, tracks, this.sampleRate, this.pieces, hear);
  }

  /** Find how loud sums of tracks are. */
  async measure() {
    await this.wake();
    this.products ??= productsOf(await this.rows.read(0));
  }

  openMaster() {
    const master = this.context.createGain();
    master.gain.value = this.masterLevel;
    master.connect(this.context.destination);
    const splitter = this.context.createChannelSplitter(2);
    master.connect(splitter);
    this.ears = [0, 1].map((channel) => new Ear(this.context, splitter, MASTER_WINDOW, channel));
    return master;
  }

  /** Measure how high peaks have just been, in all tracks and in the master; 1 is full scale. */
  peaks() {
    const peakOf = (ear) => (this.playing && ear ? ear.peak() : 0);
    return { tracks: this.channels.map(({ ear }) => peakOf(ear)), master: Math.max(0, ...this.ears.map(peakOf)) };
  }

  /** Play from a time on, as soon as that is there; a loop that is not over then is played again and again. */
  async start(offset, loop = null) {
    this.stop();
    this.active = true;
    this.offset = offset;
    const { turn } = this;
    if (this.context?.state !== "running" || !this.rows) {
      this.onState("loading");
      await this.wake().catch((error) => turn === this.turn && this.fail(error));
    }
    if (turn !== this.turn) return; // thought better of it meanwhile
    const asFrame = (seconds) => Math.round(seconds * this.context.sampleRate);
    this.loop = loop && offset < loop[1] ? loop.map(asFrame) : null;
    this.next = asFrame(offset);
    this.fill();
  }

  stop() {
    for (const source of this.sources) {
      source.stop();
      source.disconnect();
    }
    this.sources.clear();
    this.rows?.forgo();
    this.active = this.playing = false;
    this.turn += 1;
  }

  /** Schedule what comes next as far as it is there, and have loaded what is not. */
  fill() {
    if (!this.active || (this.playing && this.next === null)) return;
    const { rows, context } = this;
    const now = Math.ceil((context.currentTime + START_DELAY_S) * context.sampleRate);
    if (this.playing && this.until < now) {
      this.playing = false; // it is late: what comes now cannot join what has sounded
      this.offset = this.next / context.sampleRate;
    }
    const begin = this.playing ? this.until : now;
    const spans = [];
    let [frame, end, missing] = [this.next, begin, -1];
    while (frame !== null && end < now + rows.ahead) {
      const span = this.spanAt(frame);
      if (!span) frame = null;
      else if ((missing = rows.missing(span.from, span.to)) >= 0) break;
      else {
        spans.push({ ...span, frame, when: end });
        end += span.isEndless ? Infinity : span.to - frame;
        frame = span.isEndless ? null : this.loop?.[1] === span.to ? this.loop[0] : span.to;
      }
    }
    if (missing >= 0) rows.want(missing);
    if (!this.playing && missing >= 0 && end - begin < ENOUGH_S * context.sampleRate) return this.onState("loading");
    if (!this.playing) this.begin(begin);
    for (const span of spans) this.schedule(span);
    Object.assign(this, { next: frame, until: end });
  }

  /** Find what can be played in one go from a frame on: it has no more frames than a row; null at the end. */
  spanAt(frame) {
    const { length, nFrames } = this.rows;
    const [first, last] = this.loop ?? [nFrames, nFrames];
    const isShort = last - first <= length;
    if (this.loop && isShort && frame >= first) return { from: first, to: last, isEndless: true };
    const end = Math.min(nFrames, this.loop && isShort ? first : last);
    const to = Math.min(end, (this.rows.at(frame) + 1) * length);
    return frame < to ? { from: frame, to } : null;
  }

  /** Let the clock run, so that what comes next sounds at a frame of the context. */
  begin(when) {
    const { sampleRate } = this.context;
    this.startedAt = when / sampleRate - this.offset;
    this.playing = true;
    this.products ??= productsOf(this.rows.take(0));
    this.onState("playing");
    this.setLevels(0);
  }

  schedule({ from, to, frame, when, isEndless = false }) {
    const rate = this.context.sampleRate;
    const { buffers, start } = this.rows.cut(from, to);
    const [loopStart, loopEnd] = [from, to].map((each) => (each - start) / rate);
    for (const [index, buffer] of buffers.entries()) {
      const source = new AudioBufferSourceNode(this.context, { buffer, loop: isEndless, loopStart, loopEnd });
      source.connect(this.channels[index].gain);
      source.start(when / rate, (frame - start) / rate, ...(isEndless ? [] : [(to - frame) / rate]));
      this.sources.add(source);
      source.addEventListener("ended", () => {
        this.sources.delete(source);
        this.fill(); // no timer is as punctual on a page that is not seen
      });
    }
  }

  /** Say what could not be loaded; as long as there is more to hear, ask again. */
  fail(error) {
    if (!this.active) return;
    if (this.playing) {
      setTimeout(() => this.fill(), RETRY_MS);
      return;
    }
    this.stop();
    this.onState("error", error.message);
  }

  setLevels(fade = FADE_S) {
    const nodes = this.channels.map(({ gain, level }) => [gain, level]);
    for (const [node, level] of [...nodes, [this.master, this.masterLevel]]) {
      if (!node) continue;
      if (fade > 0) node.gain.setTargetAtTime(level, this.context.currentTime, fade);
      else node.gain.setValueAtTime(level, this.context.currentTime);
    }
  }

  close() {
    this.stop();
    this.context?.close();
  }
}

/** Hears the peaks of what a node puts out. */
class Ear {
  constructor(context, node, size, output = 0) {
    this.analyser = context.createAnalyser();
    this.analyser.fftSize = size;
    this.samples = new Float32Array(size);
    node.connect(this.analyser, output);
  }

  peak() {
    this.analyser.getFloatTimeDomainData(this.samples);
    return this.samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  }
}

/** Find the level at which one track is as loud as the sum of all at their levels, by their products. */
export function levelLike(products, levels, index) {
  const powers = products.flatMap((row, one) => row.map((product, other) => levels[one] * levels[other] * product));
  const power = powers.reduce((sum, each) => sum + each, 0);
  return Math.sqrt(Math.max(0, power) / (products[index][index] || 1));
}

/** Compute the inner products of all buffers with each other, of long ones of a part of their samples. */
function productsOf(buffers) {
  const stride = Math.ceil(buffers[0].length / MOST_MEASURED);
  const nChannels = Math.max(...buffers.map(({ numberOfChannels }) => numberOfChannels));
  const product = (one, other) => {
    let sum = 0;
    for (let channel = 0; channel < nChannels; channel++) {
      const [left, right] = [one, other].map((buffer) => buffer.getChannelData(channel % buffer.numberOfChannels));
      for (let index = 0; index < left.length; index += stride) sum += left[index] * right[index];
    }
    return sum;
  };
  return buffers.map((one) => buffers.map((other) => product(one, other)));
}

function openContext(sampleRate) {
  try {
    return new AudioContext(sampleRate ? { sampleRate } : {});
  } catch {
    return new AudioContext(); // not every browser takes every rate
  }
}
