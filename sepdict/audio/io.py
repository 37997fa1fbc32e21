"""Sound files, read whole or block by block; `writing` writes them.

`as_audio` stands at the entrance of every public function that takes a sound: paths and arrays become `Audio` there.
"""

import contextlib
import os
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import soundfile
import torch
from torch import Tensor

from sepdict._core.names import refusal_of_url
from sepdict._core.settings import Words, checks_types, refuse_other_type
from sepdict._core.times import format_time
from sepdict.audio.decoding import (
    NOT_FOR_SOUNDFILE,
    AudioInfo,
    SequentialFile,
    damaged_file_error,
    info_without_decoding,
    open_complete,
    read_block,
)
from sepdict.audio.discovery import find_audio_files
from sepdict.audio.lengths import cut_short_error
from sepdict.audio.parts import BEYOND_S, Part
from sepdict.audio.signal import Audio, Samples, refuse_not_finite
from sepdict.errors import AudioError, AudioFileError, ConfigError

EXPECTED = "Audio, the path of a file or (samples, sample_rate)"
AudioLike: TypeAlias = Annotated[Audio | str | Path | tuple[Samples, int], Words(EXPECTED)]
"""A sound, as public functions take it: `Audio`, the path of a file, or samples with their sample rate."""

PIECE = 2**18  # samples read at once
FLOATS = ("FLOAT", "DOUBLE")  # libsndfile's encodings that can hold NaN


class AudioReader:
    """An open audio file, read from front to back.

    Attributes
    ----------
    n_channels, n_samples, sample_rate : int
    name : str
        The file's name.
    """

    def __init__(self, path: Path, file: SequentialFile) -> None:
        self.path, self.name, self._file = path, path.name, file
        self.n_channels, self.n_samples, self.sample_rate = file.channels, file.frames, file.samplerate
        self._position = 0

    def blocks(self, spans: Iterable[slice]) -> Iterator[Audio]:
        """Read spans of samples, of which each begins and ends no earlier than the one before; they may overlap.

        Raises
        ------
        AudioFileError
            If the file is damaged or cut short, or holds NaN or infinite samples.
        """
        held = torch.zeros(self.n_channels, 0)
        for span in spans:
            if not self._position - held.shape[1] <= span.start <= self._position:
                self._seek(span.start)
                held = held[:, :0]
            new = self._read(span.stop - self._position)
            held = torch.cat([held, new], dim=1)[:, span.start - span.stop :]
            yield Audio(held, self.sample_rate, self.name)

    def _seek(self, position: int) -> None:
        """Move to a sample."""
        try:
            self._file.seek(position)
        except soundfile.SoundFileError as error:
            raise damaged_file_error(self.path, self._file) from error
        self._position = position

    def _read(self, n_samples: int) -> Tensor:
        """Read the next samples, (n_channels, n_samples), in pieces: a false length in a header takes no memory."""
        start, pieces = self._position, [torch.zeros(self.n_channels, 0)]
        while (n_missing := start + n_samples - self._position) > 0:
            piece = read_block(self.path, self._file, min(n_missing, PIECE))
            if not len(piece):
                promised_s, there_s = (n / self.sample_rate for n in (start + n_samples, self._position))
                what = f"it promises {promised_s:.1f} s, {there_s:.1f} s are there"
                raise cut_short_error(self.path, what)
            pieces.append(torch.from_numpy(piece.T))
            self._position += len(piece)
        read = torch.cat(pieces, dim=1)
        refuse_not_finite_in(read, self.path, self.sample_rate, start=start)
        return read


@contextlib.contextmanager
def open_audio(path: str | Path) -> Iterator[AudioReader]:
    """Open an audio file to read it block by block.

    Where the header's length may be wrong, the file is decoded first to find its true length. Sound that starts
    later than the picture of its video gets silence of that length in front.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, or cut short (an MP3 without a table does not show that).
    """
    path = _existing_file(path)
    with open_complete(path) as file:
        if not file.frames:
            raise AudioFileError(f"{path}: holds no samples")
        yield AudioReader(path, file)


@contextlib.contextmanager
def open_sound(sound: "AudioLike", name: str) -> Iterator[Audio | AudioReader]:
    """Open a sound to read it block by block: a file by `open_audio`, one in memory by `as_audio`."""
    if isinstance(sound, str | os.PathLike):
        with open_audio(Path(sound)) as reader:
            yield reader
    else:
        yield as_audio(sound, name)


def as_audio(sound: "AudioLike", name: str = "audio") -> Audio:
    """Return a sound given as `Audio`, as the path of a file or as samples with their rate.

    Parameters
    ----------
    sound : Audio, path or (samples, sample_rate)
        A path is read by `read_audio`; a pair makes an `Audio`; an `Audio` is returned as it is.
    name : str
        Name of the argument, for messages, and of an `Audio` made of a pair.

    Raises
    ------
    ConfigError
        If it is none of these.
    AudioError
        If the file cannot be read, or the samples are no sound.

    Examples
    --------
    >>> import numpy as np
    >>> as_audio((np.zeros(8000), 16000))
    Audio('audio', 1 channel(s), 0.50 s at 16000 Hz)
    """
    if isinstance(sound, Audio):
        return sound
    if isinstance(sound, str | os.PathLike):
        return read_audio(Path(sound))
    if _is_pair(sound):
        samples, sample_rate = sound
        return Audio(samples, sample_rate, name)
    raise ConfigError(f"{name} is {reprlib.repr(sound)}; expected {EXPECTED}")


