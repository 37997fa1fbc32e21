"""Lengths of audio files: the size that a header gives, compared with the bytes that are present. Nothing is decoded.

Many programs write wrong sizes: zero or all ones into a pipe, or none at all when the power fails.
"""

import functools
import itertools
import logging
import mmap
import os
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sepdict.errors import AudioFileError

log = logging.getLogger(__name__)

FEW_BYTES = 512  # a header may be off by so much: some 3 ms of a CD's sound
AT_ONCE = 2**20  # bytes read of a file
MOST_CHUNKS = 10_000  # of a container; a program that writes more does not exist
SAMPLES_PER_BYTE = 65535 / 9  # FLAC's longest block in its smallest frame; no other format packs as much
CHUNK_NAME = re.compile(rb"[A-Za-z0-9 _-]{4}")
WELL_KNOWN = {b"LIST", b"INFO", b"FACT", b"PEAK", b"JUNK", b"BEXT", b"IXML", b"CUE ", b"SMPL", b"ID3 "}  # cut ones, too
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICS")  # what other programs put behind the sound
OGG_FIRST_PAGE = re.compile(rb"OggS\0[\x02\x03\x06\x07]")
OGG_LAST, OGG_HEADER = 4, 27  # the flag of a stream's last page; a page's bytes before its table of segments
LONG_UNKNOWN = 2**62  # a count of 64 bits that means "to the end"
SHORT_UNKNOWN = (range(0x7F000000, 0x80010000), range(0xFFFF0000, 2**32))  # of 32 bits, as ffmpeg, SoX and ALSA write


@dataclass(frozen=True)
class _Layout:
    """The layout of chunks in a container format."""

    n_header: int  # bytes before the first chunk
    n_name: int  # bytes
    form: str  # of sizes, as `struct` has it
    step: int  # chunks begin at multiples of so many bytes
    sound: bytes  # the name of the chunk that holds it
    n_counted: int = 0  # bytes of a chunk's own header that its size includes

    @property
    def n_chunk_header(self) -> int:
        """Number of bytes of a chunk's name and size."""
        return self.n_name + struct.calcsize(self.form)


LAYOUTS = {  # by what a file begins with
    b"RIFF": _Layout(12, 4, "<I", 2, b"data"),
    b"RIFX": _Layout(12, 4, ">I", 2, b"data"),
    b"RF64": _Layout(12, 4, "<I", 2, b"data"),
    b"FORM": _Layout(12, 4, ">I", 2, b"SSND"),
    b"caff": _Layout(8, 4, ">q", 1, b"data"),
    b"riff": _Layout(40, 16, "<q", 8, b"data", n_counted=24),  # Sony's Wave64
}


@dataclass(frozen=True)
class DataSize:
    """Number of bytes of sound: as the header gives it, and as the file holds it.

    Attributes
    ----------
    counted, there : int
        Bytes.
    place : int
        Position of the number in the file.
    form : str
        Its format, as `struct` writes it.
    extra : int
        Bytes that the number includes beside the sound.
    """

    counted: int
    there: int
    place: int
    form: str
    extra: int = 0

    @property
    def is_unknown(self) -> bool:
        """True for a placeholder of programs that do not know the size when they write the header."""
        if struct.calcsize(self.form) == 8:
            return not 0 <= self.counted < LONG_UNKNOWN
        return any(self.counted in each for each in SHORT_UNKNOWN)

    @property
    def is_misread(self) -> bool:
        """True if libsndfile, which trusts the header, would not read all of the sound.

        A size that is too large does no harm, except in big-endian formats.
        """
        return self.counted < self.there or (self.counted > self.there and self.form.startswith(">"))


