"""Descending to the weights of an autoencoder.

    min over encoder, decoder   sum_t  w_t  [ d( v_t | decode(encode(v_t)) ) + penalties ]

where ``v_t`` is the spectral shape of frame ``t``, ``d`` a spectral divergence and ``w_t`` a weight that grows with the
frame's level. Regularizers add penalties, corrupt what the encoder hears, or draw the code.
"""

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from sepdict._core.settings import refuse_other_types, refuse_out_of_range
from sepdict.audio.augmentation import AugmentationConfig
from sepdict.dictionaries.card import FILE_NAMES, MAX_CHECKS
from sepdict.errors import ConfigError
from sepdict.models.autoencoder import Autoencoder, DeepAutoencoder, build_autoencoder
from sepdict.models.layers import initialize, is_finite
from sepdict.models.network_config import SHALLOW, NetworkConfig
from sepdict.models.optim import Adam
from sepdict.progress import OnProgress, Progress
from sepdict.spectral.divergences import beta_divergence, beta_of
from sepdict.spectral.stft import StftConfig
from sepdict.training.data import Lesson, batches, patches
from sepdict.training.pretraining import (
    pretrain_by_autoencoders,
    pretrain_by_boltzmann_machines,
    refuse_what_cannot_be_pretrained,
)
from sepdict.training.regularization import Critic, Regularization, corrupted, penalty

log = logging.getLogger(__name__)

VALIDATION_FRAMES = 4096  # frames at a time in validation: bounds its memory
PRETRAINING_SHARE = 0.1  # of the steps, for each layer


