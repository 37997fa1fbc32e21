"""A dictionary: what one source can sound like, as a decoder from excitations to spectra."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from sepdict._core.names import RESIDUAL, refusal_of_url
from sepdict._core.notebook import ShownInNotebooks
from sepdict._core.settings import checks_types, refuse_other_type
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary_file import checksum_of, read_dictionary, write_dictionary
from sepdict.errors import ConfigError, DictionaryFileError, ShapeError
from sepdict.models.autoencoder import Autoencoder, build_autoencoder
from sepdict.spectral.stft import spectral_shape


@dataclass(frozen=True, eq=False, repr=False)
class Dictionary(ShownInNotebooks):
    """A source's decoder from excitations to spectral shapes, and the encoder trained with it.

    Examples
    --------
    >>> from sepdict.models.layers import initialize
    >>> from sepdict.models.network_config import NetworkConfig
    >>> from sepdict.spectral.stft import StftConfig
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
    """A coarse spectrogram of the training sound, (n_bands, n_frames), as by `encode_exemplars`; may be empty."""

    def __post_init__(self) -> None:
        self.network.requires_grad_(False).eval()  # frozen: a dictionary never learns from a mixture

    def __repr__(self) -> str:
        trained = f"trained on {self.card.trained_s:.1f} s at {self.card.sample_rate} Hz"
        return f"Dictionary({self.source!r}, {self.card.network.kind}, {trained})"

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
        """SHA-256 of everything in the dictionary."""
        return checksum_of(self.card, self.network, self.exemplars)

    def encode(self, magnitude: Tensor) -> Tensor:
        """Estimate the excitations of magnitudes.

        Parameters
        ----------
        magnitude : Tensor, shape (..., n_bins, n_frames), >= 0
            At any level: the estimate does not depend on it.

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
        """Decode excitations to spectral shapes.

        Parameters
        ----------
        code : Tensor, shape (..., code_size, n_frames)

        Returns
        -------
        Tensor, shape (..., n_bins, n_frames), > 0, averaging one over the bins
            Times a level per frame, these are magnitudes.
        """
        return self.network.decode(code)

    @checks_types
    def renamed(self, source: str) -> "Dictionary":
        """Return the same dictionary under another name of its source, which stems are named after.

        Its checksum is another one, for that covers the card: stems and mask estimators made with the dictionary
        before are not taken for those of this one.

        Raises
        ------
        ConfigError
            If no file can have the name.
        """
        return Dictionary(replace(self.card, source=source), self.network, self.exemplars)

    def to(self, device: torch.device) -> "Dictionary":
        """Copy the dictionary to a device."""
        network = build_autoencoder(self.card.network, self.card.stft.n_bins)
        weights = self.network.state_dict()
        network.load_state_dict({name: tensor.to(device) for name, tensor in weights.items()}, assign=True)
        return Dictionary(self.card, network, self.exemplars)

    @checks_types
    def save(self, path: str | Path) -> Path:
        """Write the dictionary file, whole or not at all, and return its absolute path.

        Raises
        ------
        DictionaryFileError
            If the network cannot be used, the file would be too large, or it cannot be written.
        """
        if why := refusal_of_url(path):
            raise DictionaryFileError(why)
        path = Path(path).absolute()
        write_dictionary(path, self.card, self.network, self.exemplars)
        return path

    @classmethod
    @checks_types
    def load(cls, path: str | Path) -> "Dictionary":
        """Read a dictionary file, checked in every part, without running any code from it.

        Raises
        ------
        DictionaryFileError
            If the file is missing, too large, truncated, damaged, not a dictionary, or of another format; or if its
            network cannot be used.
        """
        return cls(*read_dictionary(Path(path)))


def refuse_unfit(dictionaries: Sequence[Dictionary]) -> None:
    """Refuse dictionaries that cannot be used together.

    Raises
    ------
    ConfigError
        If there is none, one is there twice, two have the same source name in whatever case, or they differ in rate or
        STFT; or if something else is among them.
    """
    refuse_other_type("dictionaries", dictionaries, Sequence[Dictionary])
    if not dictionaries:
        raise ConfigError("there are no dictionaries; expected one at least")
    (source, n_times), *_ = Counter(dictionary.source.casefold() for dictionary in dictionaries).most_common()
    if n_times > 1:
        alike = dict.fromkeys(each.source for each in dictionaries if each.source.casefold() == source)
        raise ConfigError(
            f"{n_times} dictionaries are of source {' and '.join(map(repr, alike))}; "
            "nothing tells apart two sources that sound the same, and two stems of one name would overwrite each "
            "other: give each source once, under its own name"
        )
    first = dictionaries[0]
    for other in dictionaries:
        if other.source.casefold() == RESIDUAL:
            raise ConfigError(f"a source is named {other.source!r}, the name of what no dictionary explains; rename it")
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
