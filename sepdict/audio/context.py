"""Metadata of a recording: read from its file, and written into the files of its stems.

Channel mask, time of day (Broadcast Wave), cue points, GUANO metadata of field recordings, and tags such as the title.
Damaged metadata never stops a separation: it is noted and left out.
"""

import contextlib
import logging
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import soundfile

from sepdict.audio.ffmpeg import layout_and_tags
from sepdict.audio.riff import (
    append_chunks,
    chunk,
    list_chunk,
    read_channel_mask,
    read_chunks,
    split_list,
    write_channel_mask,
)
from sepdict.audio.tags import Tags, read_flac_tags, write_flac_tags, write_id3

log = logging.getLogger(__name__)

INFO_NAMES = {
    **{b"INAM": "title", b"IART": "artist", b"IPRD": "album", b"ICRD": "date", b"ICMT": "comment", b"IGNR": "genre"},
    **{b"ITRK": "tracknumber", b"IPRT": "tracknumber", b"ICOP": "copyright", b"ISFT": "software"},
    **{b"IENG": "engineer", b"IKEY": "keywords", b"ISBJ": "subject", b"ISRC": "source", b"ITCH": "technician"},
    **{b"IMED": "medium", b"IARL": "archive", b"ILNG": "language", b"IWRI": "writer", b"ICMS": "commissioner"},
}
INFO_KINDS = {name: kind for kind, name in reversed(INFO_NAMES.items())}
SOUNDFILE_TAGS = ("title", "copyright", "artist", "comment", "date", "album", "license", "tracknumber", "genre")
OF_THE_MIXTURE = re.compile("software|encoder|encoded_by|replaygain_.*|r128_.*")  # tags that are wrong for stems
PICTURES = ("metadata_block_picture", "coverart")
FLAC_MASK = "waveformatextensible_channel_mask"
FLAC_LAYOUTS = {3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x70F, 8: 0x63F}  # where a file does not say otherwise: RFC 9639
FFMPEG_LAYOUTS = {
    **{"2.1": 0xB, "3.0": 0x7, "3.1": 0xF, "4.0": 0x107, "4.1": 0x10F, "quad": 0x33, "quad(side)": 0x603},
    **{"5.0": 0x37, "5.0(side)": 0x607, "5.1": 0x3F, "5.1(side)": 0x60F, "6.0": 0x707, "6.1": 0x70F},
    **{"7.0": 0x637, "7.1": 0x63F},
}
OF_FFMPEG = {"track": "tracknumber"}
OF_CONTAINERS = re.compile("major_brand|minor_version|compatible_brands|handler_name|vendor_id|language|duration.*")
BEXT = struct.Struct("<256s32s32s10s8sQH64s10s")  # EBU Tech 3285; behind it room for more, and how it was encoded
BEXT_BYTES = 602  # without the latter
LOUDNESS_IN_BEXT, NO_LOUDNESS = slice(412, 422), struct.pack("<5H", *[0x7FFF] * 5)  # of the mixture, not of a stem
CUE = struct.Struct("<II4sIII")
REGION = struct.Struct("<II4s4H")  # a cue's length; of what: a purpose, and where it is spoken, all of which may be 0
MOST_CUES = 10_000

T = TypeVar("T")


@dataclass(frozen=True)
class Cue:
    """A marked moment.

    Attributes
    ----------
    sample : int
    label, note : str
    n_samples : int
        Its duration; 0 for a moment.
    """

    sample: int
    label: str = ""
    note: str = ""
    n_samples: int = 0


