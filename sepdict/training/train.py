"""From solo recordings to a dictionary.

The network never sees a level: a recording teaches the same at every volume. What is silent is not learned, and part of
the sound is held out, to tell when there is no more to learn.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor

from sepdict._core.devices import AUTO, choose_device, seeded_generator
from sepdict._core.schema import printable
from sepdict._core.settings import checks_types
from sepdict.audio.augmentation import augment
from sepdict.audio.io import AudioLike, as_recordings
from sepdict.audio.offset import centered
from sepdict.audio.signal import Audio, at_peak_of_one
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import RESIDUAL, Dictionary
from sepdict.dictionaries.dictionary_file import refuse_too_large
from sepdict.dictionaries.exemplars import HELD_OUT_FRAMES
from sepdict.errors import AudioError, ConfigError
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import OnProgress, closes_progress, ignore_progress
from sepdict.spectral.divergences import beta_divergence, beta_of
from sepdict.spectral.stft import spectral_shape
from sepdict.training.data import (
    FrameConfig,
    Lesson,
    beginnings,
    exemplars_of,
    extract_frames,
    facts,
    hold_out,
    join,
    refuse_too_little,
    stft_for,
)
from sepdict.training.trainer import Descent, TrainingConfig

log = logging.getLogger(__name__)

PRESETS: Mapping[str, TrainingConfig] = MappingProxyType(
    {
        name: TrainingConfig(network=network)
        for name, network in {
            "default": NetworkConfig(),
            "dense": NetworkConfig(),
            # Sees five frames at a time: slower to fit, for sounds that are told apart by how they move.
            "convolutional": NetworkConfig("convolutional", 8, kernel_size=5, n_templates=0),
            "recurrent": NetworkConfig("recurrent", hidden=(128,)),
            "nonnegative": NetworkConfig("nonnegative", 60, (), "softplus", n_templates=60),
            "linear": NetworkConfig("linear", 16, (), n_templates=0),
            # "5 layers, 600 units wide": the dictionary that the lectures on neural source separation describe.
            "lecture": NetworkConfig(code_size=600, hidden=(600, 600, 600, 600), n_templates=0),
        }.items()
    }
)
"""Networks by name, all other settings at their defaults; the README says which is for what."""

REGULARIZERS: Mapping[str, float] = MappingProxyType(
    {
        "l2": 1e-4,
        "dropout": 0.2,
        "sparse": 0.01,
        "activity": 0.01,
        "noise": 0.5,
        "masking": 0.3,
        "others": 0.5,
        "contractive": 0.01,
        "variational": 1.0,
        "adversarial": 0.01,
    }
)
"""Regularizers by name, with the amounts that they are tried at first."""

CRITIC = (128, 128)  # hidden units of the critic that an adversarial training gets


@checks_types
def regularized(config: TrainingConfig, amounts: Mapping[str, float]) -> TrainingConfig:
    """Add regularizers by name to the settings of a training.

    Parameters
    ----------
    config : TrainingConfig
    amounts : mapping of str to float
        For names of `REGULARIZERS`. Where they stand, which is not always in `Regularization`, is seen to.

    Raises
    ------
    ConfigError
        If a name is none of them or an amount is out of range.

    Examples
    --------
    >>> regularized(TrainingConfig(), {"variational": 0.5, "dropout": 0.1}).network.prior_weight
    0.5
    """
    for name in amounts:
        if name not in REGULARIZERS:
            raise ConfigError(f"regularizer is {name!r}; expected one of {', '.join(REGULARIZERS)}")
    network, inside = config.network, dict(amounts)
    weight_decay = inside.pop("l2", config.weight_decay)
    network = replace(network, prior_weight=inside.pop("variational", network.prior_weight))
    if inside.get("adversarial"):
        network = replace(network, critic=network.critic or CRITIC)
    regularization = replace(config.regularization, **inside)
    return replace(config, network=network, weight_decay=weight_decay, regularization=regularization)


@checks_types
@closes_progress
def train_dictionary(
    recordings: AudioLike | Sequence[AudioLike],
    config: TrainingConfig | None = None,
    *,
    source: str,
    backgrounds: AudioLike | Sequence[AudioLike] = (),
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> Dictionary:
    """Learn what a source sounds like from recordings of it alone.

    Parameters
    ----------
    recordings : Audio, path or (samples, sample_rate), or a sequence of these
        Solo recordings, at any rates and levels; a second of sound at least, minutes are better. The path of a folder
        stands for the recordings in it. Channels are heard one by one.
    config : TrainingConfig, optional
        By default ``PRESETS["default"]``.
    source : str
        Name of the source, and of its stems.
    backgrounds : as recordings
        Other sounds, which augmentation adds and a denoising encoder learns to ignore; the decoder never draws them
        for themselves.
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
    recordings, backgrounds = as_recordings(recordings), as_recordings(backgrounds, "backgrounds")
    if not recordings:
        raise AudioError("there are no recordings to learn from; expected one at least")
    if source == RESIDUAL:
        raise ConfigError(f"source name is {source!r}, the name of what no dictionary explains; choose another")
    sample_rate = config.sample_rate or min(recording.sample_rate for recording in recordings)
    leveled, around = (list(map(centered, at_peak_of_one(sounds))) for sounds in (recordings, backgrounds))
    card = Card(source, sample_rate, config.stft or stft_for(leveled, sample_rate), config.network)
    refuse_too_large(card)
    generator, chosen = seeded_generator(config.seed), choose_device(device)
    frame_config = FrameConfig(sample_rate, card.stft, config.silence_db, config.network.kernel_size // 2)
    sounds = [extract_frames(recording, frame_config) for recording in leveled]
    refuse_too_little(sounds, source, frame_config)
    sounds = hold_out(sounds, config.validation_share, generator)
    lesson = join(sounds, config.level_exponent, chosen)
    solos = beginnings(leveled, sounds, frame_config)
    renew = partial(_rendition, solos, around, frame_config, config, generator) if config.augmentation else None
    others = _other_shapes(around, frame_config) if config.regularization.others else None
    descent = Descent(lesson, card.stft.n_bins, config, generator, None if others is None else others.to(chosen))
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        torch.manual_seed(config.seed)
        network, curves, stopped = descent.run(renew, on_progress)
    _warn_of_nothing_learned(lesson, card, config, min(curves["validation"]))
    settings = config.as_card()
    exemplars, n_held_out = exemplars_of(sounds, frame_config, config.exemplars_s)
    heard = tuple(facts(recording, sound, frame_config) for recording, sound in zip(recordings, sounds, strict=True))
    used = tuple({"name": printable(background.name), "sha256": background.sha256} for background in backgrounds)
    settings |= {"stopped": stopped, HELD_OUT_FRAMES: n_held_out} | ({"backgrounds": used} if used else {})
    return Dictionary(replace(card, training=settings, heard=heard, curves=curves), network.cpu(), exemplars)


def _rendition(
    solos: Sequence[Audio],
    backgrounds: Sequence[Audio],
    frame_config: FrameConfig,
    config: TrainingConfig,
    generator: torch.Generator,
) -> Lesson:
    """Hear the solos anew, varied."""
    assert config.augmentation is not None
    varied = [augment(solo, config.augmentation, generator, backgrounds=backgrounds) for solo in solos]
    return join([extract_frames(solo, frame_config) for solo in varied], config.level_exponent, torch.device("cpu"))


def _other_shapes(backgrounds: Sequence[Audio], frame_config: FrameConfig) -> Tensor:
    """Hear the backgrounds as spectral shapes (n_frames, n_bins)."""
    sounds = [extract_frames(background, frame_config) for background in backgrounds]
    shapes = [spectral_shape(sound.magnitude[:, sound.sounding.flatten()]).T for sound in sounds]
    if not sum(map(len, shapes)):
        raise ConfigError("there are no backgrounds to be heard beside the source; give some that are not silent")
    return torch.cat(shapes)


def _warn_of_nothing_learned(lesson: Lesson, card: Card, config: TrainingConfig, best: float) -> None:
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