@dataclass(frozen=True)
class TrainingConfig:
    """How a dictionary is trained.

    Parameters
    ----------
    network : NetworkConfig
    stft : StftConfig, optional
        By default chosen for the sample rate, and with short windows where most of the sound is above 20 kHz.
        Dictionaries that are to be used together need equal ones.
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
        Frames per step: 1 is stochastic training, 0 full-batch training, with all frames in every step.
    learning_rate : float
        Of Adam at the start; it falls to zero along half a cosine.
    weight_decay : float
        L2 penalty on the weights.
    regularization : Regularization
        What else keeps the network from merely copying.
    pretraining : str
        ``"none"``, or layer by layer beforehand, as ``"autoencoders"`` or as ``"boltzmann"`` machines.
    augmentation : AugmentationConfig, optional
        What the recordings are varied by, anew for each of the :attr:`n_checks`; by default nothing.
    exemplars_s : float
        Seconds of sound that the dictionary remembers, coarsely, for composing; 0 remembers nothing. Frames shorter
        than 16 ms count as such, so that the exemplars of any sound takes as much room.
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
    regularization: Regularization = field(default_factory=Regularization)
    pretraining: str = "none"
    augmentation: AugmentationConfig | None = None
    exemplars_s: float = 600.0
    seed: int = 0

    def as_card(self) -> dict[str, Any]:
        """Return the settings under the names that dictionary files have for them."""
        settings = {FILE_NAMES.get(name, name): value for name, value in asdict(self).items()}
        return {name: value for name, value in settings.items() if name not in ("network", "stft", "sample_rate")}

    def __post_init__(self) -> None:
        refuse_other_types(self)
        beta_of(self.divergence)
        ranges = {
            "level_exponent": (0, 1),
            "silence_db": (-200, -1),
            "validation_share": (0, 0.5),
            "n_steps": (1, math.inf),
            "patience": (1, math.inf),
            "n_checks": (1, MAX_CHECKS),
            "batch_frames": (0, math.inf),
            "learning_rate": (0, 1),
            "weight_decay": (0, 1),
            "exemplars_s": (0, 86400),
            "seed": (0, 2**63 - 1),
        }
        refuse_out_of_range(self, ranges)
        refuse_what_cannot_be_pretrained(self.pretraining, self.network)
        if self.network.kind == "linear" and beta_of(self.divergence) < 1:
            raise ConfigError(
                f"divergence is {self.divergence!r}; a linear network draws next to nothing: use l2 or kl"
            )
        if self.regularization.adversarial and not self.network.critic:
            raise ConfigError(f"adversarial is {self.regularization.adversarial}; expected a network with a critic")
        if self.regularization.dropout and self.network.kind in SHALLOW:
            raise ConfigError(
                f"dropout is {self.regularization.dropout}; a {self.network.kind} network has no hidden units"
            )
        for name in ("sparse", "activity", "contractive"):
            alone = self.batch_frames == 1 and not self.network.sees_neighbors
            if alone and getattr(self.regularization, name):
                raise ConfigError(f"batch_frames is 1; {name} compares frames: expected more, or 0 for all of them")


class Descent:
    """The descent from check to check."""

    def __init__(
        self, lesson: Lesson, n_bins: int, config: TrainingConfig, generator: torch.Generator, others: Tensor | None
    ) -> None:
        self.lesson, self.config, self.generator, self.others = lesson, config, generator, others
        self.beta, self.n_patch = beta_of(config.divergence), config.network.n_patch_frames
        self.network = build_autoencoder(config.network, n_bins).to(lesson.shapes.device)
        initialize(self.network, generator)
        self.network.start_from(lesson.shapes, lesson.training_weights, generator)
        self.network.set_dropout(config.regularization.dropout)
        self.critic = Critic(self.network) if config.regularization.adversarial else None

    def run(
        self, renew: Callable[[], Lesson] | None, on_progress: OnProgress
    ) -> tuple[Autoencoder, dict[str, tuple[float, ...]], str]:
        """Descend; return the best network, the curves, and why training ended."""
        network, config = self.network, self.config
        self._pretrain()
        weights: list[Tensor] = [weight for name, weight in network.named_parameters() if not name.startswith("critic")]
        adam = Adam(weights, step=config.learning_rate, weight_decay=config.weight_decay)
        examples = self._examples(self.lesson)
        best, stopped = _weights_of(network), "finished"
        curves: dict[str, list[float]] = {"training": [], "validation": []}
        steps = [config.n_steps * check // config.n_checks for check in range(config.n_checks + 1)]
        try:
            for start, end in itertools.pairwise(steps):
                if start == end:
                    continue
                examples = examples if renew is None else self._examples(renew())
                training, validation = self._descend(adam, examples, range(start, end)), self._validate()
                checked = training if validation is None else validation
                if not (math.isfinite(training) and math.isfinite(checked) and is_finite(network)):
                    stopped = "diverged"
                    break
                curves["training"].append(training)
                curves["validation"].append(checked)
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
        if stopped == "diverged":
            todo = "train at a lower rate, or from another seed"
            if not curves["validation"]:
                raise ConfigError(f"training diverged at once, to weights that are not finite; {todo}")
            log.warning("training diverged; keeping the best weights before that; %s", todo)
        network.load_state_dict(best)
        network.requires_grad_(False).eval()
        heard = self.lesson.shapes[self.lesson.training_weights > 0].T
        network.standardize_codes(network.encode(heard))
        return network, {name: tuple(curve) for name, curve in curves.items()}, stopped

    def _pretrain(self) -> None:
        """Train layer by layer first, if that is configured."""
        if self.config.pretraining == "none":
            return
        assert isinstance(self.network, DeepAutoencoder)  # the configuration was refused otherwise
        examples, n_steps = self._examples(self.lesson), max(1, round(PRETRAINING_SHARE * self.config.n_steps))
        if self.config.pretraining == "autoencoders":
            pretrain_by_autoencoders(self.network, examples, self._mean_divergence, n_steps=n_steps)
        else:
            pretrain_by_boltzmann_machines(self.network, examples, self.generator, n_steps=n_steps)

    def _examples(self, lesson: Lesson) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw spectral shapes and their weights without end."""
        numbers = batches(lesson.training_weights, self.n_patch, self.config.batch_frames, self.generator)
        device = self.lesson.shapes.device
        for frames in numbers:
            shape, weight = _examples_at(lesson.shapes, lesson.training_weights, frames)
            yield shape.to(device), weight.to(device)

    @torch.enable_grad()
    def _descend(self, adam: Adam, examples: Iterator[tuple[Tensor, Tensor]], steps: range) -> float:
        """Take some steps and return the mean training divergence over them, penalties excluded."""
        total = torch.zeros((), device=self.lesson.shapes.device)
        self.network.train()
        for step, (shape, weight) in zip(steps, examples, strict=False):
            divergence, punished = self._divergence_and_penalty(shape)
            adam.step = self.config.learning_rate * (1 + math.cos(math.pi * step / self.config.n_steps)) / 2
            cost = (weight * (divergence + punished)).sum() / weight.sum()
            adam.update(torch.autograd.grad(cost, adam.parameters))
            if self.critic is not None:
                self.critic.learn(shape, weight)
            total += (weight * divergence).detach().sum() / weight.sum()
        return float(total) / len(steps)

    def _divergence_and_penalty(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        """What is to be made small for each frame of spectral shapes (..., n_bins, n_frames)."""
        config = self.config.regularization
        heard = corrupted(shape, config, self.others, self.generator)
        code, log_variance = self.network.posterior(heard)
        punished = penalty(self.network, heard, code, log_variance, config, self.generator)
        if self.critic is not None:
            punished = punished + config.adversarial * self.critic.deceived(code, self.generator)
        if log_variance is not None:  # Kingma and Welling's reparametrization: the draw, but not its size, is constant
            noise = torch.randn(code.shape, generator=self.generator).to(code)
            code = code + (log_variance / 2).exp() * noise
        return self._divergence(
            shape, self.network.reconstruct(code) if self.beta == 2 else self.network.decode(code)
        ), punished

    def _divergence(self, shape: Tensor, drawn: Tensor) -> Tensor:
        """Divergence per bin of each frame."""
        return beta_divergence(shape, drawn, beta=self.beta) / shape.shape[-2]

    def _mean_divergence(self, shape: Tensor, drawn: Tensor, weight: Tensor) -> Tensor:
        """Mean divergence of frames that count by weight."""
        return (weight * self._divergence(shape, drawn)).sum() / weight.sum()

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Mean divergence of the held-out frames from what the network makes of them; None where there are none."""
        self.network.eval()
        frames = patches(self.lesson.validation_weights, self.n_patch, first=0)
        if len(frames) == 0:
            return None
        sums = []
        for part in frames.split(max(1, VALIDATION_FRAMES // frames.shape[1])):
            shape, weight = _examples_at(self.lesson.shapes, self.lesson.validation_weights, part)
            divergence = self._divergence(shape, self.network.decode(self.network.encode(shape)))
            sums.append(((weight * divergence).sum(), weight.sum()))
        divergence, weight = (torch.stack(column).sum() for column in zip(*sums, strict=True))
        return float(divergence / weight)


def _examples_at(shapes: Tensor, weights: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Pick pieces, numbered as (n_patches, n_patch_frames): shapes (n_patches, n_bins, n_patch_frames) and weights.

    Frames that do not see each other lie side by side instead, (n_bins, n_patches): one matrix product does all.
    """
    shape, weight = shapes[frames].transpose(1, 2), weights[frames]
    return (shape.squeeze(2).T, weight.squeeze(1)) if frames.shape[1] == 1 else (shape, weight)


def _weights_of(network: Autoencoder) -> dict[str, Tensor]:
    """Copy the weights, which training goes on to change."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
