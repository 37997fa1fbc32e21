"""The dictionary file: written whole or not at all, and checked in every part before it is used.

The file is safetensors: tensors that load without running code, and in its header one entry of JSON with the format's
version, the card, and a checksum over all of it. A file is read in this order, and refused at the first fault:

    its size and header      `tensor_file`
    version, card            `card.SCHEMA`
    tensors                  names, types and shapes must be those that the card implies; then the checksum
    weights                  finite, and able to decode and encode
"""

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict._core.fs import write_atomically
from sepdict._core.schema import refuse_other_keys
from sepdict.dictionaries.card import FILE_NAMES, SCHEMA, Card
from sepdict.dictionaries.header import FORMAT, FORMAT_VERSION, read_entry
from sepdict.dictionaries.tensor_file import MAX_FILE_BYTES, MAX_HEADER_BYTES, TensorFileError, TensorSpec, open_tensors
from sepdict.errors import ConfigError, DictionaryFileError
from sepdict.models.autoencoder import Autoencoder, build_autoencoder
from sepdict.models.layers import is_finite
from sepdict.spectral.bands import n_bands
from sepdict.spectral.stft import spectral_shape

EXEMPLARS = FILE_NAMES["exemplars"]
N_TRIAL_FRAMES = 8
EXTREME = 100.0  # far beyond a fit's excitations, which stay within a few deviations


def write_dictionary(path: Path, card: Card, network: Autoencoder, exemplars: Tensor) -> None:
    """Write a dictionary file, whole or not at all.

    Raises
    ------
    DictionaryFileError
        If the network cannot be used, the file would be too large, or it cannot be written.
    """
    fault = _find_fault(network)
    if fault:
        raise DictionaryFileError(f"{path}: is not written, for {fault}; train it again, at a lower rate")
    tensors = {name: tensor.contiguous() for name, tensor in _tensors(network, exemplars).items()}
    entry = {"format_version": FORMAT_VERSION, "card": asdict(card), "sha256": checksum(asdict(card), tensors)}
    # One entry only: safetensors writes several in random order, and equal dictionaries should be equal files.
    content = safetensors.torch.save(tensors, {FORMAT: json.dumps(entry, sort_keys=True, allow_nan=False)})
    if len(content) > MAX_FILE_BYTES or int.from_bytes(content[:8], "little") > MAX_HEADER_BYTES:
        raise DictionaryFileError(f"{path}: would have {len(content)} bytes, which is too large; train a smaller one")
    try:
        write_atomically(path, content)
    except OSError as error:
        raise DictionaryFileError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def read_dictionary(path: Path) -> tuple[Card, Autoencoder, Tensor]:
    """Read the card, the network and the exemplars, without running any code from the file.

    Raises
    ------
    DictionaryFileError
        If the file is missing, too large, truncated, damaged, not a dictionary, or of another format; or if its network
        cannot be used.
    """
    try:
        with open_tensors(path) as file:
            card, written_checksum = _read_card(path, file.metadata)
            network = _empty_network(card)
            tensors = file.read(_expected_tensors(card, network, file.shapes.get(EXEMPLARS)))
    except OSError as error:
        why = error.strerror or error
        raise DictionaryFileError(f"{path}: cannot be read ({why}); expected a dictionary file") from error
    except TensorFileError as error:
        raise DictionaryFileError(f"{path}: {error}") from error
    if written_checksum != checksum(asdict(card), tensors):
        raise DictionaryFileError(f"{path}: damaged: its content does not match its checksum; copy it again")
    exemplars = tensors.pop(EXEMPLARS, torch.empty(0, 0, dtype=torch.uint8))
    network.load_state_dict(tensors, assign=True)
    fault = _find_fault(network)
    if fault:
        raise DictionaryFileError(f"{path}: damaged: {fault}; train it again")
    return card, network, exemplars


def checksum_of(card: Card, network: Autoencoder, exemplars: Tensor) -> str:
    """Compute the SHA-256 of everything in a dictionary, as its file has it."""
    return checksum(asdict(card), _tensors(network, exemplars))


def refuse_too_large(card: Card) -> None:
    """Refuse a dictionary with too many weights for a file, before anything is trained.

    Raises
    ------
    ConfigError
    """
    n_bytes = sum(weight.nbytes for weight in _empty_network(card).state_dict().values())
    if n_bytes > MAX_FILE_BYTES / 2:  # the other half is for the exemplars
        raise ConfigError(
            f"the dictionary would have {n_bytes / 2**20:.0f} MiB of weights; expected {MAX_FILE_BYTES // 2**21} at "
            "most: use narrower layers, fewer templates or a shorter window"
        )


def _read_card(path: Path, metadata: Any) -> tuple[Card, str]:
    """Read the card, every field checked, and the checksum."""
    version, fields, sha256 = read_entry(path, metadata).values()
    if type(version) is not int:
        raise DictionaryFileError(f"{path}: holds something else; expected a sepdict dictionary")
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


def _expected_tensors(
    card: Card, network: Autoencoder, exemplars_shape: tuple[Any, ...] | None
) -> dict[str, TensorSpec]:
    """List the tensors that a card implies; exemplars, which a file need not have, are of any length above 0."""
    expected: dict[str, TensorSpec] = {
        name: (torch.float32, tuple(weight.shape)) for name, weight in network.state_dict().items()
    }
    if exemplars_shape is not None:
        n_frames = exemplars_shape[1] if len(exemplars_shape) == 2 and type(exemplars_shape[1]) is int else 1
        expected[EXEMPLARS] = torch.uint8, (n_bands(card.stft.n_bins), max(1, n_frames))
    return expected


def _empty_network(card: Card) -> Autoencoder:
    """Build the network that a card describes on PyTorch's meta device, where nothing is allocated."""
    with torch.device("meta"):
        return build_autoencoder(card.network, card.stft.n_bins)


def _tensors(network: Autoencoder, exemplars: Tensor) -> dict[str, Tensor]:
    """Collect the network's weights and the exemplars, if there are any, by their names in the file."""
    named = network.state_dict() | ({EXEMPLARS: exemplars} if exemplars.numel() else {})
    return {name: tensor.detach().cpu() for name, tensor in named.items()}


@torch.no_grad()
def _find_fault(network: Autoencoder) -> str | None:
    """Decode usual and extreme codes and encode noise; return what is wrong, or None."""
    if not is_finite(network):
        return "some weights are not finite"
    generator, device = seeded_generator(0), network.code_mean.device
    usual = torch.randn(network.config.code_size, N_TRIAL_FRAMES, generator=generator)
    noise = torch.rand(network.n_bins, N_TRIAL_FRAMES, generator=generator)
    decoded = network.decode(torch.cat([usual, EXTREME * usual], dim=1).to(device))
    code = network.encode(spectral_shape(noise.to(device)))
    if not (decoded.isfinite().all() and (decoded >= 0).all() and ((decoded.mean(dim=0) - 1).abs() < 0.1).all()):
        return "its decoder does not return spectra"
    return None if code.isfinite().all() else "its encoder returns codes that are not finite"


def checksum(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of a card's fields and of tensors: safetensors itself does not notice a flipped bit."""
    shapes = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}
    digest = hashlib.sha256(json.dumps([FORMAT, FORMAT_VERSION, card, shapes], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
