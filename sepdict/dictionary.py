"""Row 3: a dictionary: what one source can sound like, and the file it lives in.

The file is safetensors: tensors that load without running code, and a JSON card in the header that says whose
sound it is, how it was made and what it heard. Nothing in a file is believed before it is checked.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sepdict.bands import n_bands
from sepdict.errors import ConfigError, DictionaryFileError, ShapeError
from sepdict.files import write_atomically
from sepdict.networks import Autoencoder, NetworkConfig, spectral_shape
from sepdict.spectrogram import StftConfig

RESIDUAL = "residual"  # the stem of what no dictionary explains; no source can be called so
FORMAT = "sepdict.dictionary"
FORMAT_VERSION = 4
OLDER_VERSIONS = (1, 2, 3)  # readable: codes scaled within the weights; before 3 no templates, before 2 no memory
WITHOUT_TEMPLATES = {"n_templates": 0}  # what the oldest cards do not say
SCALED_CODES = 4  # the first version that says how codes are scaled
MEMORY = "memory"  # the name of its tensor, beside the weights'
MAX_FILE_BYTES = 2**30  # 1 GiB: the lecture's dictionary has 13 MiB
MAX_HEADER_BYTES = 2**24  # 16 MiB: room for a card that names tens of thousands of recordings
WRONG_JSON = (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)  # what it runs into


@dataclass(frozen=True)
class Card:
    """What a dictionary says of itself.

    Attributes
    ----------
    source : str
        Name of the source, and of its stems.
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
        Divergence per epoch, of training and of validation audio.
    """

    source: str
    sample_rate: int
    stft: StftConfig
    network: NetworkConfig
    training: Mapping[str, Any] = field(default_factory=dict)
    heard: tuple[Mapping[str, Any], ...] = ()
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_unwritable(self.source, "source name")
        if not isinstance(self.sample_rate, int) or not 1 <= self.sample_rate <= 1_000_000:
            raise ConfigError(f"sample rate is {self.sample_rate} Hz; expected 1 to 1000000")

    @property
    def trained_s(self) -> float:
        """Seconds of sound heard, silence and held-out recordings included."""
        return float(sum(recording["duration_s"] for recording in self.heard))


@dataclass(frozen=True, eq=False, repr=False)
class Dictionary:
    """What one source can sound like: a decoder from excitations to spectral shapes, and the encoder trained with it.

    Examples
    --------
    >>> from sepdict.layers import initialise
    >>> card = Card("violin", 16000, StftConfig(n_fft=64, hop_length=16), NetworkConfig(code_size=4, hidden=(8,)))
    >>> network = Autoencoder(card.network, card.stft.n_bins)
    >>> initialise(network, torch.Generator().manual_seed(0))
    >>> dictionary = Dictionary(card, network)
    >>> code = dictionary.encode(torch.rand(33, 10))
    >>> code.shape, dictionary.decode(code).shape
    (torch.Size([4, 10]), torch.Size([33, 10]))
    """

    card: Card
    network: Autoencoder
    memory: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.uint8))
    """What it remembers of what it heard, of shape (n_bands, n_frames) as `sepdict.memory` has it; or nothing."""

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
        network = Autoencoder(self.card.network, self.card.stft.n_bins)
        weights = self.network.state_dict()
        network.load_state_dict({name: tensor.to(device) for name, tensor in weights.items()}, assign=True)
        return Dictionary(self.card, network, self.memory)

    def save(self, path: str | Path) -> Path:
        """Write the dictionary file, whole or not at all, and return its absolute path.

        Raises
        ------
        DictionaryFileError
            If it cannot be written.
        """
        path = Path(path).absolute()
        tensors = {name: tensor.contiguous() for name, tensor in self._tensors().items()}
        card = asdict(self.card)
        text = {"format_version": FORMAT_VERSION, "card": card, "sha256": _digest(card, tensors)}
        # One entry only: safetensors writes several in random order, and equal dictionaries should be equal files.
        metadata = {FORMAT: json.dumps(text, sort_keys=True, allow_nan=False)}
        try:
            write_atomically(path, safetensors.torch.save(tensors, metadata))
        except OSError as error:
            raise DictionaryFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Dictionary":
        """Read a dictionary file without running any code from it.

        Raises
        ------
        DictionaryFileError
            If the file is missing, too large, truncated, damaged, not a dictionary, or of a newer format.
        """
        path = Path(path)
        text, tensors = _read(path)
        try:
            card = _card_from(text["card"])
            with torch.device("meta"):  # shapes only: nothing is allocated on the card's word
                network = Autoencoder(card.network, card.stft.n_bins)
        except (ConfigError, *WRONG_JSON) as error:
            raise DictionaryFileError(f"{path}: damaged: its card is not valid ({error}); copy it again") from error
        weights = {name: tensor for name, tensor in tensors.items() if name != MEMORY}
        if int(text["format_version"]) < SCALED_CODES:
            unscaled = network.config.code_size, 1
            weights |= {"code_mean": torch.zeros(unscaled), "code_deviation": torch.ones(unscaled)}
        memory = tensors.get(MEMORY, torch.empty(0, 0, dtype=torch.uint8))
        memory_shape = (n_bands(card.stft.n_bins), memory.shape[-1]) if memory.numel() else tuple(memory.shape)
        promised = {name: (tuple(weight.shape), weight.dtype) for name, weight in network.state_dict().items()}
        promised[MEMORY] = (memory_shape, torch.uint8)
        found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in (weights | {MEMORY: memory}).items()}
        for name in sorted(promised.keys() | found.keys()):
            if promised.get(name) != found.get(name):
                raise DictionaryFileError(f"{path}: damaged: {name} is not as its card promises; copy it again")
        if text.get("sha256") != _digest(text["card"], tensors):
            raise DictionaryFileError(f"{path}: damaged: its content does not match its checksum; copy it again")
        if not all(weight.isfinite().all() for weight in weights.values()):
            raise DictionaryFileError(f"{path}: damaged: some weights are not finite; train it again")
        network.load_state_dict(weights, assign=True)
        return cls(card, network, memory)

    def _tensors(self) -> dict[str, Tensor]:
        """Collect the network's weights and the memory, if there is one, by name."""
        memory = {MEMORY: self.memory} if self.memory.numel() else {}
        return {name: tensor.detach().cpu() for name, tensor in (self.network.state_dict() | memory).items()}


