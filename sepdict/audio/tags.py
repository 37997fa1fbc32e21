"""Tags of FLAC and MP3 files: Vorbis comments are read and replaced, ID3 is written, all within bounds."""

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 2**20  # of one comment, and of all that are written
MOST_COMMENTS = 1000
VORBIS_COMMENT, LAST = 4, 0x80  # a metadata block's type, and its bit for the last one
AT_ONCE = 2**20
ID3_FRAMES = {
    **{"title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC", "genre": b"TCON"},
    **{"tracknumber": b"TRCK", "copyright": b"TCOP"},
}
UTF_8 = b"\x03"  # ID3's number for it

Tags = tuple[tuple[str, str], ...]
"""Names, in lower case, and values; a name may stand more than once."""


def read_flac_tags(path: Path) -> Tags | None:
    """Read a FLAC file's Vorbis comments; None if it is no FLAC file.

    Raises
    ------
    ValueError, struct.error
        If they are damaged.
    """
    with path.open("rb") as file:
        if file.read(4) != b"fLaC":
            return None
        for kind, start, size in _blocks(file):
            if kind == VORBIS_COMMENT:
                if size > MOST_BYTES:
                    raise ValueError(f"its comments have {size} bytes, more than {MOST_BYTES}")
                file.seek(start)
                return tuple(_comments(file.read(size)))
    return ()


def write_flac_tags(file: BinaryIO, tags: Iterable[tuple[str, str]]) -> None:
    """Replace the Vorbis comments of a whole FLAC file that is open for reading and writing."""
    file.seek(4)
    for kind, start, size in _blocks(file):
        if kind == VORBIS_COMMENT:
            file.seek(start)
            (n_vendor,) = struct.unpack("<I", file.read(4))
            vendor = file.read(n_vendor)
            texts = [f"{name.upper()}={value}".encode() for name, value in tags]
            content = _counted(vendor) + struct.pack("<I", len(texts)) + b"".join(map(_counted, texts))
            if len(texts) > MOST_COMMENTS or len(content) > MOST_BYTES:
                return
            _splice(file, start, start + size, content)
            file.seek(start - 3)
            file.write(struct.pack(">I", len(content))[1:])
            return


def write_id3(file: BinaryIO, tags: Iterable[tuple[str, str]]) -> None:
    """Write ID3 tags of version 2.4 at the start of an MP3 file that is open for reading and writing.

    libsndfile's own tags garble all letters beyond ASCII.
    """
    frames = b""
    for name, value in tags:
        text = UTF_8 + value.encode()
        if name == "comment":
            frames += _frame(b"COMM", UTF_8 + b"und\0" + value.encode())
        elif name in ID3_FRAMES:
            frames += _frame(ID3_FRAMES[name], text)
        else:
            frames += _frame(b"TXXX", UTF_8 + name.encode() + b"\0" + value.encode())
    file.seek(0)
    head = file.read(10)
    n_before = 10 + _unsafe(head[6:]) if head[:3] == b"ID3" else 0
    if frames and len(frames) <= MOST_BYTES:
        _splice(file, 0, n_before, b"ID3\x04\0\0" + _safe(len(frames)) + frames)


def _blocks(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """Iterate over the metadata blocks of a FLAC file: type, position of the content, and size of each."""
    is_last = False
    while not is_last and len(header := file.read(4)) == 4:
        is_last, kind, size = bool(header[0] & LAST), header[0] & ~LAST, int.from_bytes(header[1:], "big")
        start = file.tell()
        yield kind, start, size
        file.seek(start + size)


def _comments(content: bytes) -> Iterator[tuple[str, str]]:
    """Parse a block of Vorbis comments."""
    at = 4 + struct.unpack_from("<I", content)[0]  # behind who wrote it
    (n_comments,) = struct.unpack_from("<I", content, at)
    at += 4
    for _ in range(min(n_comments, MOST_COMMENTS)):
        (size,) = struct.unpack_from("<I", content, at)
        name, is_pair, value = content[at + 4 : at + 4 + size].decode(errors="replace").partition("=")
        at += 4 + size
        if at > len(content):
            raise ValueError("a comment is longer than all of them")
        if is_pair:
            yield name.lower(), value


def _counted(text: bytes) -> bytes:
    """Prefix a text with its length."""
    return struct.pack("<I", len(text)) + text


def _frame(kind: bytes, content: bytes) -> bytes:
    """Make an ID3 frame."""
    return kind + _safe(len(content)) + b"\0\0" + content


def _safe(size: int) -> bytes:
    """Write a size in four times seven bits, as ID3 does."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _unsafe(size: bytes) -> int:
    """Read a size of four times seven bits."""
    return sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))


def _splice(file: BinaryIO, start: int, end: int, content: bytes) -> None:
    """Replace the bytes from start to end by content, and move the bytes behind them."""
    n_bytes, shift = file.seek(0, os.SEEK_END), len(content) - (end - start)
    starts = range(end, n_bytes, AT_ONCE)
    for at in reversed(starts) if shift > 0 else starts:
        file.seek(at)
        moved = file.read(min(AT_ONCE, n_bytes - at))
        file.seek(at + shift)
        file.write(moved)
    file.truncate(n_bytes + shift)
    file.seek(start)
    file.write(content)
