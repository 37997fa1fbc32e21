"""What a network learns from: recordings turned into frames, some of them held out, all freed of their level."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sepdict._core.schema import printable
from sepdict.audio.offset import centered
from sepdict.audio.signal import Audio, resample
from sepdict.dictionaries.exemplars import encode_exemplars, exemplar_frames
from sepdict.errors import AudioError
from sepdict.spectral.stft import ULTRASOUND_HZ, StftConfig, audible, magnitude, spectral_shape, stft

LEAST_SOUND_S = 1.0  # seconds that are not silence; with less there is nothing to learn from or to validate on
SHORTEST_FRAME_S = (
    0.016  # seconds: what is remembered of shorter frames is no more of them, so that memories stay small
)
GLANCE = StftConfig(n_fft=1024, hop_length=512)  # to tell ultrasound by
RUMBLING_BINS = 2  # of that, which wind leaks into
MOST_HELD_OUT = 0.25  # where whole recordings would take more of the sound than this, the end of each is held out


@dataclass(frozen=True)
class FrameConfig:
    """How recordings are turned into frames.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    stft : StftConfig
    silence_db : float
        Frames this far below the recording's loudest are silence.
    n_gap_frames : int
        Silence after every channel, as long as the network looks back.
    """

    sample_rate: int
    stft: StftConfig
    silence_db: float
    n_gap_frames: int

    @property
    def frame_s(self) -> float:
        """Seconds from frame to frame."""
        return self.stft.hop_length / self.sample_rate


@dataclass(frozen=True)
class Sound:
    """One recording's frames: channel after channel, each followed by a gap."""

    magnitude: Tensor  # (n_bins, n_channels * n_channel_frames)
    sounding: Tensor  # (n_channels, n_channel_frames), False where silent
    held_out: Tensor  # (n_channel_frames,), True where kept for validation


@dataclass(frozen=True)
class Lesson:
    """All frames and what each counts; a frame of the training set counts nothing in validation, and the reverse."""

    shapes: Tensor  # (n_frames, n_bins)
    training_weights: Tensor  # (n_frames,)
    validation_weights: Tensor  # (n_frames,)


def stft_for(recordings: Sequence[Audio], sample_rate: int) -> StftConfig:
    """Choose how spectrograms of recordings are cut: by the rate, and shorter where most of the energy is ultrasound.

    Examples
    --------
    >>> stft_for([Audio(torch.randn(1, 38400), 384000)], 384000)
    StftConfig(n_fft=2048, hop_length=512, window='hann')
    """
    first = math.ceil(ULTRASOUND_HZ * GLANCE.n_fft / sample_rate)
    audible_energy = ultrasonic_energy = 0.0
    for recording in recordings if first < GLANCE.n_bins - 1 else ():
        heard = resample(centered(recording), sample_rate)
        energy = magnitude(stft(heard.samples, GLANCE)).square().sum(dim=(0, 2), dtype=torch.float64)  # (n_bins,)
        audible_energy += float(energy[RUMBLING_BINS:first].sum())
        ultrasonic_energy += float(energy[first:].sum())
    return StftConfig.for_sample_rate(sample_rate, ultrasonic=ultrasonic_energy > audible_energy)


def extract_frames(recording: Audio, frame_config: FrameConfig) -> Sound:
    """Turn a recording into frames and tell sound from silence; an offset and infrasound are left out."""
    heard = resample(centered(recording), frame_config.sample_rate)
    spectra = magnitude(stft(heard.samples, frame_config.stft))  # (n_channels, n_bins, n_frames)
    spectra = audible(spectra, frame_config.stft, frame_config.sample_rate)
    spectra = torch.nn.functional.pad(spectra, (0, frame_config.n_gap_frames))
    level = spectra.mean(dim=1)  # (n_channels, n_channel_frames)
    sounding = (level > 0) & (level >= level.max() * 10 ** (frame_config.silence_db / 20))
    return Sound(spectra.movedim(0, 1).flatten(1), sounding, torch.zeros_like(sounding[0]))


def refuse_too_little(sounds: Sequence[Sound], source: str, frame_config: FrameConfig) -> None:
    """Refuse silence, and less sound than there is anything to learn from.

    Raises
    ------
    AudioError
        If there is less than a second of it.
    """
    sound_s = sum(int(sound.sounding.sum()) for sound in sounds) * frame_config.frame_s
    if sound_s == 0:
        raise AudioError(f"the recordings of {source!r} are digital silence; expected the sound to learn")
    if sound_s < LEAST_SOUND_S:
        raise AudioError(
            f"the recordings of {source!r} hold {sound_s:.2f} s of sound; "
            f"expected {LEAST_SOUND_S:g} s at least; two or three minutes are better"
        )