def refuse_unwritable(name: object, what: str) -> None:
    """Refuse what cannot be the name of a stem's file."""
    if not isinstance(name, str) or not re.fullmatch(r"[^./\\\0-\x1f][^/\\\0-\x1f]*", name):
        raise ConfigError(f"{what} is {name!r}; expected a name that can be a file's, without / or \\")


def refuse_unfit(dictionaries: Sequence[Dictionary]) -> None:
    """Check that dictionaries can be used together, before anything else is done with them.

    Raises
    ------
    ConfigError
        If there is none, one is there twice, two have the same source name, or they differ in rate or STFT; or if
        something else is among them.
    """
    if not isinstance(dictionaries, Sequence) or not all(isinstance(each, Dictionary) for each in dictionaries):
        what = type(dictionaries).__name__
        raise ConfigError(f"dictionaries are a {what}; expected a list of what Dictionary.load gives")
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
                raise ConfigError(
                    f"{first.source!r} has {what} {mine}, {other.source!r} has {its}; train one of them again to match"
                )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the JSON text and the tensors, bounded by the file's size, and check whose format it is."""
    try:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_FILE_BYTES:
            raise DictionaryFileError(f"{path}: too large: {n_bytes} bytes; a dictionary has {MAX_FILE_BYTES} at most")
        content = path.read_bytes()
    except OSError as error:
        raise DictionaryFileError(f"{path}: cannot be read ({error.strerror}); expected a dictionary file") from error
    n_header = int.from_bytes(content[:8], "little")
    if n_header > MAX_HEADER_BYTES:
        raise DictionaryFileError(f"{path}: is no dictionary; expected a .safetensors file that sepdict has trained")
    try:
        tensors = safetensors.torch.load(content)
        metadata = json.loads(content[8 : 8 + n_header]).get("__metadata__", {})
        text = json.loads(metadata[FORMAT])
        version = int(text["format_version"])
    except safetensors.SafetensorError as error:
        raise DictionaryFileError(f"{path}: truncated, damaged or no dictionary file ({error})") from error
    except WRONG_JSON as error:
        raise DictionaryFileError(f"{path}: holds something else; expected a sepdict dictionary") from error
    if version not in (FORMAT_VERSION, *OLDER_VERSIONS):
        raise DictionaryFileError(
            f"{path}: has format version {version}, this sepdict reads {FORMAT_VERSION}; install a newer sepdict"
        )
    return text, tensors


def _card_from(fields: Mapping[str, Any]) -> Card:
    """Build the card, every field checked by the class that holds it."""
    heard = tuple(recording | {"duration_s": float(recording["duration_s"])} for recording in fields["heard"])
    return Card(
        source=fields["source"],
        sample_rate=fields["sample_rate"],
        stft=StftConfig(**fields["stft"]),
        network=NetworkConfig(
            **WITHOUT_TEMPLATES | {name: _tupled(value) for name, value in fields["network"].items()}
        ),
        training={name: _tupled(value) for name, value in fields["training"].items()},
        heard=heard,
        curves={name: tuple(map(float, curve)) for name, curve in fields["curves"].items()},
    )


def _tupled(value: Any) -> Any:
    """Turn lists, which JSON has, into tuples, which configurations have."""
    if isinstance(value, dict):
        return {name: _tupled(inner) for name, inner in value.items()}
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _digest(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the card and all weights: safetensors itself does not notice a flipped bit."""
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0" + tensors[name].numpy().tobytes())
    return digest.hexdigest()