@dataclass(frozen=True)
class Context:
    """Metadata of a recording.

    Attributes
    ----------
    channel_mask : int or None
        Loudspeakers of the channels, in the bits of WAVEFORMATEXTENSIBLE.
    bext : bytes
        The bext chunk of a Broadcast Wave file; empty where there is none.
    cues : tuple of Cue
    guano : str
        Metadata of a field recording, one ``Name: value`` a line.
    tags : tuple of (str, str)
        Names, in lower case, and values.
    notes : tuple of str
        Damaged parts that were left out.
    """

    channel_mask: int | None = None
    bext: bytes = b""
    cues: tuple[Cue, ...] = ()
    guano: str = ""
    tags: Tags = ()
    notes: tuple[str, ...] = ()

    def of_span(self, span: slice, sample_rate: int) -> "Context":
        """Return the metadata of a part of the sound: times are shifted, and cues outside of it left out."""
        bext = self.bext
        if bext:
            reference = min(_time_reference(bext) + span.start, 2**64 - 1)
            bext = bext[:338] + struct.pack("<Q", reference) + bext[346:]
        n_samples = span.stop - span.start
        cues = (replace(cue, sample=cue.sample - span.start) for cue in self.cues)
        inside = [
            replace(cue, n_samples=min(cue.n_samples, n_samples - cue.sample))
            for cue in cues
            if 0 <= cue.sample <= n_samples
        ]
        guano = _guano_of_part(self.guano, span.start / sample_rate, n_samples / sample_rate)
        tags = tuple(
            (name, _later(value, span.start) if name == "time_reference" else value) for name, value in self.tags
        )
        return replace(self, bext=bext, cues=tuple(inside), guano=guano, tags=tags)

    def as_dict(self) -> dict[str, Any]:
        """Return all that is not empty, for `to_json`."""
        facts: dict[str, Any] = {"channel_mask": self.channel_mask, "broadcast": _broadcast(self.bext)}
        facts |= {"cues": [asdict(cue) for cue in self.cues], "guano": self.guano, "tags": _joined(self.tags)}
        facts["not_read"] = list(self.notes)
        return {name: value for name, value in facts.items() if value is not None and value not in ("", [], {})}

    def container(self, container: str, *, n_channels: int) -> str:
        """Return libsndfile's container with room for the channel mask, where there is one."""
        return "WAVEX" if container == "WAV" and self.channel_mask is not None and n_channels > 2 else container

    @property
    def n_bytes(self) -> int:
        """Upper bound of the number of bytes that the metadata adds to a WAV file."""
        return len(self._chunks())

    def tag(self, file: soundfile.SoundFile) -> None:
        """Set the tags of an Ogg file that is open for writing; they come before its samples."""
        if file.format == "OGG":
            for name, value in _joined(self.tags).items():
                if name in SOUNDFILE_TAGS:
                    with contextlib.suppress(soundfile.SoundFileError):
                        setattr(file, name, value)

    @contextlib.contextmanager
    def written_into(self, descriptor: int, container: str, *, sample_rate: int) -> Iterator[None]:
        """Write what the format can hold into the file that the ``with`` block has written and closed."""
        yield
        with open(descriptor, "r+b", closefd=False) as file:
            if container in ("WAV", "WAVEX", "RF64"):
                if self.channel_mask is not None:
                    write_channel_mask(file, self.channel_mask)
                if chunks := self._chunks():
                    append_chunks(file, chunks)
            elif container == "FLAC" and (comments := (*self._texts(), *self._comments(sample_rate))):
                write_flac_tags(file, comments)
            elif container == "MP3" and (texts := self._texts()):
                write_id3(file, texts)

    def _texts(self) -> Tags:
        """Collect everything that fits into tags, under ffmpeg's names."""
        tags = [(name, value) for name, value in self.tags if not OF_THE_MIXTURE.fullmatch(name)]
        tags += [(name, str(value)) for name, value in (_broadcast(self.bext) or {}).items() if value != ""]
        return (*tags, *([("guano", self.guano)] if self.guano else []))

    def _chunks(self) -> bytes:
        """Build all metadata chunks of a WAV file."""
        chunks = chunk(b"bext", _without_loudness(self.bext)) if self.bext else b""
        if self.cues:
            entries = [CUE.pack(n, cue.sample, b"data", 0, 0, cue.sample) for n, cue in enumerate(self.cues, 1)]
            chunks += chunk(b"cue ", struct.pack("<I", len(entries)) + b"".join(entries))
            chunks += list_chunk(b"adtl", [part for n, cue in enumerate(self.cues, 1) for part in _words(n, cue)])
        chunks += chunk(b"guan", self.guano.encode()) if self.guano else b""
        kinds = {
            INFO_KINDS.get(name, name.encode(errors="replace")): value for name, value in _joined(self.tags).items()
        }
        info = {
            kind: value.encode() + b"\0"
            for kind, value in kinds.items()
            if re.fullmatch(rb"[A-Z0-9]{4}", kind) and not OF_THE_MIXTURE.fullmatch(INFO_NAMES.get(kind, ""))
        }
        return chunks + list_chunk(b"INFO", info)

    def _comments(self, sample_rate: int) -> Tags:
        """Build the comments that only FLAC has: the channel mask, and cues as chapters."""
        comments = [] if self.channel_mask is None else [(FLAC_MASK, f"0x{self.channel_mask:04X}")]
        for number, cue in enumerate(self.cues, 1):
            minutes, seconds = divmod(cue.sample / sample_rate, 60)
            time = f"{int(minutes) // 60:02}:{int(minutes) % 60:02}:{seconds:06.3f}"
            comments += [(f"chapter{number:03}", time)]
            comments += [(f"chapter{number:03}name", cue.label)] if cue.label else []
        return tuple(comments)


