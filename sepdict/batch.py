"""Row 7: many mixtures in one go: per track a folder of stems and a manifest, whole or not at all.

    out/{track}/{source}.wav        32-bit float, at the mixture's rate, channels and length
    out/{track}/manifest.json       what was separated with what, how it went, and where the stems are

What can be known to fail is refused before anything is computed; what fails later costs its own track only.
"""

import json
import math
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sepdict.audio import Audio
from sepdict.devices import AUTO, choose_device
from sepdict.dictionary import RESIDUAL, Dictionary, refuse_unfit
from sepdict.errors import AudioError, AudioFileError, ConfigError, ShapeError
from sepdict.evaluation import Evaluation, evaluate
from sepdict.excitations import FitConfig
from sepdict.files import sha256_of, to_json, writable_folder, write_atomically
from sepdict.progress import OnProgress, ignore_progress
from sepdict.recordings import find_audio_files, read_audio, write_audio
from sepdict.separation import Separation, composed_as_configured, separate

MANIFEST = "manifest.json"
NO_FILES: Mapping[str, Path] = MappingProxyType({})


@dataclass(frozen=True)
class TrackResult:
    """What became of one mixture.

    Attributes
    ----------
    mixture : Path
        As it was given.
    error : str or None
        Why there are no stems, in one line that names the file; None when all went well. After an error
        the attributes below have their defaults.
    stems : mapping of source name to Path
        Absolute.
    manifest : Path or None
        Absolute.
    duration_s, seconds : float
        How long the mixture lasts, and how long it took to separate it, composing the dictionaries not included.
    explained_energy : float
        Share of the mixture's energy that the dictionaries account for, 0 to 1.
    converged : bool
    message : str
        How the fit ended, in one sentence.
    null_test_db : float
        Largest difference between the mixture and the sum of its stems, in dB relative to the mixture's peak.
    evaluation : Evaluation or None
        The stems' scores, where there are references.
    """

    mixture: Path
    error: str | None = None
    stems: Mapping[str, Path] = field(default_factory=dict)
    manifest: Path | None = None
    duration_s: float = math.nan
    seconds: float = math.nan
    explained_energy: float = math.nan
    converged: bool = False
    message: str = ""
    null_test_db: float = math.nan
    evaluation: Evaluation | None = None

    @property
    def real_time_factor(self) -> float:
        """Seconds taken per second of sound; below one is faster than listening."""
        return self.seconds / self.duration_s


OnTrack = Callable[[TrackResult], None]
"""Called after every track; an exception raised inside ends the batch and reaches the caller."""


def separate_folder(
    folder: str | Path,
    dictionaries: Sequence[Dictionary],
    out: str | Path,
    *,
    config: FitConfig | None = None,
    residual: bool = False,
    overwrite: bool = False,
    references: str | Path | None = None,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
    on_track: OnTrack = lambda _: None,
) -> list[TrackResult]:
    """Separate every audio file of a folder; its subfolders are not searched.

    The same as `separate_files` with the files found there, in the order of their names.

    Raises
    ------
    AudioFileError, ConfigError
        If the folder is missing, is no folder or holds no audio, and as `separate_files` does.

    Examples
    --------
    >>> results = separate_folder("mixtures", [violin, piano], "separated")  # doctest: +SKIP
    """
    if Path(folder).is_file():
        raise AudioFileError(f"{folder}: is a file; expected a folder of mixtures")
    return separate_files(
        find_audio_files([folder]),
        dictionaries,
        out,
        config=config,
        residual=residual,
        overwrite=overwrite,
        references=references,
        device=device,
        on_progress=on_progress,
        on_track=on_track,
    )


