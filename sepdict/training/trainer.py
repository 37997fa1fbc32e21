"""The trainer, which minimizes the divergence of an autoencoder's output from its input.

    min over encoder, decoder   sum_t  w_t  [ d( v_t | decode(encode(v_t)) ) + penalties ]

where ``v_t`` is the spectral shape of frame ``t``, ``d`` a spectral divergence and ``w_t`` a weight that grows with the
frame's level. Regularizers add penalties, corrupt the encoder's input, or sample the code.
"""

import itertools
import logging
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from sepdict.errors import ConfigError
from sepdict.models.autoencoder import Autoencoder, DeepAutoencoder, build_autoencoder
from sepdict.models.layers import initialize, is_finite
from sepdict.models.optim import Adam
from sepdict.progress import OnProgress, Progress
from sepdict.spectral.betas import beta_of
from sepdict.spectral.divergences import beta_divergence
from sepdict.training.config import TrainingConfig
from sepdict.training.data import TrainingSet, batches, patches
from sepdict.training.pretraining import (
    pretrain_by_autoencoders,
    pretrain_by_boltzmann_machines,
)
from sepdict.training.regularization import CriticTrainer, corrupt, penalty

log = logging.getLogger(__name__)

VALIDATION_FRAMES = 512  # at most, evenly spread over what is held out: with more, checks take longer than steps
PRETRAINING_SHARE = 0.1  # of the steps, for each layer