def hold_out(sounds: Sequence[Sound], share: float, generator: torch.Generator) -> list[Sound]:
    """Keep whole recordings for validation, drawn at random until they make up the share.

    Where that would take too much, as with a few long recordings, the end of each is kept instead.
    """
    n_frames, chosen = [int(sound.sounding.sum()) for sound in sounds], list[int]()
    for index in torch.randperm(len(sounds), generator=generator).tolist():
        if sum(n_frames[i] for i in chosen) < share * sum(n_frames):
            chosen.append(index)
    if sum(n_frames[i] for i in chosen) <= MOST_HELD_OUT * sum(n_frames):
        whole = [replace(sound, held_out=torch.full_like(sound.held_out, True)) for sound in sounds]
        return [whole[i] if i in chosen else sound for i, sound in enumerate(sounds)]
    passed = [sound.sounding.sum(dim=0).cumsum(0) / max(n, 1) for sound, n in zip(sounds, n_frames, strict=True)]
    return [replace(sound, held_out=done > 1 - share) for sound, done in zip(sounds, passed, strict=True)]


def beginnings(recordings: Sequence[Audio], sounds: Sequence[Sound], frame_config: FrameConfig) -> list[Audio]:
    """Cut off of each recording what is held out; leave out what wholly is."""
    kept = []
    for recording, sound in zip(recordings, sounds, strict=True):
        n_kept_frames = int((~sound.held_out).sum())
        n_samples = round(n_kept_frames * frame_config.frame_s * recording.sample_rate)
        if n_kept_frames and sound.sounding.any():
            kept.append(replace(recording, samples=recording.samples[:, :n_samples]))
    return kept


def join(sounds: Sequence[Sound], level_exponent: float, device: torch.device) -> Lesson:
    """Collect all frames, free them of their level, and weigh them by it."""
    spectra = torch.cat([sound.magnitude for sound in sounds], dim=1)  # (n_bins, n_frames)
    sounding = torch.cat([sound.sounding.flatten() for sound in sounds])
    held_out = torch.cat([sound.held_out.repeat(len(sound.sounding)) for sound in sounds])
    weights = torch.where(sounding, spectra.mean(dim=0) ** level_exponent, 0)
    weights = weights / weights[sounding].mean()
    parts = spectral_shape(spectra).T.contiguous(), weights * ~held_out, weights * held_out
    return Lesson(*(part.to(device) for part in parts))


def batches(weights: Tensor, n_patch: int, n_batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Draw frames without end: pass after pass in random order, cut into pieces at other places each time.

    Parameters
    ----------
    weights : Tensor, shape (n_frames,)
    n_patch : int
        Frames of a piece.
    n_batch : int
        Frames of a batch; 0 for all of them.
    """
    while True:
        first = int(torch.randint(n_patch, (1,), generator=generator))
        frames = patches(weights, n_patch, first=first)
        order = torch.randperm(len(frames), generator=generator).to(frames.device)
        yield from frames[order].split(max(1, n_batch // frames.shape[1]) if n_batch else max(1, len(frames)))


def patches(weights: Tensor, n_patch: int, *, first: int) -> Tensor:
    """Number the frames in pieces, shape (n_patches, n_patch), that hold something that counts.

    No frame is left out: the first piece and the last overlap their neighbors where the frames do not divide evenly.
    """
    n_patch = min(n_patch, len(weights))
    starts = torch.arange(-(first % n_patch), len(weights), n_patch, device=weights.device)
    frames = starts.clamp(0, len(weights) - n_patch)[:, None] + torch.arange(n_patch, device=weights.device)
    return frames[(weights[frames] > 0).any(dim=1)]


def exemplars_of(sounds: Sequence[Sound], frame_config: FrameConfig, exemplars_s: float) -> tuple[Tensor, int]:
    """Remember what sounded, held-out sound last, and how many frames of the memory were held out."""

    def heard(held_out: bool) -> Tensor:
        chosen = [(sound.sounding & (sound.held_out == held_out)).flatten() for sound in sounds]
        return torch.cat([sound.magnitude[:, frames] for sound, frames in zip(sounds, chosen, strict=True)], dim=1)

    learned, held_out = heard(False), heard(True)
    n_most_frames, n_frames = (
        int(exemplars_s / max(frame_config.frame_s, SHORTEST_FRAME_S)),
        learned.shape[1] + held_out.shape[1],
    )
    memory = encode_exemplars(torch.cat([learned, held_out], dim=1), n_most_frames=n_most_frames)
    remembered = exemplar_frames(n_frames, n_most_frames=n_most_frames)
    return memory, int((remembered >= learned.shape[1]).sum())


def facts(recording: Audio, sound: Sound, frame_config: FrameConfig) -> dict[str, Any]:
    """What a dictionary's card says of one recording."""
    frame_s = frame_config.frame_s / recording.n_channels
    sound_s, held_out_s = (float(x.sum()) * frame_s for x in (sound.sounding, sound.sounding & sound.held_out))
    return {
        "name": printable(recording.name),
        "duration_s": round(recording.duration_s, 3),
        "silence_s": round(max(recording.duration_s - sound_s, 0.0), 3),
        "held_out_s": round(min(held_out_s, recording.duration_s), 3),
        "level_db": round(recording.level_db, 2) if math.isfinite(recording.level_db) else None,
        "sample_rate": recording.sample_rate,
        "n_channels": recording.n_channels,
        "sha256": recording.sha256,
    }
