"""A dictionary: what one source can sound like, and the file it lives in.

The file is safetensors: tensors that load without running code, and a JSON card in the header that says whose
sound it is, how it was made and what it heard. Nothing in a file is believed before it is checked.
"""

import hashlib
import json
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict._core.fs import write_atomically
from sepdict._core.names import normalized, refuse_unwritable
from sepdict._core.schema import (
    Check,
    either,
    exactly,
    listed,
    mapping,
    number,
    record,
    refuse_other_keys,
    settings,
    text,
    whole,
)
from sepdict._core.settings import refuse_other_type
from sepdict.dictionaries.exemplars import HELD_OUT_FRAMES
from sepdict.dictionaries.tensor_file import (
    MAX_FILE_BYTES,
    MAX_HEADER_BYTES,
    WRONG_JSON,
    Promise,
    TensorFileError,
    opened_tensors,
    read_json,
)
from sepdict.errors import ConfigError, DictionaryFileError, ShapeError
from sepdict.models.autoencoder import Autoencoder, build_autoencoder
from sepdict.models.layers import is_finite
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.bands import n_bands
from sepdict.spectral.stft import StftConfig, spectral_shape

RESIDUAL = "residual"  # the stem of what no dictionary explains; no source can be called so
FORMAT = "sepdict.dictionary"
FORMAT_VERSION = 5  # rises with every change after which older files would be read wrongly
EXEMPLARS = "memory"  # the name of its tensor, beside the weights'
MAX_RECORDINGS = 2**16
MAX_CHECKS = 2**16  # of validation, which the curves have a number for each
MOST_S = 1e9  # seconds: three decades
N_TRIED = 8  # frames that a loaded dictionary is tried with
EXTREME = 100.0  # a fit's excitations stay within a few deviations, of which this is far beyond

_COUNT, _SHARE, _SECONDS = whole(0, 2**63 - 1), number(0, 1), number(0, MOST_S)
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
    "regularisation": _AMOUNTS,
    "pretraining": text(most=64),
    "augmentation": either(exactly(None), _AMOUNTS),
    "memory_s": _SECONDS,
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
    """Expect what can be a stem's name."""
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
"""What may stand in a card: every card passes it, whoever makes it."""


