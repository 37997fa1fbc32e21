"""Row 8: many mixtures in one go: per track a folder of stems and a manifest, whole or not at all.

    out/{track}/{source}.wav        32-bit float, at the mixture's rate, channels and length
    out/{track}/manifest.json       what was separated with what, how it went, and where the stems are
    out/{track}/report.html         the same to look at and listen to, where it is asked for

What can be known to fail is refused before anything is computed; what fails later costs its own track only.
"""

import contextlib
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from sepdict.audio import Audio
from sepdict.composition import Composition
from sepdict.devices import AUTO, choose_device
from sepdict.dictionary import RESIDUAL, Dictionary, refuse_unfit
from sepdict.errors import AudioError, AudioFileError, ConfigError, ShapeError
from sepdict.evaluation import Evaluation, evaluate
from sepdict.excitations import FitConfig
from sepdict.files import Snapshot, to_json, writable_folder, write_atomically
from sepdict.jobs import in_processes
from sepdict.manifest import OnTrack, TrackResult, describe, finished, kept, manifest_of, order_of
from sepdict.progress import OnProgress, Progress, ignore_progress
from sepdict.recordings import AudioReader, find_audio_files, open_audio, probe_audio, read_audio, writing_audio
from sepdict.report import separation_page
from sepdict.segments import SEGMENT_S, refuse_short
from sepdict.separation import Outcome, composed_as_configured, effective, separate_in_blocks, stem_names
from sepdict.tracks import (
    MANIFEST,
    NO_FILES,
    Track,
    find_references,
    publishing,
    refuse_existing,
    refuse_same_folder,
    sweep,
)


