"""The settings of a training, presets of them by name, and regularizers by name."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from sepdict._core.settings import checks_types, refuse_other_types, refuse_out_of_range
from sepdict.audio.augmentation import AugmentationConfig
from sepdict.dictionaries.card import FILE_NAMES, MAX_CHECKS
from sepdict.errors import ConfigError
from sepdict.models.network_config import SHALLOW, NetworkConfig
from sepdict.spectral.betas import beta_of
from sepdict.spectral.stft import StftConfig
from sepdict.training.pretraining import refuse_unpretrainable
from sepdict.training.regularization import Regularization

CRITIC_HIDDEN = (128, 128)  # units of the hidden layers of the critic that adversarial training adds


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training.

    Parameters
    ----------
    network : NetworkConfig
    stft : StftConfig, optional
        By default chosen for the sample rate, and with short windows where most of the sound is above 20 kHz.
        Dictionaries that are to be used together need the same one.
    sample_rate : int, optional
        In Hz; by default the lowest of the recordings', for a dictionary must not invent a band it was not trained on.
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
        The other regularizers.
    pretraining : str
        ``"none"``, or layer by layer before the training, as ``"autoencoders"`` or as ``"boltzmann"`` machines.
    augmentation : AugmentationConfig, optional
        Variation of the recordings, anew for each of the :attr:`n_checks`; by default none.
    exemplars_s : float
        Seconds of sound kept as exemplars, from which mask estimators are trained; 0 keeps none. Frames shorter than
        16 ms count as 16 ms, so that the exemplars of any sound take the same space.
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
        refuse_unpretrainable(self.pretraining, self.network)
        if self.network.kind == "linear" and beta_of(self.divergence) < 1:
            raise ConfigError(
                f"divergence is {self.divergence!r}; a linear network learns next to nothing with it: use l2 or kl"
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
"""Networks by name, with all other settings at their defaults."""

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
"""Regularizers by name, each with an amount to try first."""


@checks_types
def regularized(config: TrainingConfig, amounts: Mapping[str, float]) -> TrainingConfig:
    """Add regularizers, given by name, to the settings of a training.

    Parameters
    ----------
    config : TrainingConfig
    amounts : mapping of str to float
        By the names in `REGULARIZERS`. Each sets the field it belongs to, in `TrainingConfig`, `NetworkConfig` or
        `Regularization`.

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
    network, others = config.network, dict(amounts)
    weight_decay = others.pop("l2", config.weight_decay)
    network = replace(network, prior_weight=others.pop("variational", network.prior_weight))
    if others.get("adversarial"):
        network = replace(network, critic=network.critic or CRITIC_HIDDEN)
    regularization = replace(config.regularization, **others)
    return replace(config, network=network, weight_decay=weight_decay, regularization=regularization)
