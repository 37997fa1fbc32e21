"""Previews of recordings and dictionaries, made when the page asks: sounds that every browser plays, pictures."""

import io
import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import soundfile
from fastapi import HTTPException

from sepdict import synthesize
from sepdict._core.fs import write_atomically
from sepdict.audio.writing import copy_audio
from sepdict.reports.media import look_at, loudest, spectrogram
from sepdict.web.incoming import naming
from sepdict.web.tasks import NamedFile
from sepdict.web.uploads import Upload, Uploads, storing

N_COLUMNS = 12_000  # of the picture, so that it can be magnified: ten a second of the longest mixture
SAMPLE_BYTES = 4  # of the sounds that are written, 32-bit floats

_one_at_a_time = threading.Lock()  # they take memory and both cores


def _write_sound(upload: Upload, path: Path, shown_s: float) -> None:
    """Write the sound of a recording, or the beginning of it."""
    beginning = slice(0, _n_samples(upload, shown_s)) if upload.facts["duration_s"] > shown_s else None
    copy_audio(upload.path, path, span=beginning)


def _write_spectrogram(upload: Upload, path: Path, shown_s: float) -> None:
    """Draw the spectrogram of a recording."""
    look = look_at(upload.path, shown_s=shown_s, n_columns=N_COLUMNS)
    write_atomically(path, spectrogram(look.energy, loudest(look.energy)))


PREVIEWS: Mapping[tuple[str, str], Callable[[Upload, Path, float], None]] = {  # by the kinds of uploads, and names
    ("mixture", "sound.wav"): _write_sound,
    ("mixture", "spectrogram.png"): _write_spectrogram,
    ("solo", "sound.wav"): _write_sound,
}


def preview_of(store: Uploads, identifier: str, name: str) -> Path:
    """Return the file of one of the `PREVIEWS` of an upload, and make it beside the upload unless it is there.

    It counts as bytes of the upload, and goes with it.

    Raises
    ------
    AudioFileError
        If the recording cannot be decoded.
    HTTPException
        404 if there is no such preview; 413 if its client has no room for it; 507 if it cannot be stored.
    """
    upload = store.find(identifier)
    if upload is None or (upload.kind, name) not in PREVIEWS:
        raise HTTPException(404, "there is no such preview")
    shown_s = store.limits.solo_preview_s if upload.kind == "solo" else math.inf
    path = upload.path.with_name(f"{upload.path.name}.{name}")
    with _one_at_a_time:
        if not path.exists():
            if name == "sound.wav":  # pictures are small
                n_bytes = _n_samples(upload, shown_s) * upload.facts["n_channels"] * SAMPLE_BYTES
                store.refuse_more_bytes(upload.client, n_bytes)
            with storing(), naming([NamedFile(upload.path, upload.name)]):
                PREVIEWS[upload.kind, name](upload, path, shown_s)
            store.count_preview(identifier, path)
    return path


def _n_samples(upload: Upload, shown_s: float) -> int:
    """Count the samples of a recording that are shown."""
    n_samples: float = min(upload.facts["duration_s"], shown_s) * upload.facts["sample_rate"]
    return round(n_samples)


def sound_of(dictionary: Path) -> bytes:
    """Synthesize some seconds of a dictionary's source, as a WAV file."""
    with _one_at_a_time:
        sound = synthesize(dictionary)
    content = io.BytesIO()
    soundfile.write(content, sound.samples.T.numpy(), sound.sample_rate, format="WAV")
    return content.getvalue()