def separate_folder(
    folder: str | Path,
    dictionaries: Sequence[Dictionary],
    out: str | Path,
    *,
    config: FitConfig | None = None,
    residual: bool = False,
    unknown: bool = False,
    segment_s: float = SEGMENT_S,
    n_jobs: int = 1,
    overwrite: bool = False,
    skip_existing: bool = False,
    references: str | Path | None = None,
    report: bool = False,
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
        unknown=unknown,
        segment_s=segment_s,
        n_jobs=n_jobs,
        overwrite=overwrite,
        skip_existing=skip_existing,
        references=references,
        report=report,
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
    unknown: bool = False,
    segment_s: float = SEGMENT_S,
    n_jobs: int = 1,
    overwrite: bool = False,
    skip_existing: bool = False,
    references: str | Path | None = None,
    report: bool = False,
    dictionary_files: Mapping[str, Path] = NO_FILES,
    command: Sequence[str] = (),
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
    on_track: OnTrack = lambda _: None,
) -> list[TrackResult]:
    """Separate audio files into ``out/{track}/{source}.wav``, reading and writing them block by block.

    A track is called like its file without extension. Its files appear together, when all are written.

    Parameters
    ----------
    mixtures : sequence of path
    dictionaries : sequence of Dictionary
        One per source.
    out : path of a folder
        Made if it is missing, with its parents.
    config, residual, unknown, segment_s, device, on_progress
        As in `separate`; with several processes one step of progress is a track.
    n_jobs : int
        So many files at a time, each in a process of its own that has its share of the cores. A program that asks for
        more than one must start below ``if __name__ == "__main__":``, as Python's processes want it.
    overwrite : bool
        Replace files that exist; others in the same folder are left alone.
    skip_existing : bool
        Leave tracks alone of which all files are there, made of the same mixture with the same dictionaries and
        settings: what was interrupted goes on where it stopped.
    references : path of a folder, optional
        The true sources, ``references/{track}/{source}.wav`` or of any other audio format; with a single
        mixture ``references/{source}.wav`` will do. The stems are scored against them.
    report : bool
        Write ``out/{track}/report.html`` as well: a page to look at and listen to, which needs nothing but itself.
    dictionary_files : mapping of source name to Path, optional
        Where dictionaries were loaded from, for the manifest.
    command : sequence of str
        How this was asked for on a command line, for the manifest.
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
    refuse_short(segment_s)
    if not isinstance(n_jobs, int) or n_jobs < 1:
        raise ConfigError(f"n_jobs is {n_jobs}; expected a whole number, 1 or more")
    names = stem_names(dictionaries, residual=residual or unknown)
    tracks = [Track.of(Path(mixture), out, names, report=report) for mixture in mixtures]
    refuse_same_folder(tracks)
    order = order_of(dictionaries, config, residual=residual, unknown=unknown, segment_s=segment_s)
    results = {t.mixture: kept(t, said) for t in tracks if skip_existing and (said := finished(t, order))}
    alone, tracks = len(tracks) == 1, [track for track in tracks if track.mixture not in results]
    truths = [find_references(track, references, alone=alone) for track in tracks]
    refuse_existing(tracks, truths, overwrite)
    for result in results.values():
        on_track(result)
    described = [describe(dictionary, dictionary_files) for dictionary in dictionaries]
    manifest = {"command": list(command), "order": order, "dictionaries": described}
    with writable_folder(out):
        composition = None
        if any(_is_readable(track.mixture) for track in tracks):
            composition = composed_as_configured(dictionaries, config, device=device, on_progress=on_progress)
        config = effective(config, composed=composition is not None, has_residual=RESIDUAL in names)
        work = _Work(dictionaries, config, composition, residual, unknown, segment_s, device, manifest)
        pairs = list(zip(tracks, truths, strict=True))
        separate_all = _separate_in_processes if n_jobs > 1 and len(pairs) > 1 else _separate_in_turn
        results |= {result.mixture: result for result in separate_all(work, pairs, n_jobs, on_progress, on_track)}
    return [results[Path(mixture)] for mixture in mixtures]


@dataclass(frozen=True)
class _Work:
    """What all tracks are separated with; the config is the one that is really in effect."""

    dictionaries: Sequence[Dictionary]
    config: FitConfig
    composition: Composition | None
    residual: bool
    unknown: bool
    segment_s: float
    device: str
    manifest: Mapping[str, Any]

    def settings(self, outcome: Outcome) -> dict[str, Any]:
        """Collect what the manifest says of how a track was separated."""
        settings = {name: getattr(self, name) for name in ("residual", "unknown", "segment_s")}
        settings |= {"composed": self.composition is not None, "n_segments": outcome.n_segments}
        return settings | {"device": str(choose_device(self.device)), "fit": asdict(self.config)}


_Pair = tuple[Track, Mapping[str, Path]]  # a track and its true sources


def _separate_in_turn(
    work: _Work, pairs: Sequence[_Pair], _: int, on_progress: OnProgress, on_track: OnTrack
) -> list[TrackResult]:
    """Separate one track after the other."""
    results = []
    for pair in pairs:
        results.append(_separate_track(work, on_progress, pair))
        on_track(results[-1])
    return results


def _separate_in_processes(
    work: _Work, pairs: Sequence[_Pair], n_jobs: int, on_progress: OnProgress, on_track: OnTrack
) -> list[TrackResult]:
    """Separate several tracks at a time."""
    n_done = itertools.count(1)
    on_progress(Progress("tracks", 0, len(pairs), math.nan))

    def on_result(result: TrackResult) -> None:
        on_track(result)
        on_progress(Progress("tracks", next(n_done), len(pairs), math.nan))

    def died(pair: _Pair) -> TrackResult:
        sweep(pair[0])
        mixture = pair[0].mixture
        return TrackResult(mixture, f"{mixture}: its process was killed, perhaps for memory; try fewer jobs")

    separate_one = partial(_separate_track, work, ignore_progress)
    return in_processes(separate_one, pairs, n_jobs=n_jobs, died=died, on_result=on_result)


def _separate_track(work: _Work, on_progress: OnProgress, pair: _Pair) -> TrackResult:
    """Read, separate, score and write one track, and turn what goes wrong with its files into a result."""
    track, truth = pair
    try:
        with open_audio(track.mixture) as mixture, publishing(track) as folder:
            references = {name: _read_reference(path, mixture) for name, path in truth.items()}
            heard = Snapshot.of(track.mixture)
            start = time.perf_counter()
            outcome = _separate_into(folder, track, mixture, work, on_progress)
            seconds = time.perf_counter() - start
            scores = _scores(folder, track, references) if references else None
            if heard.has_changed():
                raise AudioFileError(f"{track.mixture}: was changed while it was read; separate it again")
            settings = work.settings(outcome)
            facts = {**work.manifest, **manifest_of(track, mixture, heard.sha256, settings, outcome, scores)}
            if track.report:
                page = separation_page(facts, folder, work.dictionaries, outcome.timeline)
                write_atomically(folder / track.report.name, page.encode(errors="surrogateescape"))
            write_atomically(folder / MANIFEST, to_json(facts).encode())
    except (AudioError, ShapeError, OSError) as error:  # not ConfigError: that fails every track alike
        return TrackResult(track.mixture, _explain(track.mixture, error))
    return TrackResult(
        track.mixture,
        stems=track.stems,
        manifest=track.folder / MANIFEST,
        report=track.report,
        duration_s=mixture.n_samples / mixture.sample_rate,
        seconds=seconds,
        explained_energy=outcome.explained_energy,
        converged=outcome.fit.converged,
        message=outcome.fit.message,
        null_test_db=outcome.null_test_db,
        evaluation=scores,
    )


def _separate_into(folder: Path, track: Track, mixture: AudioReader, work: _Work, on_progress: OnProgress) -> Outcome:
    """Separate an open file into a folder's, block by block."""
    with contextlib.ExitStack() as open_files:
        form = {name: getattr(mixture, name) for name in ("n_channels", "n_samples", "sample_rate")}
        writers = [open_files.enter_context(writing_audio(folder / path.name, **form)) for path in track.stems.values()]

        def write(samples: Tensor) -> None:
            for write_stem, stem in zip(writers, samples, strict=True):
                write_stem(stem)

        return separate_in_blocks(
            mixture,
            work.dictionaries,
            write,
            work.config,
            composition=work.composition,
            residual=work.residual,
            unknown=work.unknown,
            segment_s=work.segment_s,
            device=work.device,
            on_progress=on_progress,
        )


def _scores(folder: Path, track: Track, references: Mapping[str, Audio]) -> Evaluation:
    """Score the stems that were written."""
    stems = {name: read_audio(folder / path.name) for name, path in track.stems.items()}
    return evaluate(stems, references, mixture=read_audio(track.mixture))


def _is_readable(mixture: Path) -> bool:
    """Tell whether there is anything to compose for."""
    try:
        probe_audio(mixture)
    except (AudioError, OSError):
        return False
    return True


def _read_reference(path: Path, mixture: AudioReader) -> Audio:
    """Read a true source, and find out before the separation rather than after it that it does not fit."""
    reference = read_audio(path)
    found, expected = (
        f"{audio.n_samples} samples on {audio.n_channels} channel(s) at {audio.sample_rate} Hz"
        for audio in (reference, mixture)
    )
    if found != expected:
        raise AudioFileError(f"{path}: has {found}; expected {expected}, as in its mixture")
    return reference


def _explain(mixture: Path, error: Exception) -> str:
    """Say in one line what went wrong, beginning with the path of the file at fault."""
    if isinstance(error, AudioFileError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename or mixture}: {error.strerror}"
    return f"{mixture}: {str(error).removeprefix(f'{mixture.name}: ')}"
