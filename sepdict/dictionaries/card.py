"""The card of a dictionary, and the schema that checks every field of it, whether from a file or from training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from sepdict._core.names import normalized, refuse_unwritable
from sepdict._core.schema import Check, either, exactly, listed, mapping, number, record, settings, text, whole
from sepdict.dictionaries.exemplars import HELD_OUT_FRAMES
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.stft import StftConfig

FILE_NAMES: Mapping[str, str] = MappingProxyType(
    {"regularization": "regularisation", "exemplars_s": "memory_s", "exemplars": "memory"}
)
"""The names in dictionary files of settings and tensors that have other names here."""

MAX_RECORDINGS = 2**16
MAX_CHECKS = 2**16  # of validation; the curves have one number for each
MAX_SECONDS = 1e9  # three decades

_COUNT, _SHARE, _SECONDS = whole(0, 2**63 - 1), number(0, 1), number(0, MAX_SECONDS)
_SHA256 = text(most=64, pattern="[0-9a-f]{64}")
_AMOUNTS = mapping(either(number(-1e6, 1e6), listed(number(-1e6, 1e6), most=2)))
_TRAINING = {
    "divergence": text(most=64),
    "level_exponent": _SHARE,
    "silence_db": number(-200, 0),
    "validation_share": _SHARE,
    "n_steps": _COUNT,
    "patience": _COUNT,
    "n_checks": _COUNT,
    "batch_frames": _COUNT,
    "learning_rate": _SHARE,
    "weight_decay": _SHARE,
    FILE_NAMES["regularization"]: _AMOUNTS,
    "pretraining": text(most=64),
    "augmentation": either(exactly(None), _AMOUNTS),
    FILE_NAMES["exemplars_s"]: _SECONDS,
    "seed": _COUNT,
    "stopped": exactly("finished", "early", "interrupted", "diverged"),
    HELD_OUT_FRAMES: _COUNT,
    "backgrounds": listed(record({"name": text(), "sha256": _SHA256}), most=MAX_RECORDINGS),
}
_RECORDING = {
    "name": text(),
    "duration_s": _SECONDS,
    "silence_s": _SECONDS,
    "held_out_s": _SECONDS,
    "level_db": either(number(-1000, 1000), exactly(None)),
    "sample_rate": whole(1, 2**31),
    "n_channels": whole(1, 2**31),
    "sha256": _SHA256,
}
_CURVE = listed(number(-1e300, 1e300), most=MAX_CHECKS)


def _source_name(value: Any, name: str) -> str:
    """Expect a name that can be a stem's, and compose it."""
    refuse_unwritable(value, f"{name} name")
    return normalized(value)


SCHEMA: Mapping[str, Check] = {
    "source": _source_name,
    "sample_rate": whole(1, 1_000_000),
    "stft": settings(StftConfig),
    "network": settings(NetworkConfig),
    "training": record({}, optional=_TRAINING),
    "heard": listed(record(_RECORDING), most=MAX_RECORDINGS),
    "curves": record({}, optional={"training": _CURVE, "validation": _CURVE}),
}
"""A check for each field of a card."""


@dataclass(frozen=True)
class Card:
    """The description of a dictionary: its source, its settings, and the recordings that it was trained on.

    Attributes
    ----------
    source : str
        Name of the source, and of its stems, in Unicode's composed form.
    sample_rate : int
        In Hz; mixtures at other rates are resampled to it and back.
    stft : StftConfig
    network : NetworkConfig
    training : mapping
        The training settings.
    heard : tuple of mapping
        One per training recording: its name, duration, SHA-256 of its samples, level, and how many seconds were silent
        or held out for validation.
    curves : mapping of str to tuple of float
        Divergence per check, of training and of validation audio.

    Raises
    ------
    ConfigError
        If a field does not pass its check in `SCHEMA`.
    """

    source: str
    sample_rate: int
    stft: StftConfig
    network: NetworkConfig
    training: Mapping[str, Any] = field(default_factory=dict)
    heard: tuple[Mapping[str, Any], ...] = ()
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, check in SCHEMA.items():
            object.__setattr__(self, name, check(getattr(self, name), name))

    @property
    def trained_s(self) -> float:
        """Duration of the training recordings, in seconds, silence and held-out parts included."""
        return float(sum(recording["duration_s"] for recording in self.heard))
