"""Row 4: from solo recordings to a dictionary.

    min over encoder, decoder   sum_t  w_t  d( v_t | g_t decode(encode(v_t)) )

where ``v_t`` is the spectral shape of frame ``t``, ``d`` a spectral divergence, ``g_t`` the best gain and ``w_t`` a
weight that grows with the frame's level. The network never sees a level: a recording teaches the same at every volume.
"""

import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from sepdict.audio import Audio, resample
from sepdict.devices import AUTO, choose_device, seeded_generator
from sepdict.dictionary import Card, Dictionary
from sepdict.divergences import beta_divergence, beta_of, optimal_gain
from sepdict.errors import AudioError, ConfigError
from sepdict.memory import remember
from sepdict.networks import Autoencoder, NetworkConfig, begin_from, initialise, spectral_shape, standardise_codes
from sepdict.optimizers import Adam
from sepdict.progress import OnProgress, Progress, ignore_progress
from sepdict.spectrogram import StftConfig, magnitude, stft

log = logging.getLogger(__name__)

LEAST_SOUND_S = 1.0  # seconds that are not silence; with less there is nothing to learn from or to validate on
MOST_HELD_OUT = 0.25  # where whole recordings would take more of the sound than this, the end of each is held out
VALIDATION_FRAMES = 4096  # frames at a time in validation: bounds its memory
PATCH_FRAMES = 32  # length of the pieces that a network with time context is trained on


@dataclass(frozen=True)
class TrainingConfig:
    """How a dictionary is trained.

    Parameters
    ----------
    network : NetworkConfig
    stft : StftConfig, optional
        By default chosen for the sample rate.
    sample_rate : int, optional
        In Hz; by default the lowest of the recordings', for a dictionary must not invent a band it never heard.
    divergence : str
        ``"kl"``, ``"is"``, ``"l2"`` or ``"beta=B"``.
    level_exponent : float
        A frame counts with its level to this power: with 0 all count alike, with 1 as they would in a mixture's
        divergence. Between the two, soft frames are learned as well and hiss does not take over.
    silence_db : float
        Frames this far (in dB, negative) below the recording's loudest are silence and dropped.
    validation_share : float
        Share of the sound held out, which decides when to stop.
    n_steps : int
        At most this many updates of the weights, whatever the length of the audio.
    patience : int
        Stop after this many of the :attr:`n_checks` validations in a row without improvement.
    n_checks : int
        Validations over the whole training.
    batch_frames : int
        Frames per step.
    learning_rate : float
        Of Adam at the start; it falls to zero along half a cosine.
    weight_decay : float
        L2 penalty on the weights.
    memory_s : float
        Seconds of sound that the dictionary remembers, coarsely, for composing; 0 remembers nothing.
    seed : int
        Same seed, same machine, same dictionary.

    Raises
    ------
    ConfigError
        If one of them is out of range.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    stft: StftConfig | None = None
    sample_rate: int | None = None
    divergence: str = "kl"
    level_exponent: float = 0.5
    silence_db: float = -60.0
    validation_share: float = 0.1
    n_steps: int = 3000
    patience: int = 8
    n_checks: int = 40
    batch_frames: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    memory_s: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        beta_of(self.divergence)
        ranges = {
            "level_exponent": (0, 1),
            "silence_db": (-200, -1),
            "validation_share": (0, 0.5),
            "n_steps": (1, math.inf),
            "patience": (1, math.inf),
            "n_checks": (1, math.inf),
            "batch_frames": (1, math.inf),
            "learning_rate": (0, 1),
            "weight_decay": (0, 1),
            "memory_s": (0, 86400),
            "seed": (0, 2**63 - 1),
        }
        for name, (least, most) in ranges.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {least} to {most}")


PRESETS: Mapping[str, TrainingConfig] = MappingProxyType(
    {
        "default": TrainingConfig(),
        # Sees five frames at a time: slower to fit, for sounds that are told apart by how they move.
        "convolutional": TrainingConfig(network=NetworkConfig("convolutional", 8, kernel_size=5, n_templates=0)),
        # "5 layers, 600 units wide": the dictionary that the lectures on neural source separation describe.
        "lecture": TrainingConfig(network=NetworkConfig(code_size=600, hidden=(600, 600, 600, 600), n_templates=0)),
    }
)
"""Named settings; the README says how they compare."""


def train_dictionary(
    recordings: Audio | Sequence[Audio],
    config: TrainingConfig | None = None,
    *,
    source: str,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> Dictionary:
    """Learn what a source sounds like from recordings of it alone.

    Parameters
    ----------
    recordings : Audio or sequence of Audio
        Solo recordings, at any rates and levels; a second of sound at least, minutes are better.
        Channels are heard one by one.
    config : TrainingConfig, optional
        By default ``PRESETS["default"]``.
    source : str
        Name of the source, and of its stems.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    on_progress : callable
        Called after each validation with the validation divergence; raising from it cancels.

    Returns
    -------
    Dictionary
        With the best weights by validation divergence, also when Ctrl-C ended the training early. Its codes have mean
        zero and variance one over the recordings.

    Raises
    ------
    AudioError
        If there is less than a second of sound.
    ConfigError
        If the name or a setting cannot work.

    Examples
    --------
    >>> noise = Audio(torch.randn(1, 16000), 8000)
    >>> config = TrainingConfig(network=NetworkConfig(code_size=2, hidden=(8,)), n_steps=2)
    >>> train_dictionary(noise, config, source="noise").card.source
    'noise'
    """
    config = PRESETS["default"] if config is None else config
    recordings = [recordings] if isinstance(recordings, Audio) else list(recordings)
    if not recordings:
        raise AudioError("there are no recordings to learn from; expected one at least")
    sample_rate = config.sample_rate or min(recording.sample_rate for recording in recordings)
    stft_config = config.stft or StftConfig.for_sample_rate(sample_rate)
    card = Card(source, sample_rate, stft_config, config.network)
    generator = seeded_generator(config.seed)
    sounds = [_hear(recording, card, config) for recording in recordings]
    _refuse_too_little(sounds, card)
    sounds = _hold_out(sounds, config.validation_share, generator)
    lesson = _join(sounds, config.level_exponent, choose_device(device))
    network, curves, stopped = _train(lesson, card, config, generator, on_progress)
    _warn_of_nothing_learned(lesson, card, config, min(curves["validation"]))
    settings = {name: value for name, value in asdict(config).items() if name not in ("network", "stft", "sample_rate")}
    heard = tuple(_facts(recording, sound, card) for recording, sound in zip(recordings, sounds, strict=True))
    card = replace(card, training=settings | {"stopped": stopped}, heard=heard, curves=curves)
    return Dictionary(card, network.cpu(), _memory(sounds, card, config.memory_s))


@dataclass(frozen=True)
class _Sound:
    """One recording's frames: channel after channel, each followed by a gap as long as the network looks back."""

    magnitude: Tensor  # (n_bins, n_frames)
    sounding: Tensor  # (n_frames,), False where silent
    held_out: Tensor  # (n_frames,), True where kept for validation


