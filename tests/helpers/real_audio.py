"""Real sound for tests: the solos that come with the project and, where SEPDICT_AUDIO names a folder, those in it."""

import functools
import os
from dataclasses import replace
from pathlib import Path

import torch

from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio, resample
from sepdict.spectral.stft import StftConfig
from sepdict.training.data import FrameConfig, TrainingSet, build_training_set, extract_frames

RATE = 8000
SMALL = StftConfig(n_fft=256, hop_length=128)
SOLOS = Path(__file__).parents[2] / "data" / "solos"
SOUNDS = {name: next(iter(sorted((SOLOS / name).glob("*.flac")))) for name in ("piano", "speech", "violin")}
if "SEPDICT_AUDIO" in os.environ:
    for folder in sorted(Path(os.environ["SEPDICT_AUDIO"]).glob("*/*/train")):
        if folder.parent.parent.name in ("music", "speech"):  # others are mostly silence, or seconds long
            SOUNDS |= {folder.parent.name: next(iter(sorted(folder.glob("*.flac"))))}


@functools.cache
def solo(name: str, start_s: float = 0.0, duration_s: float = 4.0) -> Audio:
    """Some seconds of a sound's first recording, at 8 kHz; fewer where it is shorter."""
    audio = read_audio(SOUNDS[name])
    first, last = (round(time_s * audio.sample_rate) for time_s in (start_s, start_s + duration_s))
    return resample(replace(audio, samples=audio.samples[:, first:last]), RATE)


def shapes(name: str, start_s: float = 0.0, duration_s: float = 4.0) -> torch.Tensor:
    """Spectral shapes (n_bins, n_frames) of a solo, silence left out."""
    training_set = training_set_of(solo(name, start_s, duration_s))
    return training_set.shapes[training_set.training_weights > 0].T


def training_set_of(audio: Audio) -> TrainingSet:
    """All frames of a recording, each counting alike, none held out."""
    return build_training_set([extract_frames(audio, FrameConfig(RATE, SMALL, -60.0, 0))], 0.0, torch.device("cpu"))
