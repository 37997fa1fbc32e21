"""Previews of mixtures and dictionaries, made when the page asks: sounds that every browser plays, pictures."""

import io
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import soundfile

from sepdict import synthesize
from sepdict._core.fs import write_atomically
from sepdict.audio.writing import copy_audio
from sepdict.reports.media import look_at, loudest, spectrogram
from sepdict.web.uploads import storing

N_COLUMNS = 12_000  # of the picture, so that it can be magnified: ten a second of the longest mixture

_one_at_a_time = threading.Lock()  # they take memory and both cores


def _write_spectrogram(recording: Path, path: Path) -> None:
    """Draw the spectrogram of a whole recording."""
    look = look_at(recording, shown_s=math.inf, n_columns=N_COLUMNS)
    write_atomically(path, spectrogram(look.energy, loudest(look.energy)))


PREVIEWS: Mapping[str, Callable[[Path, Path], None]] = {
    "sound.wav": copy_audio,
    "spectrogram.png": _write_spectrogram,
}


def preview_of(recording: Path, name: str) -> Path:
    """Return the file of one of the `PREVIEWS` of a recording, and make it beside the recording unless it is there.

    Raises
    ------
    AudioFileError
        If the recording cannot be decoded.
    HTTPException
        507 if the preview cannot be stored.
    """
    path = recording.with_name(f"{recording.name}.{name}")
    with _one_at_a_time:
        if not path.exists():
            with storing():
                PREVIEWS[name](recording, path)
    return path


def sound_of(dictionary: Path) -> bytes:
    """Synthesize some seconds of a dictionary's source, as a WAV file."""
    with _one_at_a_time:
        sound = synthesize(dictionary)
    content = io.BytesIO()
    soundfile.write(content, sound.samples.T.numpy(), sound.sample_rate, format="WAV")
    return content.getvalue()
