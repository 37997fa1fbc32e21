"""Take a voice out of its music: get the voice alone, and music that is ducked wherever somebody speaks.

Run it with ``uv run python docs/tutorials/podcaster.py OUT``.
The folder OUT gets the voice, the ducked bed, and both in one.
"""

# %% The settings
# In a notebook, put your own two folders here.
import math
import sys
from pathlib import Path

import torch
from torch.nn.functional import avg_pool1d, interpolate, max_pool1d

from sepdict import Audio, read_audio, separate, write_audio

DATA = Path(__file__).parents[2] / "data"
OUT = Path(*sys.argv[1:2] or ["podcaster"])

DUCK_DB = 12.0  # how far the music goes down under speech
SPEAKING_DB = -15.0  # somebody speaks where the voice is louder than this, relative to its mean level
STEP_S = 0.02  # length of the steps in which the voice's level is measured
HOLD_S = 0.4  # how long before a word the music is down, and how long after it
FADE_S = 0.2  # how long going down takes
CEILING_DB = -1.0  # no sample is louder: room for the codecs that come after

# %% An episode
# This is the demo's narration, in which a violin plays under a reading voice, with three seconds of violin before and
# after it as a jingle. For your own, use `episode = read_audio("episode.wav")`.
narration, jingle = read_audio(DATA / "narration.flac"), read_audio(DATA / "duet_references" / "violin.flac")
n_jingle = 3 * narration.sample_rate
fade = torch.linspace(0, 20, n_jingle).clamp(max=1)  # over a twentieth of it
opening, closing = jingle.samples[:, :n_jingle] * fade.flip(0), jingle.samples[:, -n_jingle:] * fade
samples = torch.cat([opening, narration.samples, closing], dim=1)
episode = Audio(samples, narration.sample_rate, "episode")

# %% Voice and music
# Train a dictionary of the speaker, from a few minutes without music, and one of the music or the noise. The first
# time, a network learns to tell the two apart, which takes a minute or two; the result is kept.
#
# `separate` holds what it returns in memory: 1.3 GB per stem for an hour of stereo at 44.1 kHz. For long episodes use
# `sepdict separate episode.wav -d speaker.safetensors -d music.safetensors`, or `separate_folder` in Python. They read,
# separate and write a minute at a time (`--segment`, `segment_s`), so three hours take hardly more memory than ten
# minutes.
print(f"separating {episode.duration_s:.1f} s ...")
separation = separate(episode, [DATA / "speech.safetensors", DATA / "violin.safetensors"])
voice, music = separation["speech"], separation["violin"]

# %% Duck the music
# Unlike a compressor, this code knows what comes: the music is down before the first word, stays down through short
# pauses, and is back at full level where nobody speaks.
n_step = round(STEP_S * voice.sample_rate)
power = avg_pool1d(voice.samples.square().mean(dim=0, keepdim=True), n_step, ceil_mode=True)  # (1, n_steps)
speaking = (power > 10 ** ((voice.level_db + SPEAKING_DB) / 10)).float()
n_hold, n_fade = round(HOLD_S / STEP_S), round(FADE_S / STEP_S / 2)
held = max_pool1d(speaking, 2 * n_hold + 1, stride=1, padding=n_hold)
ducked = avg_pool1d(held, 2 * n_fade + 1, stride=1, padding=n_fade, count_include_pad=False)  # 0 to 1
ducked = interpolate(ducked[None], scale_factor=n_step, mode="linear")[0, :, : voice.n_samples]  # (1, n_samples)
bed = music.samples * 10 ** (-DUCK_DB * ducked / 20)
print(f"music ducked for {float(ducked.mean()) * episode.duration_s:.1f} s of {episode.duration_s:.1f} s")

# %% As loud as before, and never clipping
# All three get one gain, so that voice and bed still sum to the mix. It makes the mix as loud as the episode was, or
# softer where a peak would pass the ceiling. Loudness here is the RMS; for broadcasters' LUFS use a loudness meter.
mix = voice.samples + bed
parts = {"voice": voice.samples, "bed": bed, "mix": mix}
peak_db = 20 * math.log10(max(float(part.abs().max()) for part in parts.values()))
gain_db = min(episode.level_db - Audio(mix, episode.sample_rate).level_db, CEILING_DB - peak_db)
OUT.mkdir(parents=True, exist_ok=True)
for name, part in parts.items():
    audio = Audio(part * 10 ** (gain_db / 20), episode.sample_rate)
    print(f"wrote {write_audio(OUT / f'{name}.flac', audio)}: {audio.level_db:.1f} dB")  # FLAC of 24 bits
print(f"gain of all three: {gain_db:+.1f} dB; the episode was at {episode.level_db:.1f} dB")