@dataclass(frozen=True)
class Card:
    """What a dictionary says of itself.

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
        One per recording: its name, seconds, SHA-256 of its samples, level, seconds of silence, and whether it was
        held out for validation.
    curves : mapping of str to tuple of float
        Divergence per check, of training and of validation audio.

    Raises
    ------
    ConfigError
        If it is not as `SCHEMA` has it.
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
        """Seconds of sound heard, silence and held-out recordings included."""
        return float(sum(recording["duration_s"] for recording in self.heard))


@dataclass(frozen=True, eq=False, repr=False)
class Dictionary:
    """What one source can sound like: a decoder from excitations to spectral shapes, and the encoder trained with it.

    Examples
    --------
    >>> from sepdict.models.layers import initialize
    >>> card = Card("violin", 16000, StftConfig(n_fft=64, hop_length=16), NetworkConfig(code_size=4, hidden=(8,)))
    >>> network = build_autoencoder(card.network, card.stft.n_bins)
    >>> initialize(network, torch.Generator().manual_seed(0))
    >>> dictionary = Dictionary(card, network)
    >>> code = dictionary.encode(torch.rand(33, 10))
    >>> code.shape, dictionary.decode(code).shape
    (torch.Size([4, 10]), torch.Size([33, 10]))
    """

    card: Card
    network: Autoencoder
    exemplars: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.uint8))
    """What it remembers of what it heard, of shape (n_bands, n_frames) as `exemplars` has it; or nothing."""

    def __post_init__(self) -> None:
        self.network.requires_grad_(False).eval()  # frozen: a dictionary never learns from a mixture

    def __repr__(self) -> str:
        heard = f"heard {self.card.trained_s:.1f} s at {self.card.sample_rate} Hz"
        return f"Dictionary({self.source!r}, {self.card.network.kind}, {heard})"

    @property
    def source(self) -> str:
        """Name of the source."""
        return self.card.source

    @property
    def has_exemplars(self) -> bool:
        """True if the file holds exemplars of the source; ``TrainingConfig(exemplars_s=0)`` keeps none."""
        return self.exemplars.numel() > 0

    @property
    def sha256(self) -> str:
        """Checksum of all that is in the dictionary."""
        return _digest(asdict(self.card), self._tensors())

    def encode(self, magnitude: Tensor) -> Tensor:
        """Guess the excitations of magnitudes.

        Parameters
        ----------
        magnitude : Tensor, shape (..., n_bins, n_frames), >= 0
            At any level: the guess does not depend on it.

        Returns
        -------
        Tensor, shape (..., code_size, n_frames)

        Raises
        ------
        ShapeError
            If n_bins is not the dictionary's.
        """
        if magnitude.shape[-2] != self.card.stft.n_bins:
            raise ShapeError(
                f"magnitude has {magnitude.shape[-2]} bins but dictionary {self.source!r} expects "
                f"{self.card.stft.n_bins}; use n_fft={self.card.stft.n_fft}"
            )
        return self.network.encode(spectral_shape(magnitude))

    def decode(self, code: Tensor) -> Tensor:
        """Draw spectral shapes from excitations.

        Parameters
        ----------
        code : Tensor, shape (..., code_size, n_frames)

        Returns
        -------
        Tensor, shape (..., n_bins, n_frames), > 0, averaging one over the bins
            Times a level per frame, these are magnitudes.
        """
        return self.network.decode(code)

    def to(self, device: torch.device) -> "Dictionary":
        """Copy the dictionary to a device."""
        network = build_autoencoder(self.card.network, self.card.stft.n_bins)
        weights = self.network.state_dict()
        network.load_state_dict({name: tensor.to(device) for name, tensor in weights.items()}, assign=True)
        return Dictionary(self.card, network, self.exemplars)

    def save(self, path: str | Path) -> Path:
        """Write the dictionary file, whole or not at all, and return its absolute path.

        Raises
        ------
        DictionaryFileError
            If it cannot be written.
        """
        path = Path(path).absolute()
        fault = self._fault()
        if fault:
            raise DictionaryFileError(f"{path}: is not written, for {fault}; train it again, at a lower rate")
        tensors = {name: tensor.contiguous() for name, tensor in self._tensors().items()}
        card = asdict(self.card)
        said = {"format_version": FORMAT_VERSION, "card": card, "sha256": _digest(card, tensors)}
        # One entry only: safetensors writes several in random order, and equal dictionaries should be equal files.
        content = safetensors.torch.save(tensors, {FORMAT: json.dumps(said, sort_keys=True, allow_nan=False)})
        if len(content) > MAX_FILE_BYTES or int.from_bytes(content[:8], "little") > MAX_HEADER_BYTES:
            raise DictionaryFileError(
                f"{path}: would have {len(content)} bytes, which is too large; train a smaller one"
            )
        try:
            write_atomically(path, content)
        except OSError as error:
            raise DictionaryFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Dictionary":
        """Read a dictionary file without running any code from it.

        Raises
        ------
        DictionaryFileError
            If the file is missing, too large, truncated, damaged, not a dictionary, or of another format; or if what
            it holds would draw nothing that can be used.
        """
        path = Path(path)
        try:
            with opened_tensors(path) as file:
                card, sha256 = _described(path, file.metadata)
                network = _promised(card)
                tensors = file.read(_promises(card, network, file.shapes.get(EXEMPLARS)))
        except OSError as error:
            why = error.strerror or error
            raise DictionaryFileError(f"{path}: cannot be read ({why}); expected a dictionary file") from error
        except TensorFileError as error:
            raise DictionaryFileError(f"{path}: {error}") from error
        if sha256 != _digest(asdict(card), tensors):
            raise DictionaryFileError(f"{path}: damaged: its content does not match its checksum; copy it again")
        exemplars = tensors.pop(EXEMPLARS, torch.empty(0, 0, dtype=torch.uint8))
        network.load_state_dict(tensors, assign=True)
        loaded = cls(card, network, exemplars)
        fault = loaded._fault()
        if fault:
            raise DictionaryFileError(f"{path}: damaged: {fault}; train it again")
        return loaded

    def _tensors(self) -> dict[str, Tensor]:
        """Collect the network's weights and the exemplars, if there is one, by name."""
        exemplars = {EXEMPLARS: self.exemplars} if self.has_exemplars else {}
        return {name: tensor.detach().cpu() for name, tensor in (self.network.state_dict() | exemplars).items()}

    @torch.no_grad()
    def _fault(self) -> str | None:
        """Try the network on usual and extreme codes, and on noise; put into words what cannot be used."""
        network, n_bins = self.network, self.card.stft.n_bins
        if not is_finite(network):
            return "some weights are not finite"
        generator = seeded_generator(0)
        usual = torch.randn(self.card.network.code_size, N_TRIED, generator=generator)
        heard = torch.rand(n_bins, N_TRIED, generator=generator)
        codes = torch.cat([usual, EXTREME * usual], dim=1).to(network.code_mean.device)
        drawn, code = self.decode(codes), self.encode(heard.to(network.code_mean.device))
        if not (drawn.isfinite().all() and (drawn >= 0).all() and ((drawn.mean(dim=0) - 1).abs() < 0.1).all()):
            return "what it draws is no spectrum"
        return None if code.isfinite().all() else "it hears nothing but infinite codes"


