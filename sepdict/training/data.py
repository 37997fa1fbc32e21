"""Training data: recordings turned into frames, some held out for validation, and the batches made of them."""

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
SHORTEST_FRAME_S = 0.016  # shorter frames count as this long where exemplars are limited in seconds
ULTRASOUND_STFT = StftConfig(n_fft=1024, hop_length=512)  # to detect ultrasound with
N_RUMBLE_BINS = 2  # of these, the lowest, into which wind leaks
MOST_HELD_OUT = 0.25  # where whole recordings would be more of the sound than this, the end of each is held out


@dataclass(frozen=True)
class FrameConfig:
    """Settings by which recordings are turned into frames.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    stft : StftConfig
    silence_db : float
        Frames this far below the recording's loudest are silence.
    n_gap_frames : int
        Silent frames after every channel, as many as the network sees before a frame.
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
class RecordingFrames:
    """The frames of one recording: channel after channel, each followed by a gap."""

    magnitude: Tensor  # (n_bins, n_channels * n_channel_frames)
    active: Tensor  # (n_channels, n_channel_frames), False where silent
    held_out: Tensor  # (n_channel_frames,), True where kept for validation


@dataclass(frozen=True)
class TrainingSet:
    """The frames of all recordings, each with a weight in training and in validation, one of which is 0."""

    shapes: Tensor  # (n_frames, n_bins)
    training_weights: Tensor  # (n_frames,)
    validation_weights: Tensor  # (n_frames,)


def stft_for(recordings: Sequence[Audio], sample_rate: int) -> StftConfig:
    """Choose the STFT by the sample rate, with shorter windows where most of the energy is ultrasound.

    Examples
    --------
    >>> stft_for([Audio(torch.randn(1, 38400), 384000)], 384000)
    StftConfig(n_fft=2048, hop_length=512, window='hann')
    """
    first = math.ceil(ULTRASOUND_HZ * ULTRASOUND_STFT.n_fft / sample_rate)
    audible_energy = ultrasonic_energy = 0.0
    for recording in recordings if first < ULTRASOUND_STFT.n_bins - 1 else ():
        heard = resample(centered(recording), sample_rate)
        energy = (
            magnitude(stft(heard.samples, ULTRASOUND_STFT)).square().sum(dim=(0, 2), dtype=torch.float64)
        )  # (n_bins,)
        audible_energy += float(energy[N_RUMBLE_BINS:first].sum())
        ultrasonic_energy += float(energy[first:].sum())
    return StftConfig.for_sample_rate(sample_rate, ultrasonic=ultrasonic_energy > audible_energy)


def extract_frames(recording: Audio, frame_config: FrameConfig) -> RecordingFrames:
    """Turn a recording into frames and mark the silent ones; an offset and infrasound are left out."""
    resampled = resample(centered(recording), frame_config.sample_rate)
    spectra = magnitude(stft(resampled.samples, frame_config.stft))  # (n_channels, n_bins, n_frames)
    spectra = audible(spectra, frame_config.stft, frame_config.sample_rate)
    spectra = torch.nn.functional.pad(spectra, (0, frame_config.n_gap_frames))
    level = spectra.mean(dim=1)  # (n_channels, n_channel_frames)
    active = (level > 0) & (level >= level.max() * 10 ** (frame_config.silence_db / 20))
    return RecordingFrames(spectra.movedim(0, 1).flatten(1), active, torch.zeros_like(active[0]))


def active_s(recording: Audio, sound: RecordingFrames, frame_config: FrameConfig) -> float:
    """Return the seconds in which any channel of a recording sounds: at most its own, though a frame may end later."""
    return min(float(sound.active.any(dim=0).sum()) * frame_config.frame_s, recording.duration_s)


def refuse_too_little(
    recordings: Sequence[Audio], sounds: Sequence[RecordingFrames], source: str, frame_config: FrameConfig
) -> None:
    """Refuse silence, and too little sound to learn from.

    Raises
    ------
    AudioError
        If there is less than a second of it.
    """
    pairs = zip(recordings, sounds, strict=True)
    sound_s = sum(active_s(recording, sound, frame_config) for recording, sound in pairs)
    if sound_s == 0:
        raise AudioError(f"the recordings of {source!r} are digital silence; expected the sound to learn")
    if sound_s < LEAST_SOUND_S:
        raise AudioError(
            f"the recordings of {source!r} hold {sound_s:.2f} s of sound; "
            f"expected {LEAST_SOUND_S:g} s at least; two or three minutes are better"
        )


def hold_out(sounds: Sequence[RecordingFrames], share: float, generator: torch.Generator) -> list[RecordingFrames]:
    """Hold out whole recordings for validation, drawn at random until they make up the share.

    Where that would be too much, as with a few long recordings, the end of each is held out instead.
    """
    n_frames, chosen = [int(sound.active.sum()) for sound in sounds], list[int]()
    for index in torch.randperm(len(sounds), generator=generator).tolist():
        if sum(n_frames[i] for i in chosen) < share * sum(n_frames):
            chosen.append(index)
    if sum(n_frames[i] for i in chosen) <= MOST_HELD_OUT * sum(n_frames):
        whole = [replace(sound, held_out=torch.full_like(sound.held_out, True)) for sound in sounds]
        return [whole[i] if i in chosen else sound for i, sound in enumerate(sounds)]
    passed = [sound.active.sum(dim=0).cumsum(0) / max(n, 1) for sound, n in zip(sounds, n_frames, strict=True)]
    return [replace(sound, held_out=done > 1 - share) for sound, done in zip(sounds, passed, strict=True)]


def cut_held_out(
    recordings: Sequence[Audio], sounds: Sequence[RecordingFrames], frame_config: FrameConfig
) -> list[Audio]:
    """Cut the held-out end off each recording; leave out recordings that are silent or wholly held out."""
    kept = []
    for recording, sound in zip(recordings, sounds, strict=True):
        n_kept_frames = int((~sound.held_out).sum())
        n_samples = round(n_kept_frames * frame_config.frame_s * recording.sample_rate)
        if n_kept_frames and sound.active.any():
            kept.append(replace(recording, samples=recording.samples[:, :n_samples]))
    return kept


def build_training_set(sounds: Sequence[RecordingFrames], level_exponent: float, device: torch.device) -> TrainingSet:
    """Collect all frames, free them of their level, and weight them by it."""
    spectra = torch.cat([sound.magnitude for sound in sounds], dim=1)  # (n_bins, n_frames)
    active = torch.cat([sound.active.flatten() for sound in sounds])
    held_out = torch.cat([sound.held_out.repeat(len(sound.active)) for sound in sounds])
    weights = torch.where(active, spectra.mean(dim=0) ** level_exponent, 0)
    weights = weights / weights[active].mean()
    parts = spectral_shape(spectra).T.contiguous(), weights * ~held_out, weights * held_out
    return TrainingSet(*(part.to(device) for part in parts))


def batches(weights: Tensor, n_patch: int, n_batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of patches without end: pass after pass in random order, cut at other places each time.

    Parameters
    ----------
    weights : Tensor, shape (n_frames,)
    n_patch : int
        Frames of a patch.
    n_batch : int
        Frames of a batch; 0 for all of them.
    """
    while True:
        first = int(torch.randint(n_patch, (1,), generator=generator))
        frames = patches(weights, n_patch, first=first)
        order = torch.randperm(len(frames), generator=generator).to(frames.device)
        yield from frames[order].split(max(1, n_batch // frames.shape[1]) if n_batch else max(1, len(frames)))


def patches(weights: Tensor, n_patch: int, *, first: int) -> Tensor:
    """Return the frame indices of the patches with a weight above 0, shape (n_patches, n_patch).

    No frame is left out: the first patch and the last overlap their neighbors where the frames do not divide evenly.
    """
    n_patch = min(n_patch, len(weights))
    starts = torch.arange(-(first % n_patch), len(weights), n_patch, device=weights.device)
    frames = starts.clamp(0, len(weights) - n_patch)[:, None] + torch.arange(n_patch, device=weights.device)
    return frames[(weights[frames] > 0).any(dim=1)]


def collect_exemplars(
    sounds: Sequence[RecordingFrames], frame_config: FrameConfig, exemplars_s: float
) -> tuple[Tensor, int]:
    """Encode the active frames as exemplars, held-out ones last; return them and how many of them were held out."""

    def active(held_out: bool) -> Tensor:
        chosen = [(sound.active & (sound.held_out == held_out)).flatten() for sound in sounds]
        return torch.cat([sound.magnitude[:, frames] for sound, frames in zip(sounds, chosen, strict=True)], dim=1)

    learned, held_out = active(False), active(True)
    n_most_frames, n_frames = (
        int(exemplars_s / max(frame_config.frame_s, SHORTEST_FRAME_S)),
        learned.shape[1] + held_out.shape[1],
    )
    exemplars = encode_exemplars(torch.cat([learned, held_out], dim=1), n_most_frames=n_most_frames)
    kept = exemplar_frames(n_frames, n_most_frames=n_most_frames)
    return exemplars, int((kept >= learned.shape[1]).sum())


def describe_recording(recording: Audio, sound: RecordingFrames, frame_config: FrameConfig) -> dict[str, Any]:
    """Describe one recording for a dictionary's card."""
    frame_s = frame_config.frame_s / recording.n_channels
    sound_s, held_out_s = (float(x.sum()) * frame_s for x in (sound.active, sound.active & sound.held_out))
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
