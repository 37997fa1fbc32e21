"""From solo recordings to a dictionary.

The network never sees a level, so a recording teaches the same at every volume. Silent frames are left out, and part of
the sound is held out for validation, which decides when to stop.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from sepdict._core.devices import AUTO, choose_device, seeded_generator
from sepdict._core.names import RESIDUAL
from sepdict._core.schema import printable
from sepdict._core.settings import checks_types
from sepdict.audio.augmentation import augment
from sepdict.audio.io import AudioLike, as_recordings
from sepdict.audio.offset import centered
from sepdict.audio.signal import Audio, at_peak_of_one
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.dictionary_file import refuse_too_large
from sepdict.dictionaries.exemplars import HELD_OUT_FRAMES
from sepdict.errors import AudioError, ConfigError
from sepdict.progress import OnProgress, closes_progress, ignore_progress
from sepdict.spectral.betas import beta_of
from sepdict.spectral.divergences import beta_divergence
from sepdict.spectral.stft import spectral_shape
from sepdict.training.config import PRESETS, TrainingConfig
from sepdict.training.data import (
    FrameConfig,
    TrainingSet,
    build_training_set,
    collect_exemplars,
    cut_held_out,
    describe_recording,
    extract_frames,
    hold_out,
    refuse_too_little,
    stft_for,
)
from sepdict.training.trainer import Trainer

log = logging.getLogger(__name__)


@checks_types
@closes_progress
def train_dictionary(
    recordings: AudioLike | Sequence[AudioLike],
    config: TrainingConfig | None = None,
    *,
    source: str,
    backgrounds: AudioLike | Sequence[AudioLike] = (),
    keeps_interrupted: bool = True,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> Dictionary:
    """Learn what a source sounds like from recordings of it alone.

    Parameters
    ----------
    recordings : Audio, path or (samples, sample_rate), or a sequence of these
        Solo recordings, at any rates and levels; a second of sound at least, minutes are better. The path of a folder
        stands for the recordings in it. Each channel is used by itself.
    config : TrainingConfig, optional
        By default ``PRESETS["default"]``.
    source : str
        Name of the source, and of its stems.
    backgrounds : as recordings
        Other sounds, which augmentation mixes in and a denoising encoder learns to ignore; the decoder does not learn
        them for themselves.
    keeps_interrupted : bool
        Whether Ctrl-C ends the training early, with the best weights so far; otherwise it is raised.
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
    >>> from sepdict import Audio, NetworkConfig, TrainingConfig
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
    leveled, leveled_backgrounds = (list(map(centered, at_peak_of_one(sounds))) for sounds in (recordings, backgrounds))
    card = _planned_card(source, leveled, config)
    sample_rate = card.sample_rate
    refuse_too_large(card)
    generator, chosen = seeded_generator(config.seed), choose_device(device)
    frame_config = FrameConfig(sample_rate, card.stft, config.silence_db, config.network.kernel_size // 2)
    sounds = [extract_frames(recording, frame_config) for recording in leveled]
    refuse_too_little(recordings, sounds, source, frame_config)
    sounds = hold_out(sounds, config.validation_share, generator)
    training_set = build_training_set(sounds, config.level_exponent, chosen)
    solos = cut_held_out(leveled, sounds, frame_config)
    next_set = (
        partial(_augmented_set, solos, leveled_backgrounds, frame_config, config, generator)
        if config.augmentation
        else None
    )
    others = _other_shapes(leveled_backgrounds, frame_config) if config.regularization.others else None
    trainer = Trainer(training_set, card.stft.n_bins, config, generator, None if others is None else others.to(chosen))
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        torch.manual_seed(config.seed)
        network, curves, stopped = trainer.run(next_set, on_progress, keeps_interrupted=keeps_interrupted)
    _warn_of_nothing_learned(training_set, card, config, min(curves["validation"]))
    exemplars, n_held_out = collect_exemplars(sounds, frame_config, config.exemplars_s)
    heard = tuple(
        describe_recording(recording, sound, frame_config) for recording, sound in zip(recordings, sounds, strict=True)
    )
    used = tuple({"name": printable(background.name), "sha256": background.sha256} for background in backgrounds)
    settings = {**card.training, "stopped": stopped, HELD_OUT_FRAMES: n_held_out}
    settings |= {"backgrounds": used} if used else {}
    return Dictionary(replace(card, training=settings, heard=heard, curves=curves), network.cpu(), exemplars)


def is_trained_alike(
    card: Card, recordings: Sequence[Audio], config: TrainingConfig, *, source: str, backgrounds: Sequence[Audio] = ()
) -> bool:
    """Return whether a dictionary was trained, to its end, on these recordings and backgrounds with these settings."""
    planned = _planned_card(source, list(map(centered, at_peak_of_one(recordings))), config)
    its_settings = {name: card.training.get(name) for name in planned.training}
    return (
        all(getattr(card, name) == getattr(planned, name) for name in ("source", "sample_rate", "stft", "network"))
        and its_settings == planned.training
        and card.training.get("stopped") != "interrupted"
        and [each["sha256"] for each in card.heard] == [recording.sha256 for recording in recordings]
        and [each["sha256"] for each in card.training.get("backgrounds", ())] == [each.sha256 for each in backgrounds]
    )


def _planned_card(source: str, leveled: Sequence[Audio], config: TrainingConfig) -> Card:
    """Return what is known of a dictionary's card before the training."""
    sample_rate = config.sample_rate or min(recording.sample_rate for recording in leveled)
    stft = config.stft or stft_for(leveled, sample_rate)
    return Card(source, sample_rate, stft, config.network, config.as_card())


def _augmented_set(
    solos: Sequence[Audio],
    backgrounds: Sequence[Audio],
    frame_config: FrameConfig,
    config: TrainingConfig,
    generator: torch.Generator,
) -> TrainingSet:
    """Augment the solos anew, and make a training set of them."""
    assert config.augmentation is not None
    varied = [augment(solo, config.augmentation, generator, backgrounds=backgrounds) for solo in solos]
    return build_training_set(
        [extract_frames(solo, frame_config) for solo in varied], config.level_exponent, torch.device("cpu")
    )


def _other_shapes(backgrounds: Sequence[Audio], frame_config: FrameConfig) -> Tensor:
    """Compute the spectral shapes (n_frames, n_bins) of the backgrounds."""
    sounds = [extract_frames(background, frame_config) for background in backgrounds]
    shapes = [spectral_shape(sound.magnitude[:, sound.active.flatten()]).T for sound in sounds]
    if not sum(map(len, shapes)):
        raise ConfigError("there are no backgrounds to learn to ignore; give some that are not silent")
    return torch.cat(shapes)


def _warn_of_nothing_learned(training_set: TrainingSet, card: Card, config: TrainingConfig, best: float) -> None:
    """Log a warning where the dictionary fits its source no better than a flat spectrum."""
    shapes, weights = training_set.shapes.T, training_set.training_weights  # (n_bins, n_frames), (n_frames,)
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