def find_data_size(path: Path) -> DataSize | None:
    """Find the number of bytes of sound in a WAV, AIFF, CAF, RF64, W64 or AU; return None for any other file.

    All bytes to the end of the file are sound where the header gives zero or all ones, as programs write into a pipe,
    or where neither another chunk nor the end of the file follows, as after a loss of power.

    Raises
    ------
    AudioFileError
        If the file is cut short: its header counts more sound than there is.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head.startswith(b".snd") and len(head) == 12:
            start, counted = struct.unpack(">II", head[4:])
            count: DataSize | None = _held_against(file, DataSize(counted, 0, 8, ">I"), start)
        elif layout := LAYOUTS.get(head[:4]):
            count = _chunk_count(file, layout)
        else:
            count = None
    if count and count.counted > count.there + FEW_BYTES and not count.is_unknown:
        what = f"its header promises {count.counted} bytes, {count.there} are there"
        raise cut_short_error(path, what)
    return count


def _chunk_count(file: BinaryIO, layout: _Layout) -> DataSize | None:
    """Find the size of the chunk that holds the sound; in an RF64 it stands in another chunk before it, in 64 bits."""
    long = None
    for name, start, counted in _chunks(file, layout, layout.n_header):
        if name.startswith(b"ds64"):
            file.seek(start + 8)
            long = DataSize(int.from_bytes(file.read(8), "little", signed=True), 0, start + 8, "<q")
        if name.startswith(layout.sound):
            place = start - struct.calcsize(layout.form)
            short = DataSize(counted, 0, place, layout.form, layout.n_counted)
            return _held_against(file, long if long and short.is_unknown else short, start, layout)
    return None


def _held_against(file: BinaryIO, count: DataSize, start: int, layout: _Layout | None = None) -> DataSize:
    """Complete a size with the number of bytes of sound that the file holds from ``start`` on."""
    rest = max(0, os.fstat(file.fileno()).st_size - start)
    believed = 0 <= count.counted <= rest and _ends_at(file, layout, start, count.counted)
    there = count.counted if believed else rest
    return DataSize(count.counted, there, count.place, count.form, count.extra)


def _ends_at(file: BinaryIO, layout: _Layout | None, start: int, counted: int) -> bool:
    """Return True if sound of this size is followed by another chunk, a tag, zeros, or nearly the end of the file."""
    end = os.fstat(file.fileno()).st_size
    for position in {start + counted, start + counted + _padding(layout, counted)}:
        file.seek(position)
        if end - position <= FEW_BYTES or file.read(8).startswith(TAGS):
            return True
        if layout and _is_chunk(file, layout, position):
            return True
    file.seek(start + counted)
    return not any(piece.strip(b"\0") for piece in iter(lambda: file.read(AT_ONCE), b""))


def _is_chunk(file: BinaryIO, layout: _Layout, position: int) -> bool:
    """Return True if a chunk begins here, not samples that look like letters: its name is known, or its size fits."""
    end = os.fstat(file.fileno()).st_size
    for name, start, counted in _chunks(file, layout, position):
        return name[:4].upper() in WELL_KNOWN or start + counted <= end
    return False


def _chunks(file: BinaryIO, layout: _Layout, position: int) -> Iterator[tuple[bytes, int, int]]:
    """Iterate over chunks: the name of each, the position of its content, and its size in bytes."""
    end = os.fstat(file.fileno()).st_size
    for _ in range(MOST_CHUNKS):
        file.seek(min(position, end))
        header = file.read(layout.n_chunk_header)
        if len(header) < layout.n_chunk_header or not CHUNK_NAME.match(header):
            return
        (size,) = struct.unpack(layout.form, header[layout.n_name :])
        counted, position = size - layout.n_counted, position + layout.n_chunk_header
        yield header[: layout.n_name], position, counted
        if counted < 0:
            return
        position += counted + _padding(layout, counted)


def _padding(layout: _Layout | None, counted: int) -> int:
    """Return the number of padding bytes between a chunk and the next."""
    return -counted % layout.step if layout else 0


def repaired_copy(path: Path, target: Path, count: DataSize) -> None:
    """Copy a file, and correct the size in the header of the copy.

    Raises
    ------
    AudioFileError
        If the header has no room for so large a size.
    """
    try:
        written = struct.pack(count.form, count.there + count.extra)
    except struct.error as error:
        what = f"its header counts {count.counted} bytes, {count.there} are there, more than it can count"
        raise AudioFileError(f"{path}: {what}; mend it, or convert it to RF64") from error
    shutil.copyfile(path, target)
    with target.open("r+b") as file:
        file.seek(count.place)
        file.write(written)


def is_single_stream(path: Path) -> bool:
    """Return True if an Ogg file holds one stream, False if it holds several, one after another.

    Raises
    ------
    AudioFileError
        If it is cut short: its last page is not whole.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        page = content.rfind(b"OggS\0")
        n_segments = content[page + OGG_HEADER - 1] if page + OGG_HEADER <= len(content) else 0
        end = page + OGG_HEADER + n_segments
        end += sum(content[page + OGG_HEADER : end])
        if end > len(content):
            raise cut_short_error(path, f"its last page lacks {end - len(content)} bytes")
        if not content[page + 5] & OGG_LAST:
            warn_once(f"{path}: does not say where it ends; it may be cut short")
        return len(list(itertools.islice(OGG_FIRST_PAGE.finditer(content), 2))) == 1


def has_complete_table(path: Path) -> bool:
    """Return True if an MP3 begins with a table (Xing, Info) that covers all of its sound.

    Raises
    ------
    AudioFileError
        If it is cut short: the table covers more bytes than the file has.
    """
    with path.open("rb") as file:
        start = tag_size(file)
        file.seek(start)
        head = file.read(64)  # a frame's header, its side information and the table's first words
        table = re.search(rb"(?:Xing|Info)(...[\x02\x03\x06\x07\x0a\x0b\x0e\x0f])", head, re.DOTALL)
        if table is None:
            return False
        place = table.end() + (4 if table[1][3] & 1 else 0)  # the number of frames comes before that of bytes
        counted = int.from_bytes(head[place : place + 4], "big")
        there = os.fstat(file.fileno()).st_size - start
        if counted > there + FEW_BYTES:
            raise cut_short_error(path, f"its header promises {counted} bytes, {there} are there")
        file.seek(start + counted)
        return there - counted <= FEW_BYTES or file.read(8).startswith(TAGS)


def tag_size(file: BinaryIO) -> int:
    """Return the number of bytes of an ID3 tag at the beginning of a file."""
    file.seek(0)
    head = file.read(10)
    if len(head) < 10 or not head.startswith(b"ID3"):
        return 0
    size = functools.reduce(lambda total, byte: total << 7 | byte & 0x7F, head[6:], 0)  # seven bits a byte
    return 10 + size + (10 if head[5] & 0x10 else 0)  # the flag of a footer


def is_plausible_length(n_samples: int, path: Path) -> bool:
    """Return True if a file of this size can hold so many samples."""
    return n_samples <= SAMPLES_PER_BYTE * path.stat().st_size


@functools.lru_cache(maxsize=1000)
def warn_once(message: str) -> None:
    """Log a warning once, however often the file is opened."""
    log.warning("%s", message)


def cut_short_error(path: Path, what: str) -> AudioFileError:
    """Make the error of a file that is cut short, given what is promised and what is there."""
    return AudioFileError(f"{path}: cut short: {what}; copy it again")
