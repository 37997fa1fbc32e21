/** The mix as it is heard, as a file. */

import { make } from "./player-dom.js";

const N_BYTES = 3; // of a sample: 24 bits
const FULL_SCALE = 2 ** (8 * N_BYTES - 1) - 1;
const HEADER_BYTES = 44;
const KEPT_MS = 60_000; // of a file that is being saved: not every browser reads it at once

/**
 * Mix sounds to a WAV file, and make it softer if it would clip.
 *
 * @param {{buffer: AudioBuffer, level: number}[]} parts at least one
 * @returns {Promise<{file: Blob, softer_db: number}>} by how much it was made softer
 */
export async function mixDown(parts) {
  const length = Math.max(...parts.map(({ buffer }) => buffer.length));
  const nChannels = Math.max(...parts.map(({ buffer }) => buffer.numberOfChannels));
  const context = new OfflineAudioContext(nChannels, length, parts[0].buffer.sampleRate);
  for (const { buffer, level } of parts) {
    const source = new AudioBufferSourceNode(context, { buffer });
    source.connect(new GainNode(context, { gain: level })).connect(context.destination);
    source.start();
  }
  const mix = await context.startRendering();
  const samples = Array.from({ length: nChannels }, (_, channel) => mix.getChannelData(channel));
  const peak = samples.reduce((most, each) => each.reduce((high, sample) => Math.max(high, Math.abs(sample)), most), 0);
  const excess = Math.max(1, peak);
  return { file: asWav(samples, mix.sampleRate, 1 / excess), softer_db: 20 * Math.log10(excess) };
}

/** Have the browser save a file. */
export function save(file, name) {
  const url = URL.createObjectURL(file);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), KEPT_MS);
}

/** Write samples, one array for each channel and 1 at full scale, as a WAV file. */
function asWav(samples, sampleRate, gain) {
  const [nChannels, length] = [samples.length, samples[0].length];
  const bytes = new Uint8Array(HEADER_BYTES + nChannels * length * N_BYTES);
  writeHeader(new DataView(bytes.buffer), nChannels, sampleRate);
  for (const [channel, each] of samples.entries()) {
    let at = HEADER_BYTES + channel * N_BYTES;
    for (let index = 0; index < length; index++, at += nChannels * N_BYTES) {
      const value = Math.round(gain * each[index] * FULL_SCALE);
      bytes[at] = value; // the lowest bits of it
      bytes[at + 1] = value >> 8;
      bytes[at + 2] = value >> 16;
    }
  }
  return new Blob([bytes], { type: "audio/wav" });
}

function writeHeader(view, nChannels, sampleRate) {
  const write = (at, text) => [...text].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  write(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, nChannels, true);
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, sampleRate * nChannels * N_BYTES, true);
  view.setUint16(32, nChannels * N_BYTES, true);
  view.setUint16(34, 8 * N_BYTES, true);
  write(36, "data");
  view.setUint32(40, view.byteLength - HEADER_BYTES, true);
}
