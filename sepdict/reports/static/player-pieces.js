/**
 * The sounds of a player in pieces, as long as they are needed.
 *
 * A row is what all tracks have in one stretch of time; rows are loaded as a whole, so that no track can be late. Where
 * sounds are only to be had whole, they are one row.
 */

const ROW_BYTES = 2 ** 20; // decoded: no sound begins before its row is there
const LONGEST_ROW_S = 4;
const SHORTEST_ROW_S = 0.25; // also where tracks are many, or have many channels
const KEPT_BYTES = 2 ** 26; // of the rows that were used last
const SAMPLE_BYTES = 4;
const N_AHEAD = 8; // rows that are loaded before they are played

/** The rows of tracks; all frames are those of an audio context. */
export class Rows {
  /**
   * @param {BaseAudioContext} context
   * @param {{name: string, url: string}[]} tracks
   * @param {number} sampleRate of their files, in Hz
   * @param {{n_samples: number, n_channels: number}} [pieces] of every file, if `url?start=…&stop=…` is a part of it
   * @param {{onReady: () => void, onError: (error: Error) => void}} hear what became of rows that were wanted
   */
  constructor(context, tracks, sampleRate, pieces, hear) {
    Object.assign(this, { context, tracks, pieces, hear });
    this.scale = pieces ? context.sampleRate / sampleRate : 1; // not every browser takes every rate
    this.nFrames = pieces ? Math.round(pieces.n_samples * this.scale) : Infinity; // until they are there
    const frameBytes = pieces ? pieces.n_channels * tracks.length * SAMPLE_BYTES : 0;
    const [shortest, longest] = [SHORTEST_ROW_S, LONGEST_ROW_S].map((seconds) => seconds * context.sampleRate);
    const fitting = Math.min(longest, Math.max(shortest, ROW_BYTES / frameBytes));
    this.length = pieces ? Math.round(fitting) : Number.MAX_SAFE_INTEGER; // frames of a row
    this.ahead = N_AHEAD * this.length;
    this.nKept = Math.max(N_AHEAD + 2, Math.floor(KEPT_BYTES / (this.length * frameBytes)));
    this.kept = new Map(); // their buffers, one for each track, by their numbers, those last that were used last
    this.wanted = null; // the number of the row that is on its way, and how to stop it
  }

  get count() {
    return this.pieces ? Math.ceil(this.nFrames / this.length) : 1;
  }

  at(frame) {
    return Math.floor(frame / this.length);
  }

  /** Find a row that is not there and has frames from one to before another; -1 where all are. */
  missing(from, to) {
    for (let index = this.at(from); index <= this.at(to - 1); index++) if (!this.kept.has(index)) return index;
    return -1;
  }

  /** Return buffers that have some frames, no more than a row has, of all tracks, and the frame that they begin with. */
  cut(from, to) {
    const [first, last] = [this.at(from), this.at(to - 1)];
    const [buffers, more] = [this.take(first), this.take(last)];
    if (first === last) return { buffers, start: first * this.length };
    const seam = last * this.length;
    const join = (buffer, track) =>
      laid(to - from, [buffer, from - first * this.length, seam - from], [more[track], 0, to - seam]);
    return { buffers: buffers.map(join), start: from };
  }

  /** Have a row loaded, in the place of another that is on its way. */
  want(index) {
    if (this.wanted?.index === index) return;
    this.forgo();
    const wanted = { index, stop: new AbortController() };
    const isWanted = () => this.wanted === wanted && (this.wanted = null) === null;
    this.wanted = wanted;
    this.read(index, wanted.stop.signal).then(
      () => isWanted() && this.hear.onReady(),
      (error) => isWanted() && this.hear.onError(error),
    );
  }

  forgo() {
    this.wanted?.stop.abort();
    this.wanted = null;
  }

  /** Return the buffers of a row, of every track one, which may have to be loaded. */
  async read(index, signal) {
    if (this.kept.has(index)) return this.take(index);
    const load = (track) => decoded(this.context, track.name, this.urlOf(track, index), signal);
    const buffers = await Promise.all(this.tracks.map(load));
    const length = Math.max(...buffers.map((buffer) => buffer.length));
    if (!this.pieces) this.nFrames = length;
    const isWhole = (buffer) => buffer.length === length; // one that is not would begin a loop anew before the others
    const row = buffers.map((buffer) => (isWhole(buffer) ? buffer : laid(length, [buffer, 0, buffer.length])));
    this.kept.set(index, row);
    for (const oldest of this.kept.keys()) if (this.kept.size > this.nKept) this.kept.delete(oldest);
    return row;
  }

  /** Return the buffers of a row that is there, and let it be the one that was used last. */
  take(index) {
    const row = this.kept.get(index);
    this.kept.delete(index);
    this.kept.set(index, row);
    return row;
  }

  urlOf(track, index) {
    if (!this.pieces) return track.url;
    const [start, stop] = [index, index + 1].map((row) => Math.round((row * this.length) / this.scale));
    return `${track.url}?start=${start}&stop=${Math.min(stop, this.pieces.n_samples)}`;
  }
}

/** Lay spans of buffers, each `[buffer, first frame, number of frames]`, one after the other; silence fills the rest. */
function laid(length, ...spans) {
  const [[{ numberOfChannels, sampleRate }]] = spans;
  const whole = new AudioBuffer({ numberOfChannels, sampleRate, length });
  for (let channel = 0; channel < numberOfChannels; channel++) {
    let at = 0;
    for (const [buffer, from, n] of spans) {
      whole.copyToChannel(buffer.getChannelData(channel).subarray(from, from + n), channel, at);
      at += n;
    }
  }
  return whole;
}

async function decoded(context, name, url, signal) {
  try {
    return await context.decodeAudioData(await bytesOf(url, signal));
  } catch (error) {
    throw new Error(`${name} cannot be loaded (${error.message || error.name})`, { cause: error });
  }
}

/** Fetch a sound; data: URLs are taken apart here, for not every page may fetch them. */
async function bytesOf(url, signal) {
  if (url.startsWith("data:")) {
    const text = atob(url.slice(url.indexOf(",") + 1));
    return Uint8Array.from(text, (character) => character.charCodeAt(0)).buffer;
  }
  const answer = await fetch(url, { signal });
  if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}
