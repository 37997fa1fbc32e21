"""Tensors in the user's cache, each file under the name of what it was computed from and a checksum of its content."""

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from torch import Tensor

from sepdict._core.cache import cache_folder, keep_latest
from sepdict._core.fs import write_atomically
from sepdict.dictionaries.tensor_file import TensorFileError, open_tensors
from sepdict.errors import ConfigError


def cached_tensors(prefix: str, key: str, like: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Load tensors that were kept, or None if there are none that are sound and whole.

    Parameters
    ----------
    prefix : str
        Of the file's name: what kind of tensors these are.
    key : str
        A checksum of everything that they depend on.
    like : mapping of str to Tensor
        Tensors of the names, types and shapes that are expected.
    """
    try:
        folder = cache_folder()
    except ConfigError:  # reported when something is to be kept
        return None
    expected = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in like.items()}
    for path in folder.glob(f"{prefix}-{key}-*.safetensors"):
        with contextlib.suppress(OSError, TensorFileError):  # damaged or foreign: compute anew
            with open_tensors(path) as file:
                tensors = file.read(expected)
            if path == _path_of(prefix, key, safetensors.torch.save(tensors)):
                with contextlib.suppress(OSError):  # a read-only folder will do
                    path.touch()
                return tensors
    return None


def keep_tensors(prefix: str, key: str, tensors: dict[str, Tensor], *, n_most: int) -> None:
    """Write tensors to the cache instead of those of the same key, for which there were reasons to compute new ones.

    Of all files of the prefix, the least recently used beyond so many are deleted.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    ConfigError
        If there is no such folder.
    """
    content = safetensors.torch.save(tensors)
    cache_folder().mkdir(parents=True, exist_ok=True)
    kept = _path_of(prefix, key, content)
    write_atomically(kept, content)
    for path in cache_folder().glob(f"{prefix}-{key}-*.safetensors"):
        if path != kept:
            path.unlink(missing_ok=True)
    keep_latest(f"{prefix}-*.safetensors", n_most)


def _path_of(prefix: str, key: str, content: bytes) -> Path:
    """Return a file name with the key and a checksum of the content, by which a flipped bit is noticed."""
    return cache_folder() / f"{prefix}-{key}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