def refuse_too_large(card: Card) -> None:
    """Refuse, before anything is trained, what would have too many weights to be kept in a file.

    Raises
    ------
    ConfigError
    """
    n_bytes = sum(weight.nbytes for weight in _promised(card).state_dict().values())
    if n_bytes > MAX_FILE_BYTES / 2:  # the other half is for the exemplars
        raise ConfigError(
            f"the dictionary would have {n_bytes / 2**20:.0f} MiB of weights; expected {MAX_FILE_BYTES // 2**21} at "
            "most: use narrower layers, fewer templates or a shorter window"
        )


def refuse_unfit(dictionaries: Sequence[Dictionary]) -> None:
    """Check that dictionaries can be used together, before anything else is done with them.

    Raises
    ------
    ConfigError
        If there is none, one is there twice, two have the same source name, or they differ in rate or STFT; or if
        something else is among them.
    """
    refuse_other_type("dictionaries", dictionaries, Sequence[Dictionary])
    if not dictionaries:
        raise ConfigError("there are no dictionaries; expected one at least")
    (source, n_times), *_ = Counter(dictionary.source for dictionary in dictionaries).most_common()
    if n_times > 1:
        raise ConfigError(
            f"{n_times} dictionaries are of source {source!r}; nothing tells apart two sources that sound the same, "
            "and two stems of one name would overwrite each other: give each source once, under its own name"
        )
    first = dictionaries[0]
    for other in dictionaries:
        if other.source == RESIDUAL:
            raise ConfigError(f"a source is named {RESIDUAL!r}, the name of what no dictionary explains; rename it")
        for what in ("sample_rate", "stft"):
            mine, its = getattr(first.card, what), getattr(other.card, what)
            if mine != its:
                option = f" (--n-fft {mine.n_fft})" if what == "stft" else ""
                raise ConfigError(
                    f"{first.source!r} has {what} {mine}, {other.source!r} has {its}; "
                    f"train {other.source!r} again to match{option}"
                )


def refuse_without_exemplars(dictionaries: Sequence[Dictionary]) -> None:
    """Refuse dictionaries that hold no exemplars of their sources.

    Raises
    ------
    ConfigError
    """
    for dictionary in dictionaries:
        if not dictionary.has_exemplars:
            raise ConfigError(
                f"dictionary {dictionary.source!r} has no exemplars; train it again with exemplars_s above 0"
            )


def _described(path: Path, metadata: Any) -> tuple[Card, str]:
    """Read the card, every field checked, and the checksum."""
    try:
        said = read_json(metadata[FORMAT])
        version, fields, sha256 = (said.get(name) for name in ("format_version", "card", "sha256"))
        if type(version) is not int:
            raise TypeError("the version is no whole number")
    except WRONG_JSON as error:
        raise DictionaryFileError(f"{path}: holds something else; expected a sepdict dictionary") from error
    if version != FORMAT_VERSION:
        todo = "install a newer sepdict" if version > FORMAT_VERSION else "train it again"
        came = reprlib.repr(version)
        raise DictionaryFileError(f"{path}: has format version {came}, this sepdict reads {FORMAT_VERSION}; {todo}")
    try:
        refuse_other_keys(fields, "it", required=SCHEMA, known=SCHEMA)
        return Card(**fields), str(sha256)
    except ConfigError as error:
        raise DictionaryFileError(
            f"{path}: damaged: its card is not valid: {_shortened(error)}; copy it again"
        ) from error


def _shortened(error: Exception) -> str:
    """Return what an error says with the middle left out where a file's value makes it long."""
    said = str(error)
    return said if len(said) <= 200 else f"{said[:120]}...{said[-60:]}"


def _promises(card: Card, network: Autoencoder, exemplars_shape: tuple[Any, ...] | None) -> dict[str, Promise]:
    """Say what tensors a card promises; the exemplars, where there is one, may be of any length but none."""
    promised: dict[str, Promise] = {
        name: (torch.float32, tuple(weight.shape)) for name, weight in network.state_dict().items()
    }
    if exemplars_shape is not None:
        n_frames = exemplars_shape[1] if len(exemplars_shape) == 2 and type(exemplars_shape[1]) is int else 1
        promised[EXEMPLARS] = torch.uint8, (n_bands(card.stft.n_bins), max(1, n_frames))
    return promised


def _promised(card: Card) -> Autoencoder:
    """Make the network that a card promises, shapes only: nothing is allocated."""
    with torch.device("meta"):
        return build_autoencoder(card.network, card.stft.n_bins)


def _digest(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over all that a file says and holds: safetensors itself does not notice a flipped bit."""
    shapes = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}
    digest = hashlib.sha256(json.dumps([FORMAT, FORMAT_VERSION, card, shapes], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
