"""Safetensors files from untrusted sources.

No length in a file is used before the file is known to have as many bytes, and no tensor is read before all of them
have the names, types and shapes that the caller expects.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sepdict._core.fs import open_regular
from sepdict._core.names import visible
from sepdict.errors import SepdictError

if TYPE_CHECKING:  # headers are read without PyTorch, which takes seconds to load
    import torch
    from torch import Tensor

MAX_FILE_BYTES = 2**30  # 1 GiB; the lecture preset's dictionary has 13 MiB
MAX_HEADER_BYTES = 2**24  # 16 MiB: room for a card that names tens of thousands of recordings
DTYPES = {"torch.float32": "F32", "torch.uint8": "U8"}  # as a header names them
INVALID_JSON = (LookupError, TypeError, ValueError, AttributeError, RecursionError)  # raised by unexpected JSON

TensorSpec = tuple["torch.dtype", tuple[int, ...]]


class TensorFileError(SepdictError):
    """A file that is no safetensors file, or holds other tensors than expected."""


@dataclass(frozen=True)
class TensorFile:
    """An open file of which only the header has been read.

    Attributes
    ----------
    metadata : mapping of str to str
    shapes : mapping of str to tuple
        As in the file, unchecked: they need not be numbers.
    """

    metadata: Mapping[str, Any]
    shapes: Mapping[str, tuple[Any, ...]]
    _dtypes: Mapping[str, Any]
    _file: BinaryIO
    _header: bytes

    def read(self, expected: Mapping[str, TensorSpec]) -> "dict[str, Tensor]":
        """Read the tensors, if they are the expected ones.

        Raises
        ------
        TensorFileError
            If one is missing, too many, or of another type or shape.
        """
        import safetensors.torch

        known = {name: (DTYPES[str(dtype)], shape) for name, (dtype, shape) in expected.items()}
        for name in sorted(expected.keys() | self.shapes.keys()):
            if name not in known or (self._dtypes.get(name), self.shapes.get(name)) != known[name]:
                raise TensorFileError(f"damaged: {visible(name)[:100]} is not as its card describes it; copy it again")
        try:
            return safetensors.torch.load(self._header + self._file.read(MAX_FILE_BYTES))
        except safetensors.SafetensorError as error:
            raise TensorFileError(f"damaged ({visible(str(error))[:200]}); copy it again") from error


@contextlib.contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a regular file of bounded size and read its header.

    Raises
    ------
    OSError
        If it cannot be read.
    TensorFileError
        If it is too large, or no safetensors file.
    """
    with open_regular(path) as file:
        n_bytes, start = _n_bytes(file), file.read(8)
        if n_bytes > MAX_FILE_BYTES:
            raise TensorFileError(f"too large: {n_bytes} bytes; a dictionary has {MAX_FILE_BYTES} at most")
        n_header = int.from_bytes(start, "little")
        if n_header > MAX_HEADER_BYTES:
            raise TensorFileError("is no dictionary; expected a .safetensors file that sepdict has trained")
        if not 2 <= n_header <= n_bytes - len(start):
            raise TensorFileError("truncated, damaged or no dictionary file; expected one that sepdict has trained")
        header = file.read(n_header)
        try:
            entries = read_json(header.decode())
            metadata = entries.pop("__metadata__", {})
            dtypes = {name: entry["dtype"] for name, entry in entries.items()}
            shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
            n_left = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        except INVALID_JSON as error:
            raise TensorFileError("holds something else; expected a sepdict dictionary") from error
        if n_bytes != len(start) + n_header + n_left:
            raise TensorFileError("truncated or damaged: its header speaks of more or fewer bytes; copy it again")
        yield TensorFile(metadata, shapes, dtypes, file, start + header)


def read_json(text: str) -> Any:
    """Read JSON without NaN and infinities; anything else raises one of `INVALID_JSON`."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    return json.loads(text, parse_constant=refuse)


def _n_bytes(file: BinaryIO) -> int:
    """Return the size of an open file."""
    return os.fstat(file.fileno()).st_size