@dataclass(frozen=True)
class _Lesson:
    """All frames and what each counts; a frame of the training set counts nothing in validation, and the reverse."""

    shapes: Tensor  # (n_frames, n_bins)
    training_weights: Tensor  # (n_frames,)
    validation_weights: Tensor  # (n_frames,)


def _hear(recording: Audio, card: Card, config: TrainingConfig) -> _Sound:
    """Turn a recording into frames and tell sound from silence."""
    heard = resample(recording, card.sample_rate)
    spectra = magnitude(stft(heard.samples, card.stft))  # (n_channels, n_bins, n_frames)
    spectra = torch.nn.functional.pad(spectra, (0, card.network.kernel_size // 2))
    spectra = spectra.movedim(0, 1).flatten(1)  # (n_bins, n_channels * n_frames)
    level = spectra.mean(dim=0)
    sounding = (level > 0) & (level >= level.max() * 10 ** (config.silence_db / 20))
    return _Sound(spectra, sounding, torch.zeros_like(sounding))


def _refuse_too_little(sounds: Sequence[_Sound], card: Card) -> None:
    """Refuse silence, and less sound than there is anything to learn from."""
    sound_s = sum(int(sound.sounding.sum()) for sound in sounds) * card.stft.hop_length / card.sample_rate
    if sound_s == 0:
        raise AudioError(f"the recordings of {card.source!r} are digital silence; expected the sound to learn")
    if sound_s < LEAST_SOUND_S:
        raise AudioError(
            f"the recordings of {card.source!r} hold {sound_s:.2f} s of sound; "
            f"expected {LEAST_SOUND_S} s at least, better minutes"
        )


def _hold_out(sounds: list[_Sound], share: float, generator: torch.Generator) -> list[_Sound]:
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
    passed = [sound.sounding.cumsum(0) / max(n, 1) for sound, n in zip(sounds, n_frames, strict=True)]
    return [replace(sound, held_out=done > 1 - share) for sound, done in zip(sounds, passed, strict=True)]


def _join(sounds: Sequence[_Sound], level_exponent: float, device: torch.device) -> _Lesson:
    """Collect all frames, free them of their level, and weigh them by it."""
    spectra = torch.cat([sound.magnitude for sound in sounds], dim=1)  # (n_bins, n_frames)
    sounding = torch.cat([sound.sounding for sound in sounds])
    held_out = torch.cat([sound.held_out for sound in sounds])
    weights = torch.where(sounding, spectra.mean(dim=0) ** level_exponent, 0)
    weights = weights / weights[sounding].mean()
    parts = spectral_shape(spectra).T.contiguous(), weights * ~held_out, weights * held_out
    return _Lesson(*(part.to(device) for part in parts))


def _train(
    lesson: _Lesson, card: Card, config: TrainingConfig, generator: torch.Generator, on_progress: OnProgress
) -> tuple[Autoencoder, dict[str, tuple[float, ...]], str]:
    """Descend from check to check; return the best network, the curves, and why training ended."""
    network = Autoencoder(card.network, card.stft.n_bins).to(lesson.shapes.device)
    initialise(network, generator)
    begin_from(network, lesson.shapes, lesson.training_weights, generator)
    adam = Adam(list(network.parameters()), step=config.learning_rate, weight_decay=config.weight_decay)
    batches = _batches(lesson.training_weights, config, generator)
    best, stopped, curves = _weights_of(network), "finished", {"training": list[float](), "validation": list[float]()}
    steps = [config.n_steps * check // config.n_checks for check in range(config.n_checks + 1)]
    try:
        for start, end in itertools.pairwise(steps):
            if start == end:
                continue
            curves["training"].append(_descend(network, adam, lesson, batches, config, range(start, end)))
            validation = _validate(network, lesson, config)
            curves["validation"].append(curves["training"][-1] if validation is None else validation)
            since_best = curves["validation"][::-1].index(min(curves["validation"]))
            best = _weights_of(network) if since_best == 0 else best
            on_progress(Progress("train", end, config.n_steps, curves["validation"][-1]))
            if since_best >= config.patience:
                stopped = "early"
                break
    except KeyboardInterrupt:
        if not curves["validation"]:  # nothing learned yet: there is nothing to keep
            raise
        log.warning("interrupted; keeping the best weights so far")
        stopped = "interrupted"
    network.load_state_dict(best)
    network.requires_grad_(False)
    standardise_codes(network, network.encode(lesson.shapes[lesson.training_weights > 0].T))
    return network, {name: tuple(curve) for name, curve in curves.items()}, stopped


def _warn_of_nothing_learned(lesson: _Lesson, card: Card, config: TrainingConfig, best: float) -> None:
    """Say so when the dictionary draws its source no better than a flat spectrum does."""
    shapes, weights = lesson.shapes.T, lesson.training_weights  # (n_bins, n_frames), (n_frames,)
    flat = beta_divergence(shapes, torch.ones_like(shapes), beta=beta_of(config.divergence)) / card.stft.n_bins
    flattest = float((weights * flat).sum() / weights.sum())
    if not best < flattest:
        log.warning(
            "%s was not learned: divergence %.3g, and %.3g of a flat spectrum; train longer, at a lower rate or from "
            "another seed",
            card.source,
            best,
            flattest,
        )


def _weights_of(network: Autoencoder) -> dict[str, Tensor]:
    """Copy the weights, which training goes on to change."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@torch.enable_grad()
def _descend(
    network: Autoencoder, adam: Adam, lesson: _Lesson, batches: Iterator[Tensor], config: TrainingConfig, steps: range
) -> float:
    """Take some steps and return the mean training divergence over them."""
    total = torch.zeros((), device=lesson.shapes.device)
    for step, frames in zip(steps, batches, strict=False):
        divergence, weight = _divergence(network, lesson.shapes, lesson.training_weights, frames, config)
        adam.step = config.learning_rate * (1 + math.cos(math.pi * step / config.n_steps)) / 2
        adam.update(torch.autograd.grad(divergence / weight, adam.parameters))
        total += (divergence / weight).detach()
    return float(total) / len(steps)


@torch.no_grad()
def _validate(network: Autoencoder, lesson: _Lesson, config: TrainingConfig) -> float | None:
    """Mean divergence of the held-out frames, or None where there are none."""
    frames = _patches(lesson.validation_weights, config.network.kernel_size, first=0)
    if len(frames) == 0:
        return None
    parts = frames.split(max(1, VALIDATION_FRAMES // frames.shape[1]))
    sums = [_divergence(network, lesson.shapes, lesson.validation_weights, part, config) for part in parts]
    divergence, weight = (torch.stack(column).sum() for column in zip(*sums, strict=True))
    return float(divergence / weight)


def _divergence(
    network: Autoencoder, shapes: Tensor, weights: Tensor, frames: Tensor, config: TrainingConfig
) -> tuple[Tensor, Tensor]:
    """Weighted divergence per bin between frames and what the network makes of them, and the sum of the weights.

    ``frames`` are numbers of shape (n_patches, n_patch_frames).
    """
    observed, weight = shapes[frames].transpose(1, 2), weights[frames]  # (n_patches, n_bins, n_patch_frames)
    if frames.shape[1] == 1:  # frames that do not see each other lie side by side, for one matrix product over all
        observed, weight = observed.squeeze(2).T, weight.squeeze(1)  # (n_bins, n_patches)
    drawn = network.decode(network.encode(observed))
    beta = beta_of(config.divergence)
    gain = optimal_gain(observed, drawn, beta=beta)[..., None, :]
    divergence = beta_divergence(observed, gain * drawn, beta=beta) / observed.shape[-2]
    return (weight * divergence).sum(), weight.sum()


def _batches(weights: Tensor, config: TrainingConfig, generator: torch.Generator) -> Iterator[Tensor]:
    """Draw training frames without end: pass after pass in random order, cut into patches at other places each time."""
    while True:
        first = int(torch.randint(PATCH_FRAMES, (1,), generator=generator))
        frames = _patches(weights, config.network.kernel_size, first=first)
        order = torch.randperm(len(frames), generator=generator).to(frames.device)
        yield from frames[order].split(max(1, config.batch_frames // frames.shape[1]))


def _patches(weights: Tensor, kernel_size: int, *, first: int) -> Tensor:
    """Number the frames in pieces, shape (n_patches, n_patch_frames), that hold something that counts.

    A network that sees single frames gets single frames, one with time context pieces of the recording. No frame is
    left out: the first piece and the last overlap their neighbours where the frames do not divide evenly.
    """
    n_patch = 1 if kernel_size == 1 else min(PATCH_FRAMES, len(weights))
    starts = torch.arange(-(first % n_patch), len(weights), n_patch, device=weights.device)
    frames = starts.clamp(0, len(weights) - n_patch)[:, None] + torch.arange(n_patch, device=weights.device)
    return frames[(weights[frames] > 0).any(dim=1)]


def _memory(sounds: Sequence[_Sound], card: Card, memory_s: float) -> Tensor:
    """Remember what sounded, held-out recordings included."""
    heard = torch.cat([sound.magnitude[:, sound.sounding] for sound in sounds], dim=1)
    return remember(heard, n_most_frames=int(memory_s * card.sample_rate / card.stft.hop_length))


def _facts(recording: Audio, sound: _Sound, card: Card) -> dict[str, Any]:
    """What the card says of one recording."""
    frame_s = card.stft.hop_length / card.sample_rate / recording.n_channels
    sound_s, held_out_s = (float(x.sum()) * frame_s for x in (sound.sounding, sound.sounding & sound.held_out))
    return {
        "name": recording.name,
        "duration_s": round(recording.duration_s, 3),
        "silence_s": round(max(recording.duration_s - sound_s, 0.0), 3),
        "held_out_s": round(min(held_out_s, recording.duration_s), 3),
        "level_db": round(recording.level_db, 2) if math.isfinite(recording.level_db) else None,
        "sample_rate": recording.sample_rate,
        "n_channels": recording.n_channels,
        "sha256": recording.sha256,
    }
