/** The mix as it is heard, as a file. */

import { make } from "./player-dom.js";

const N_BYTES = 3; // of a sample: 24 bits
const FULL_SCALE = 2 ** (8 * N_BYTES - 1) - 1;
const HEADER_BYTES = 44;
const KEPT_MS = 60_000; // of a file that is being saved: not every browser reads it at once

/**
 * Mix the tracks of rows to a WAV file, and make it softer if it would clip.
 *
 * @param {Rows} rows are read one after the other, and again where the mix is made softer
 * @param {number[]} levels of the tracks, not all 0
 * @param {{signal: AbortSignal, onShare: (share: number) => void}} options what ends it, and who hears how far it is
 * @returns {Promise<{file: Blob, softer_db: number}>} by how much it was made softer
 */
export async function mixDown(rows, levels, options) {
  const { file, peak } = await mixOnce(rows, levels, 1, options);
  if (peak <= 1) return { file, softer_db: 0 };
  return { file: (await mixOnce(rows, levels, 1 / peak, options)).file, softer_db: 20 * Math.log10(peak) };
}

/** Mix to a file with a gain, and measure the peak without it; the file is of use where it does not clip. */
async function mixOnce(rows, levels, gain, { signal, onShare }) {
  const parts = [];
  let [peak, nChannels, nFrames] = [0, 1, 0];
  for (let index = 0; index < rows.count; index++) {
    const mix = mixOf(await rows.read(index, signal), levels);
    signal.throwIfAborted();
    peak = mix.reduce((most, each) => each.reduce((high, sample) => Math.max(high, Math.abs(sample)), most), peak);
    parts.push(new Blob([asBytes(mix, gain)])); // where it need not be in memory
    nChannels = mix.length;
    nFrames += mix[0].length;
    onShare((index + 1) / rows.count);
  }
  const header = headerOf(nChannels, rows.context.sampleRate, nChannels * nFrames * N_BYTES);
  return { file: new Blob([header, ...parts], { type: "audio/wav" }), peak };
}

/** Add up buffers at their levels: one array of samples for each channel. */
function mixOf(buffers, levels) {
  const heard = buffers.map((buffer, index) => ({ buffer, level: levels[index] })).filter(({ level }) => level > 0);
  const nChannels = Math.max(...heard.map(({ buffer }) => buffer.numberOfChannels));
  return Array.from({ length: nChannels }, (_, channel) => {
    const sum = new Float32Array(buffers[0].length);
    for (const { buffer, level } of heard) {
      const samples = buffer.getChannelData(channel % buffer.numberOfChannels);
      for (let index = 0; index < sum.length; index++) sum[index] += level * samples[index];
    }
    return sum;
  });
}

/** Have the browser save a file. */
export function save(file, name) {
  const url = URL.createObjectURL(file);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}

/** Write samples, one array for each channel and 1 at full scale, with a gain as those of a WAV file. */
function asBytes(samples, gain) {
  const [nChannels, length] = [samples.length, samples[0].length];
  const bytes = new Uint8Array(nChannels * length * N_BYTES);
  for (const [channel, each] of samples.entries()) {
    let at = channel * N_BYTES;
    for (let index = 0; index < length; index++, at += nChannels * N_BYTES) {
      const value = Math.round(gain * each[index] * FULL_SCALE);
      bytes[at] = value; // the lowest bits of it
      bytes[at + 1] = value >> 8;
      bytes[at + 2] = value >> 16;
    }
  }
  return bytes;
}

function headerOf(nChannels, sampleRate, nBytes) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const write = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + nBytes, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, nChannels, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * nChannels * N_BYTES, true);
  view.setUint16(32, nChannels * N_BYTES, true);
  view.setUint16(34, 8 * N_BYTES, true);
  write(36, "data");
  view.setUint32(40, nBytes, true);
  return view;
}