def separate_files(
    mixtures: Sequence[str | Path],
    dictionaries: Sequence[Dictionary],
    out: str | Path,
    *,
    config: FitConfig | None = None,
    residual: bool = False,
    overwrite: bool = False,
    references: str | Path | None = None,
    dictionary_files: Mapping[str, Path] = NO_FILES,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
    on_track: OnTrack = lambda _: None,
) -> list[TrackResult]:
    """Separate audio files one after the other into ``out/{track}/{source}.wav``.

    A track is called like its file without extension. Its files appear together, when all are written.

    Parameters
    ----------
    mixtures : sequence of path
    dictionaries : sequence of Dictionary
        One per source.
    out : path of a folder
        Made if it is missing, with its parents.
    config, residual, device, on_progress
        As in `separate`.
    overwrite : bool
        Replace files that exist; others in the same folder are left alone.
    references : path of a folder, optional
        The true sources, ``references/{track}/{source}.wav`` or of any other audio format; with a single
        mixture ``references/{source}.wav`` will do. The stems are scored against them.
    dictionary_files : mapping of source name to Path, optional
        Where dictionaries were loaded from, for the manifest.
    on_track : callable
        Called after every track with its `TrackResult`.

    Returns
    -------
    list of TrackResult
        In the order of the mixtures. One that cannot be read, separated or written has an ``error``; the
        rest goes on.

    Raises
    ------
    ConfigError, AudioFileError
        Before anything is computed: if two mixtures have the same track name, a file to be written exists
        and ``overwrite`` is not set, ``out`` cannot be written to, there is no reference, or the dictionaries
        do not go together.
    """
    out = Path(out).absolute()
    config = FitConfig() if config is None else config
    refuse_unfit(dictionaries)
    choose_device(device)
    names = [dictionary.source for dictionary in dictionaries]
    names += [RESIDUAL] if residual or len(dictionaries) == 1 else []
    tracks = [_Track.of(Path(mixture), out, names) for mixture in mixtures]
    _refuse_same_folder(tracks)
    truths = [_find_references(track, references, alone=len(tracks) == 1) for track in tracks]
    _refuse_existing(tracks, truths, overwrite)
    inputs = {
        "dictionaries": [_describe(dictionary, dictionary_files) for dictionary in dictionaries],
        "settings": {"fit": asdict(config), "residual": residual, "device": device},
    }
    options: dict[str, Any] = {"device": device, "on_progress": on_progress}
    composed = cache(partial(composed_as_configured, dictionaries, config, **options))  # when the first track is read

    def separate_audio(audio: Audio) -> tuple[Separation, float]:
        asked = config if composed() else replace(config, composition_weight=0.0)
        start = time.perf_counter()
        result = separate(audio, dictionaries, asked, composition=composed(), residual=residual, **options)
        return result, time.perf_counter() - start

    results = []
    with writable_folder(out):
        for track, truth in zip(tracks, truths, strict=True):
            results.append(_separate_track(track, truth, separate_audio, inputs))
            on_track(results[-1])
    return results


@dataclass(frozen=True)
class _Track:
    """One mixture and the files it will become."""

    mixture: Path
    folder: Path
    stems: Mapping[str, Path]

    @classmethod
    def of(cls, mixture: Path, out: Path, names: Sequence[str]) -> "_Track":
        """Name the folder after the mixture, and its files after the stems."""
        if mixture.stem in ("", ".", ".."):
            raise ConfigError(f"{mixture}: no folder can be named after it; rename the file")
        folder = out / mixture.stem
        return cls(mixture, folder, {name: folder / f"{name}.wav" for name in names})

    @property
    def outputs(self) -> list[Path]:
        """All files, the manifest last: it is there only when the others are."""
        return [*self.stems.values(), self.folder / MANIFEST]

    @property
    def earlier_stems(self) -> list[Path]:
        """What an earlier run with other dictionaries left, by its manifest; it goes when these are written."""
        try:
            names = json.loads((self.folder / MANIFEST).read_bytes())["stems"]
            return [self.folder / f"{Path(name).name}.wav" for name in names if name not in self.stems]
        except (OSError, ValueError, LookupError, TypeError):  # no manifest, or no sound one
            return []


def _refuse_same_folder(tracks: Sequence[_Track]) -> None:
    """Refuse mixtures whose stems would overwrite each other's."""
    first_of: dict[Path, Path] = {}
    for track in tracks:
        if track.folder in first_of:
            raise ConfigError(
                f"{first_of[track.folder]} and {track.mixture} would both be written to {track.folder}; "
                "rename one, or separate them into different folders"
            )
        first_of[track.folder] = track.mixture


def _refuse_existing(tracks: Sequence[_Track], truths: Sequence[Mapping[str, Path]], overwrite: bool) -> None:
    """Refuse to replace what exists, unless asked to; and in any case what is read, or a folder by a file."""
    read = {track.mixture.resolve(): "mixture" for track in tracks}
    read |= {path.resolve(): "reference" for truth in truths for path in truth.values()}
    existing = []
    for track in tracks:
        if track.folder.exists() and not track.folder.is_dir():
            raise ConfigError(f"{track.folder}: is a file; expected a folder or nothing there")
        existing += [path for path in (*track.outputs, *track.earlier_stems) if path.exists()]
    for path in existing:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; expected a file or nothing there")
        if path.resolve() in read:
            what = read[path.resolve()]
            raise ConfigError(f"{path}: is a {what} and would be overwritten; choose another output folder")
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        how = "overwrite it, or choose another folder (--overwrite, -o)"
        raise ConfigError(f"{existing[0]}: exists already{more}; {how}")


