"""Metadata chunks of WAV, RF64 and BW64 files: read within bounds, and appended."""

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

FORMS = (b"RIFF", b"RF64", b"BW64")
MOST_BYTES = 2**20  # of a chunk: more is no description of a sound
MOST_CHUNKS = 1000
ALL_ONES = 0xFFFFFFFF  # the size of what a 64-bit chunk measures, or of a stream's data
MASK_AT = 20  # in a format chunk, which is extensible from 40 bytes on
EXTENSIBLE = 0xFFFE


def read_chunks(path: Path, wanted: Sequence[bytes]) -> tuple[dict[bytes, bytes], list[str]]:
    """Read the first chunk of each kind; a file that is no WAV has none.

    Parameters
    ----------
    path : Path
    wanted : sequence of bytes
        Identifiers, and types of lists such as ``b"INFO"``.

    Returns
    -------
    chunks : mapping of identifier to content
        Of a list, without its type.
    notes : list of str
        Names and sizes of chunks that are too large.
    """
    chunks: dict[bytes, bytes] = {}
    notes: list[str] = []
    with path.open("rb") as file:
        n_bytes, head = os.fstat(file.fileno()).st_size, file.read(12)
        if head[:4] not in FORMS or head[8:] != b"WAVE":
            return chunks, notes
        n_data = ALL_ONES
        for _ in range(MOST_CHUNKS):
            header = file.read(8)
            if len(header) < 8:
                break
            kind, size = struct.unpack("<4sI", header)
            if kind == b"data" and size == ALL_ONES:
                size = n_data
            ends = file.tell() + size
            if ends > n_bytes:  # cut short, or a stream's: nothing behind it can be found
                break
            if kind == b"ds64" and size >= 16:
                (n_data,) = struct.unpack("<8xQ", file.read(16))
            name = file.read(4) if kind == b"LIST" and size >= 4 else kind
            if name in wanted and name not in chunks:
                if size > MOST_BYTES:
                    notes.append(f"{_printed(name)} has {size} bytes, more than {MOST_BYTES}")
                else:
                    chunks[name] = file.read(ends - file.tell())
            file.seek(ends + size % 2)
    return chunks, notes


def split_list(content: bytes) -> list[tuple[bytes, bytes]]:
    """Split a list chunk into the chunks inside; stop at one that does not fit."""
    parts: list[tuple[bytes, bytes]] = []
    at = 0
    while at + 8 <= len(content) and len(parts) < MOST_CHUNKS:
        kind, size = struct.unpack_from("<4sI", content, at)
        if at + 8 + size > len(content):
            break
        parts.append((kind, content[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return parts


def chunk(kind: bytes, content: bytes) -> bytes:
    """Make a chunk: a header, the content, and padding to an even number of bytes."""
    return struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)


def list_chunk(kind: bytes, parts: Mapping[bytes, bytes] | Sequence[tuple[bytes, bytes]]) -> bytes:
    """Make a list chunk of chunks; no bytes for an empty list."""
    inside = b"".join(chunk(*part) for part in (parts.items() if isinstance(parts, Mapping) else parts))
    return chunk(b"LIST", kind + inside) if inside else b""


def read_channel_mask(format_chunk: bytes) -> int | None:
    """Read the channel mask (loudspeaker positions) of an extensible format chunk."""
    if len(format_chunk) < 40 or struct.unpack_from("<H", format_chunk)[0] != EXTENSIBLE:
        return None
    return int(struct.unpack_from("<I", format_chunk, MASK_AT)[0])


def append_chunks(file: BinaryIO, chunks: bytes) -> None:
    """Append chunks to a WAV or RF64 file that is open for reading and writing, and update the size in its header."""
    file.seek(0, os.SEEK_END)
    file.write(b"\0" * (file.tell() % 2) + chunks)
    n_bytes = file.tell() - 8  # the header and its size do not count
    file.seek(0)
    if file.read(4) == b"RIFF":
        file.write(struct.pack("<I", n_bytes))
    else:  # the first chunk, which has the sizes of 64 bits
        file.seek(20)
        file.write(struct.pack("<Q", n_bytes))


def write_channel_mask(file: BinaryIO, mask: int) -> None:
    """Write the channel mask into a file open for reading and writing, if its format chunk has a field for it."""
    file.seek(12)
    while len(header := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        if kind == b"fmt ":
            if size >= 40:
                file.seek(MASK_AT, os.SEEK_CUR)
                file.write(struct.pack("<I", mask))
            return
        file.seek(size + size % 2, os.SEEK_CUR)


def _printed(name: bytes) -> str:
    """Return an identifier as text."""
    return name.decode("latin-1").strip()