def as_recordings(sounds: "AudioLike | Sequence[AudioLike]", name: str = "recordings") -> list[Audio]:
    """Return one or several sounds as a list; a folder stands for the audio files in it.

    Parameters
    ----------
    sounds : Audio, path or (samples, sample_rate), or a sequence of these
        The path of a folder stands for the audio files directly in it, in the order of their names.
    name : str
        Name of the argument, for messages.

    Raises
    ------
    ConfigError, AudioError
        As `as_audio` does.
    AudioFileError
        If a folder holds no audio.
    """
    if isinstance(sounds, Audio | str | os.PathLike) or _is_pair(sounds):
        return _recordings_of(sounds, name)
    refuse_other_type(name, sounds, Sequence)
    return [audio for index, sound in enumerate(sounds) for audio in _recordings_of(sound, f"{name}[{index}]")]


def _recordings_of(sound: Any, name: str) -> list[Audio]:
    """Return the recordings of a folder, or the one sound."""
    refuse_other_type(name, sound, AudioLike)
    if isinstance(sound, str | os.PathLike) and os.path.isdir(sound):
        return [read_audio(path) for path in find_audio_files([Path(sound)])]
    return [as_audio(sound, name)]


def _is_pair(sound: object) -> bool:
    """Return whether a tuple is samples with their rate, rather than two sounds."""
    return isinstance(sound, tuple) and len(sound) == 2 and not isinstance(sound[1], (Audio, str, os.PathLike, tuple))


@checks_types
def read_audio(path: str | Path) -> Audio:
    """Read a whole audio file.

    Returns
    -------
    Audio
        float32, with the file's sample rate and channels; ``name`` is the file's name.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, cut short (an MP3 without a table does not show that), or
        holds NaN or infinite samples.
    """
    with open_audio(path) as reader:
        (audio,) = reader.blocks([slice(0, reader.n_samples)])
        return audio


def read_part(part: Part) -> Audio:
    """Read a part of an audio file, and of the file no more than that where its format can be entered anywhere.

    Returns
    -------
    Audio
        As `read_audio` returns it; ``name`` says which part it is.

    Raises
    ------
    AudioFileError
        As `read_audio` does, or if the part is not within the file.
    """
    if part.is_whole:
        return read_audio(part.path)
    with open_audio(part.path) as reader:
        duration_s = reader.n_samples / reader.sample_rate
        if part.end_s > duration_s + BEYOND_S:
            what = f"lasts until {format_time(duration_s)}, so there is no part {part.span}"
            raise AudioFileError(f"{part.path}: {what}; name one that is within it")
        start, stop = (round(min(time_s, duration_s) * reader.sample_rate) for time_s in (part.start_s, part.end_s))
        if start == stop:
            raise AudioFileError(f"{part.path}: the part {part.span} holds no sample; name a longer one")
        (audio,) = reader.blocks([slice(start, stop)])
        return replace(audio, name=part.name)


def probe_audio(path: str | Path) -> AudioInfo:
    """Read a file's number of channels, rate and duration, without decoding it where possible.

    Raises
    ------
    AudioFileError
        If the file is missing, empty, not audio, or cut short.
    """
    info = info_without_decoding(_existing_file(path))
    if info is None:
        with open_audio(path) as reader:
            return AudioInfo(reader.n_channels, reader.sample_rate, reader.n_samples / reader.sample_rate)
    return info


def refuse_not_finite_file(path: Path) -> None:
    """Refuse a file that stores NaN or infinite samples; one that is not stored as floats is not read.

    What only ffmpeg reads is not looked at either.

    Raises
    ------
    AudioFileError
        If it does, or is damaged.
    """
    with contextlib.suppress(*NOT_FOR_SOUNDFILE), SequentialFile(path) as file:
        start = 0
        while file.subtype in FLOATS and len(block := read_block(path, file, PIECE)):
            with np.errstate(over="ignore", invalid="ignore"):
                is_finite = np.isfinite(block.sum())  # ten times as fast as a look at each sample
            if not is_finite:
                refuse_not_finite_in(torch.from_numpy(block.T), path, file.samplerate, start=start)
            start += len(block)


def refuse_not_finite_in(samples: Tensor, path: Path, sample_rate: int, *, start: int) -> None:
    """Refuse NaN and infinite samples, given those of a file from sample number ``start`` on."""
    try:
        refuse_not_finite(samples, str(path), sample_rate, start=start)
    except AudioError as error:
        raise AudioFileError(str(error)) from error


def _existing_file(path: str | Path) -> Path:
    """Refuse a path that is no readable file, or an empty one."""
    path = Path(path)
    if not os.path.exists(path):  # unlike Path.exists, also False for a name no file can have
        raise AudioFileError(refusal_of_url(path) or f"{path}: no such file")
    if not path.is_file():
        raise AudioFileError(f"{path}: is not a file; expected an audio file")
    if not os.access(path, os.R_OK):
        raise AudioFileError(f"{path}: permission to read it is denied; expected a readable audio file")
    if path.stat().st_size == 0:
        raise AudioFileError(f"{path}: is empty (0 bytes); expected an audio file")
    return path
