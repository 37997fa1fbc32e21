"""The learning curve: how well held-out sound is reconstructed after training on more and more sound."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch

from sepdict._core.devices import AUTO
from sepdict._core.schema import settings
from sepdict.audio.augmentation import AugmentationConfig
from sepdict.audio.signal import Audio, at_peak_of_one
from sepdict.dictionaries.card import FILE_NAMES, Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError
from sepdict.progress import OnProgress, ignore_progress, progress_of_part
from sepdict.spectral.betas import beta_of
from sepdict.spectral.divergences import beta_divergence
from sepdict.training.config import TrainingConfig
from sepdict.training.data import LEAST_SOUND_S, FrameConfig, build_training_set, extract_frames
from sepdict.training.regularization import Regularization
from sepdict.training.train import train_dictionary

SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)  # of what is not held out
HELD_OUT_SHARE = 0.1  # the end of every recording


@dataclass(frozen=True)
class LearningCurve:
    """Divergence of held-out sound from its reconstruction, by minutes of training sound.

    Attributes
    ----------
    minutes : tuple of float
        Of sound that was trained on, the training's own validation sound included.
    divergences : tuple of float
        Per bin, of the held-out frames.
    """

    minutes: tuple[float, ...]
    divergences: tuple[float, ...]


def learning_curve(
    recordings: Sequence[Audio],
    config: TrainingConfig,
    *,
    source: str,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> LearningCurve:
    """Train on an eighth, a quarter, half and all of the sound, and evaluate on the same held-out part each time.

    The last tenth of every recording is held out, and of the rest the first part of every recording is trained on.

    Parameters
    ----------
    recordings : sequence of Audio
        Of the source alone, 8.9 s at least.
    config : TrainingConfig
        The same for each of the trainings, number of steps included.
    source : str
        The source's name.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    on_progress : callable
        Called as in :func:`train_dictionary`, with steps counted over all trainings.

    Raises
    ------
    AudioError
        If an eighth of the sound is less than a second.

    Examples
    --------
    >>> noise = Audio(torch.randn(1, 80000), 8000)
    >>> learning_curve([noise], TrainingConfig(n_steps=1), source="noise").minutes
    (0.01875, 0.0375, 0.075, 0.15)
    """
    total_s = (1 - HELD_OUT_SHARE) * sum(recording.duration_s for recording in recordings)
    if total_s * SHARES[0] < LEAST_SOUND_S:
        raise AudioError(
            f"the recordings of {source!r} last {total_s / (1 - HELD_OUT_SHARE):.1f} s; a learning curve, which begins "
            f"with an eighth, takes {LEAST_SOUND_S / SHARES[0] / (1 - HELD_OUT_SHARE):.1f} s at least"
        )
    held_out = [_cut(recording, 1 - HELD_OUT_SHARE, 1.0) for recording in recordings]
    minutes, divergences = list[float](), list[float]()
    for index, share in enumerate(SHARES):
        report = progress_of_part(on_progress, index, len(SHARES))
        parts = [_cut(recording, 0.0, share * (1 - HELD_OUT_SHARE)) for recording in recordings]
        trained = train_dictionary(
            parts, replace(config, exemplars_s=0), source=source, device=device, on_progress=report
        )
        minutes.append(sum(part.duration_s for part in parts) / 60)
        divergences.append(reconstruction_divergence(trained, held_out, config))
    return LearningCurve(tuple(minutes), tuple(divergences))


@torch.no_grad()
def reconstruction_divergence(dictionary: Dictionary, recordings: Sequence[Audio], config: TrainingConfig) -> float:
    """Encode and decode recordings, and average the divergence per bin as training does.

        sum_t w_t d(v_t | decode(encode(v_t))) / (n_bins sum_t w_t)

    Raises
    ------
    AudioError
        If all of them are silent.
    """
    card = dictionary.card
    frame_config = FrameConfig(card.sample_rate, card.stft, config.silence_db, card.network.kernel_size // 2)
    sounds = [extract_frames(recording, frame_config) for recording in at_peak_of_one(recordings)]
    if not any(sound.active.any() for sound in sounds):
        raise AudioError(f"the end of each recording of {card.source!r} is silent; expected sound to hold out")
    training_set = build_training_set(sounds, config.level_exponent, torch.device("cpu"))
    observed, weight = training_set.shapes.T, training_set.training_weights
    decoded = dictionary.decode(dictionary.encode(observed))
    divergence = beta_divergence(observed, decoded, beta=beta_of(config.divergence)) / card.stft.n_bins
    return float((weight * divergence).sum() / weight.sum())


def training_config_of(card: Card) -> TrainingConfig:
    """Read the training settings from a card; those that it lacks have their defaults.

    Raises
    ------
    ConfigError
        If nothing can be trained so.
    """
    names = {field.name: FILE_NAMES.get(field.name, field.name) for field in fields(TrainingConfig)}
    said = {name: card.training[written] for name, written in names.items() if written in card.training}
    for name, kind in (("regularization", Regularization), ("augmentation", AugmentationConfig)):
        if said.get(name):
            said[name] = settings(kind)(said[name], name)
    return TrainingConfig(**said | {"network": card.network, "stft": card.stft, "sample_rate": card.sample_rate})


def _cut(recording: Audio, start: float, end: float) -> Audio:
    """Take the part from one share of a recording to another, a sample at least."""
    first = min(round(start * recording.n_samples), recording.n_samples - 1)
    last = max(round(end * recording.n_samples), first + 1)
    return replace(recording, samples=recording.samples[:, first:last])