class Trainer:
    """Trains an autoencoder from one validation to the next, and keeps the best weights.

    Parameters
    ----------
    training_set : TrainingSet
    n_bins : int
    config : TrainingConfig
    generator : torch.Generator
        Of initial weights, batches and noise.
    others : Tensor, shape (n_other, n_bins), optional
        Spectral shapes of other sounds, for `Regularization.others`.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        n_bins: int,
        config: TrainingConfig,
        generator: torch.Generator,
        others: Tensor | None,
    ) -> None:
        self.training_set, self.config, self.generator, self.others = training_set, config, generator, others
        self.beta, self.n_patch = beta_of(config.divergence), config.network.n_patch_frames
        self.network = build_autoencoder(config.network, n_bins).to(training_set.shapes.device)
        initialize(self.network, generator)
        self.network.start_from(training_set.shapes, training_set.training_weights, generator)
        self.network.set_dropout(config.regularization.dropout)
        self.critic = CriticTrainer(self.network) if config.regularization.adversarial else None

    def run(
        self, next_set: Callable[[], TrainingSet] | None, on_progress: OnProgress, *, keeps_interrupted: bool
    ) -> tuple[Autoencoder, dict[str, tuple[float, ...]], str]:
        """Train; return the best network, the curves, and why training ended.

        Where ``next_set`` is given, it makes the training set of each stretch between two validations.
        """
        network, config = self.network, self.config
        self._pretrain()
        weights: list[Tensor] = [weight for name, weight in network.named_parameters() if not name.startswith("critic")]
        adam = Adam(weights, step=config.learning_rate, weight_decay=config.weight_decay)
        examples = self._examples(self.training_set)
        best, stopped = _weights_of(network), "finished"
        curves: dict[str, list[float]] = {"training": [], "validation": []}
        steps = [config.n_steps * check // config.n_checks for check in range(config.n_checks + 1)]
        try:
            for start, end in itertools.pairwise(steps):
                if start == end:
                    continue
                examples = examples if next_set is None else self._examples(next_set())
                training, validation = self._take_steps(adam, examples, range(start, end)), self._validate()
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
            if not keeps_interrupted or not curves["validation"]:  # nothing learned yet: there is nothing to keep
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
        learned = self.training_set.shapes[self.training_set.training_weights > 0].T
        network.standardize_codes(network.encode(learned))
        return network, {name: tuple(curve) for name, curve in curves.items()}, stopped

    def _pretrain(self) -> None:
        """Train layer by layer first, if that is configured."""
        if self.config.pretraining == "none":
            return
        assert isinstance(self.network, DeepAutoencoder)  # the configuration was refused otherwise
        examples, n_steps = self._examples(self.training_set), max(1, round(PRETRAINING_SHARE * self.config.n_steps))
        if self.config.pretraining == "autoencoders":
            pretrain_by_autoencoders(self.network, examples, self._mean_divergence, n_steps=n_steps)
        else:
            pretrain_by_boltzmann_machines(self.network, examples, self.generator, n_steps=n_steps)

    def _examples(self, training_set: TrainingSet) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of spectral shapes and their weights without end."""
        numbers = batches(training_set.training_weights, self.n_patch, self.config.batch_frames, self.generator)
        device = self.training_set.shapes.device
        for frames in numbers:
            shape, weight = _examples_at(training_set.shapes, training_set.training_weights, frames)
            yield shape.to(device), weight.to(device)

    @torch.enable_grad()
    def _take_steps(self, adam: Adam, examples: Iterator[tuple[Tensor, Tensor]], steps: range) -> float:
        """Take some steps and return the mean training divergence over them, penalties excluded."""
        total = torch.zeros((), device=self.training_set.shapes.device)
        self.network.train()
        for step, (shape, weight) in zip(steps, examples, strict=False):
            divergence, penalties = self._divergence_and_penalty(shape)
            adam.step = self.config.learning_rate * (1 + math.cos(math.pi * step / self.config.n_steps)) / 2
            cost = (weight * (divergence + penalties)).sum() / weight.sum()
            adam.update(torch.autograd.grad(cost, adam.parameters))
            if self.critic is not None:
                self.critic.update(shape, weight)
            total += (weight * divergence).detach().sum() / weight.sum()
        return float(total) / len(steps)

    def _divergence_and_penalty(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Compute both parts of the cost for each frame of spectral shapes (..., n_bins, n_frames)."""
        config = self.config.regularization
        observed = corrupt(shape, config, self.others, self.generator)
        code, log_variance = self.network.posterior(observed)
        penalties = penalty(self.network, observed, code, log_variance, config, self.generator)
        if self.critic is not None:
            penalties = penalties + config.adversarial * self.critic.penalty(code, self.generator)
        if log_variance is not None:  # Kingma and Welling's reparametrization: the noise has no gradient, its scale has
            noise = torch.randn(code.shape, generator=self.generator).to(code)
            code = code + (log_variance / 2).exp() * noise
        decoded = self.network.reconstruct(code) if self.beta == 2 else self.network.decode(code)
        return self._divergence(shape, decoded), penalties

    def _divergence(self, shape: Tensor, decoded: Tensor) -> Tensor:
        """Compute the divergence per bin of each frame."""
        return beta_divergence(shape, decoded, beta=self.beta) / shape.shape[-2]

    def _mean_divergence(self, shape: Tensor, decoded: Tensor, weight: Tensor) -> Tensor:
        """Average the divergence of frames by weight."""
        return (weight * self._divergence(shape, decoded)).sum() / weight.sum()

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Return the mean divergence of held-out frames' reconstruction; None where no frames are held out."""
        self.network.eval()
        frames = patches(self.training_set.validation_weights, self.n_patch, first=0)
        if len(frames) == 0:
            return None
        n_most = max(1, VALIDATION_FRAMES // self.n_patch)
        frames = frames[:: math.ceil(len(frames) / n_most)]
        shape, weight = _examples_at(self.training_set.shapes, self.training_set.validation_weights, frames)
        return float(self._mean_divergence(shape, self.network.decode(self.network.encode(shape)), weight))


def _examples_at(shapes: Tensor, weights: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Gather patches by index (n_patches, n_patch_frames): shapes (n_patches, n_bins, n_patch_frames) and weights.

    Single frames lie side by side instead, (n_bins, n_patches), so that one matrix product does all.
    """
    shape, weight = shapes[frames].transpose(1, 2), weights[frames]
    return (shape.squeeze(2).T, weight.squeeze(1)) if frames.shape[1] == 1 else (shape, weight)


def _weights_of(network: Autoencoder) -> dict[str, Tensor]:
    """Copy the weights, which training goes on to change."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}
