/** The sounds of a player: decoded, and played on one clock. */

const START_DELAY_S = 0.03; // so far ahead sources are scheduled, that all of them start at once
const FADE_S = 0.015; // of solo, mute and volume, that nothing clicks
const MOST_MEASURED = 3e5; // samples of a channel, for loudness
const WINDOW = 2048; // samples of a track that a look at its peak reaches back to
const MASTER_WINDOW = 8192; // also where few looks are taken, no peak is missed

/** All tracks decoded, on the clock of one audio context. */
export class Sound {
  constructor(channels, sampleRate) {
    this.channels = channels;
    this.sampleRate = sampleRate;
    this.context = null; // made when first needed: browsers want a user's gesture before it
    this.loading = null; // until all sounds are decoded
    this.master = null; // where all tracks meet
    this.masterLevel = 1;
    this.ears = []; // on the channels of the master: one on both would hear their mean
    this.playing = false;
    this.startedAt = 0; // on the context's clock, when time was zero
    this.offset = 0; // where it was started: until that is heard, time stands
    this.loop = null; // what is played again and again, from and to seconds
  }

  get time() {
    const latency = this.context.outputLatency || 0; // what is computed now is heard so much later
    const time = Math.max(this.offset, this.context.currentTime - latency - this.startedAt);
    if (!this.loop || time < this.loop[1]) return time;
    const [from, to] = this.loop;
    return from + ((time - from) % (to - from));
  }

  /** Decode all sounds, unless that was done, and wake the clock, which the user's gesture allows. */
  async load() {
    this.context ??= openContext(this.sampleRate);
    await this.context.resume();
    this.loading ??= this.decodeAll();
    try {
      await this.loading;
    } catch (error) {
      this.loading = null; // the next time may be better
      throw error;
    }
  }

  async decodeAll() {
    this.master ??= this.openMaster();
    await Promise.all(
      this.channels.map(async (channel) => {
        channel.buffer ??= await decoded(this.context, channel.track);
        if (channel.gain) return;
        channel.gain = this.context.createGain();
        channel.gain.connect(this.master);
        channel.ear = new Ear(this.context, channel.gain, WINDOW);
      }),
    );
    const length = Math.max(...this.channels.map(({ buffer }) => buffer.length));
    for (const channel of this.channels) channel.buffer = lengthened(channel.buffer, length);
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

  /** Play from a time on; a loop that is not over then is played again and again. */
  start(offset, loop = null) {
    this.stop();
    this.setLevels(0);
    this.loop = loop && offset < loop[1] ? loop : null;
    const when = this.context.currentTime + START_DELAY_S;
    for (const channel of this.channels) {
      if (offset >= channel.buffer.duration) continue;
      channel.source = this.context.createBufferSource();
      channel.source.buffer = channel.buffer;
      if (this.loop) {
        const [loopStart, loopEnd] = this.loop;
        Object.assign(channel.source, { loop: true, loopStart, loopEnd });
      }
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

/** Find the level at which the mixture is as loud as the sum of stems, `[{buffer, level}, …]`, is. */
export function levelLike(stems, mixture) {
  if (!mixture.buffer) return mixture.level; // it is not known yet
  return loudness(stems) / (loudness([{ buffer: mixture.buffer, level: 1 }]) || 1);
}

/** Compute the root mean square of a sum over all channels, of long sounds from a part of their samples. */
function loudness(parts) {
  const length = Math.max(...parts.map(({ buffer }) => buffer.length));
  const nChannels = Math.max(...parts.map(({ buffer }) => buffer.numberOfChannels));
  const stride = Math.ceil(length / MOST_MEASURED);
  let power = 0;
  for (let channel = 0; channel < nChannels; channel++) {
    const sum = new Float64Array(Math.ceil(length / stride));
    for (const { buffer, level } of parts) {
      const samples = buffer.getChannelData(channel % buffer.numberOfChannels);
      for (let index = 0; index * stride < samples.length; index++) sum[index] += level * samples[index * stride];
    }
    power += sum.reduce((total, sample) => total + sample ** 2, 0) / (sum.length || 1);
  }
  return Math.sqrt(power / nChannels);
}

/** Add silence to a shorter sound, which would begin a loop anew before the others. */
function lengthened(buffer, length) {
  if (buffer.length === length) return buffer;
  const { numberOfChannels, sampleRate } = buffer;
  const longer = new AudioBuffer({ numberOfChannels, sampleRate, length });
  for (let index = 0; index < numberOfChannels; index++) longer.copyToChannel(buffer.getChannelData(index), index);
  return longer;
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