NOTHING = Context()


def read_context(path: Path) -> Context:
    """Read the metadata of a file; damaged parts are left out, noted and logged.

    Parameters
    ----------
    path : Path
        A readable file.
    """
    notes: list[str] = []

    def attempt(what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except (OSError, ValueError, LookupError, OverflowError, struct.error, soundfile.SoundFileError) as error:
            notes.append(f"{what} cannot be read ({error})")
            return otherwise

    wanted = (b"fmt ", b"bext", b"cue ", b"adtl", b"guan", b"INFO")
    chunks: dict[bytes, bytes] = {}
    chunks, passed_over = attempt("its chunks", lambda: read_chunks(path, wanted), (chunks, list[str]()))
    notes += passed_over
    if chunks:
        no_cues: tuple[Cue, ...] = ()
        bext = attempt("bext", lambda: _checked(chunks.get(b"bext", b"")), b"")
        cues = attempt("cue", lambda: _cues(chunks.get(b"cue ", b""), chunks.get(b"adtl", b"")), no_cues)
        guano = chunks.get(b"guan", b"").decode(errors="replace").strip("\0")
        tags = _tags_in(chunks.get(b"INFO", b""))
        context = Context(read_channel_mask(chunks.get(b"fmt ", b"")), bext, cues, guano, tags)
    elif (said := _said_by_soundfile(path)) is None:
        context = _said_by_ffprobe(path)
    else:
        no_comments: Tags | None = None
        n_channels, sample_rate, tags = said
        comments = attempt("its comments", lambda: read_flac_tags(path), no_comments)
        context = Context(tags=tags)
        if comments is not None:
            context = _of_comments(comments, n_channels, sample_rate)
    for note in notes:
        log.warning("%s: %s; the stems go without it", path, note)
    return replace(context, notes=tuple(notes))


def _said_by_soundfile(path: Path) -> tuple[int, int, Tags] | None:
    """Read number of channels, sample rate and tags by libsndfile; None if it cannot read the file."""
    try:
        with soundfile.SoundFile(path) as file:
            pairs = ((name, str(getattr(file, name))) for name in SOUNDFILE_TAGS)
            return file.channels, file.samplerate, tuple((name, value) for name, value in pairs if value)
    except (soundfile.SoundFileError, TypeError, UnicodeError, OSError):  # TypeError: raw samples, no header
        return None


def _said_by_ffprobe(path: Path) -> Context:
    """Read channel layout and tags by ffprobe."""
    layout, tags = layout_and_tags(path)
    named = ((OF_FFMPEG.get(name, name), value) for name, value in tags.items() if not OF_CONTAINERS.fullmatch(name))
    return Context(FFMPEG_LAYOUTS.get(layout), tags=tuple(named))


def _of_comments(comments: Tags, n_channels: int, sample_rate: int) -> Context:
    """Parse a FLAC file's comments: the reverse of `Context.written_into`."""
    said = dict(comments)
    mask = said.get(FLAC_MASK, "")
    known = re.fullmatch(r"0x[0-9a-fA-F]{1,8}", mask)
    cues = []
    for name, value in comments:
        time = re.fullmatch(r"(\d{1,4}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)", value)
        if re.fullmatch(r"chapter\d+", name) and time:
            seconds = 3600 * int(time[1]) + 60 * int(time[2]) + float(time[3])
            cues.append(Cue(round(seconds * sample_rate), said.get(f"{name}name", "")))
    taken = re.compile(rf"{FLAC_MASK}|guano|chapter\d+(name)?|{'|'.join(PICTURES)}")
    tags = tuple((name, value) for name, value in comments if not taken.fullmatch(name))
    channel_mask = int(mask, 16) if known else FLAC_LAYOUTS.get(n_channels)
    return Context(channel_mask, cues=tuple(cues), guano=said.get("guano", ""), tags=tags)


def _checked(bext: bytes) -> bytes:
    """Refuse a Broadcast Wave chunk that is shorter than its fixed fields."""
    if bext and len(bext) < BEXT_BYTES:
        raise ValueError(f"{len(bext)} bytes; expected {BEXT_BYTES} or more")
    return bext


def _without_loudness(bext: bytes) -> bytes:
    """Remove the loudness of the whole mixture, which the chunk has from version 2 on."""
    is_said = BEXT.unpack_from(bext)[6] >= 2
    return bext[: LOUDNESS_IN_BEXT.start] + NO_LOUDNESS + bext[LOUDNESS_IN_BEXT.stop :] if is_said else bext


def _time_reference(bext: bytes) -> int:
    """Return the start of a recording, in samples since midnight."""
    return int(BEXT.unpack_from(bext)[5])


def _later(time_reference: str, n_samples: int) -> str:
    """Shift the time in a tag, in samples; leave a value that is no number."""
    return str(int(time_reference) + n_samples) if re.fullmatch(r"\d{1,18}", time_reference) else time_reference


def _broadcast(bext: bytes) -> dict[str, Any] | None:
    """Return the fields of a Broadcast Wave chunk by name."""
    if not bext:
        return None
    names = ("description", "originator", "originator_reference", "origination_date", "origination_time")
    words = [_text(field) for field in BEXT.unpack_from(bext)[:5]]
    history = _text(bext[BEXT_BYTES:])
    return {**dict(zip(names, words, strict=True)), "time_reference": _time_reference(bext), "coding_history": history}


def _cues(content: bytes, adtl: bytes) -> tuple[Cue, ...]:
    """Read cue points with their labels, notes and durations."""
    if not content:
        return ()
    (n_cues,) = struct.unpack_from("<I", content)
    if n_cues > MOST_CUES or 4 + n_cues * CUE.size > len(content):
        raise ValueError(f"{n_cues} of them in {len(content)} bytes")
    words: dict[tuple[bytes, int], bytes] = {}
    for kind, part in split_list(adtl):
        if len(part) >= 4:
            words[kind, struct.unpack_from("<I", part)[0]] = part[4:]
    cues = []
    for number, _, _, _, _, sample in CUE.iter_unpack(content[4 : 4 + n_cues * CUE.size]):
        label, note = (_text(words.get((kind, number), b"")) for kind in (b"labl", b"note"))
        region = words.get((b"ltxt", number), b"")
        cues.append(Cue(sample, label, note, struct.unpack_from("<I", region)[0] if len(region) >= 4 else 0))
    return tuple(cues)


def _words(number: int, cue: Cue) -> Iterator[tuple[bytes, bytes]]:
    """Build the label, note and duration of a cue."""
    for kind, text in ((b"labl", cue.label), (b"note", cue.note)):
        if text:
            yield kind, struct.pack("<I", number) + text.encode() + b"\0"
    if cue.n_samples:
        yield b"ltxt", REGION.pack(number, cue.n_samples, b"rgn ", 0, 0, 0, 0)


def _tags_in(info: bytes) -> Tags:
    """Read the tags of an INFO list."""
    return tuple(
        (INFO_NAMES.get(kind, kind.decode("latin-1")), _text(value)) for kind, value in split_list(info) if _text(value)
    )


def _joined(tags: Tags) -> dict[str, str]:
    """Join the values of tags that have one name."""
    joined: dict[str, str] = {}
    for name, value in tags:
        joined[name] = f"{joined[name]}; {value}" if name in joined else value
    return joined


def _guano_of_part(guano: str, start_s: float, duration_s: float) -> str:
    """Shift the timestamp of GUANO metadata, and replace its length; leave the rest."""
    said = re.sub(r"(?m)^(Length:\s*)[\d.]+", lambda found: f"{found[1]}{duration_s:.3f}", guano)
    found = re.search(r"(?m)^Timestamp:\s*(\S.*?)\s*$", said)
    if found is None or not start_s:
        return said
    try:
        time = datetime.fromisoformat(found[1]) + timedelta(seconds=start_s)
    except (ValueError, OverflowError):
        return said[: found.start()] + said[found.end() :].lstrip("\n")  # none is better than a wrong one
    return said[: found.start(1)] + time.isoformat() + said[found.end(1) :]


def _text(content: bytes) -> str:
    """Decode text up to its first zero byte: UTF-8, or else Latin-1, as older programs write."""
    until_end = content.partition(b"\0")[0]
    try:
        return until_end.decode().strip()
    except UnicodeDecodeError:
        return until_end.decode("latin-1").strip()