def _find_references(track: _Track, folder: str | Path | None, *, alone: bool) -> Mapping[str, Path]:
    """Find the true sources of a track, by name; no folder, no references."""
    if folder is None:
        return NO_FILES
    own = Path(folder) / track.mixture.stem
    own = Path(folder) if alone and not own.is_dir() else own
    found: dict[str, Path] = {}
    for path in find_audio_files([own]):
        if path.resolve() == track.mixture.resolve():
            continue
        if path.stem in found:
            raise ConfigError(f"{found[path.stem]} and {path} stand for the same source; leave one of them there")
        if path.stem not in track.stems:
            raise ConfigError(f"{path}: there is no stem of its name to compare with it, only {', '.join(track.stems)}")
        found[path.stem] = path
    if not found:
        raise ConfigError(f"{own}: holds no reference; expected one file per source")
    return found


def _separate_track(
    track: _Track,
    truth: Mapping[str, Path],
    separate_audio: Callable[[Audio], tuple[Separation, float]],
    inputs: Mapping[str, Any],
) -> TrackResult:
    """Read, separate, score and write one track, and turn what goes wrong with its files into a result."""
    try:
        mixture = read_audio(track.mixture)
        references = {name: _read_reference(path, mixture) for name, path in truth.items()}
        separation, seconds = separate_audio(mixture)
        scores = evaluate(separation.stems, references, mixture=mixture) if references else None
        _publish(track, separation.stems, to_json(_manifest(track, mixture, inputs, separation, scores)))
    except (AudioError, ShapeError, OSError) as error:  # not ConfigError: that fails every track alike
        return TrackResult(track.mixture, _explain(track.mixture, error))
    return TrackResult(
        track.mixture,
        stems=track.stems,
        manifest=track.folder / MANIFEST,
        duration_s=mixture.duration_s,
        seconds=seconds,
        explained_energy=separation.explained_energy,
        converged=separation.fit.converged,
        message=separation.fit.message,
        null_test_db=separation.null_test_db,
        evaluation=scores,
    )


def _read_reference(path: Path, mixture: Audio) -> Audio:
    """Read a true source, and find out before the separation rather than after it that it does not fit."""
    reference = read_audio(path)
    found, expected = (
        f"{audio.n_samples} samples on {audio.n_channels} channel(s) at {audio.sample_rate} Hz"
        for audio in (reference, mixture)
    )
    if found != expected:
        raise AudioFileError(f"{path}: has {found}; expected {expected}, as in its mixture")
    return reference


def _describe(dictionary: Dictionary, files: Mapping[str, Path]) -> dict[str, Any]:
    """Collect what the manifest says of a dictionary."""
    card = dictionary.card
    facts = {name: getattr(card, name) for name in ("source", "sample_rate", "trained_s")}
    facts |= {"stft": asdict(card.stft), "network": asdict(card.network)}
    if card.source in files:
        facts |= {"file": files[card.source].absolute(), "sha256": sha256_of(files[card.source])}
    return facts


def _manifest(
    track: _Track,
    mixture: Audio,
    inputs: Mapping[str, Any],
    separation: Separation,
    scores: Evaluation | None,
) -> dict[str, Any]:
    """Collect what was separated with what, how it went, and where the stems are."""
    facts = {name: getattr(mixture, name) for name in ("sample_rate", "n_channels", "n_samples", "duration_s")}
    fit = separation.fit
    return {
        "sepdict": version("sepdict"),
        "mixture": {"file": track.mixture.absolute(), "sha256": sha256_of(track.mixture), **facts},
        **inputs,
        "converged": fit.converged,
        "message": fit.message,
        "loss": {"first": fit.loss_curve[0], "last": fit.loss_curve[-1], "curve": fit.loss_curve},
        "explained_energy": separation.explained_energy,
        "null_test_db": separation.null_test_db,
        "stems": track.stems,
        "scores": None if scores is None else scores.as_dict(),
    }


def _publish(track: _Track, stems: Mapping[str, Audio], manifest: str) -> None:
    """Write everything into a hidden folder beside the track's, then move it into place."""
    temporary = track.folder.parent / f".sepdict-{secrets.token_hex(8)}.tmp"
    try:
        temporary.mkdir()
        for name, path in track.stems.items():
            write_audio(temporary / path.name, stems[name])
        write_atomically(temporary / MANIFEST, manifest.encode())
        if not track.folder.exists():
            temporary.rename(track.folder)
            return
        # The folder holds earlier files, or others'. Without a manifest it is known not to be whole.
        for path in filter(Path.exists, track.earlier_stems):
            path.unlink()
        (track.folder / MANIFEST).unlink(missing_ok=True)
        for path in track.outputs:
            (temporary / path.name).replace(path)
    except AudioFileError as error:  # the user knows nothing of the hidden folder
        raise AudioFileError(str(error).replace(str(temporary), str(track.folder))) from error
    except OSError as error:
        raise AudioFileError(f"{track.folder}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _explain(mixture: Path, error: Exception) -> str:
    """Say in one line what went wrong, beginning with the path of the file at fault."""
    if isinstance(error, AudioFileError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or mixture}: {error.strerror}"
    return f"{mixture}: {str(error).removeprefix(f'{mixture.name}: ')}"
