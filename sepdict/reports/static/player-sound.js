/** The sounds of a player: decoded, and played on one clock. */

const START_DELAY_S = 0.03; // so far ahead sources are scheduled, that all of them start at once
const FADE_S = 0.015; // of solo, mute and volume, that nothing clicks
const MOST_MEASURED = 1e6; // samples of a channel, for its loudness

const known = new WeakMap(); // how loud sounds are

/** All tracks decoded, on the clock of one audio context. */
export class Sound {
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
export function levelLike(stems, mixture) {
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
