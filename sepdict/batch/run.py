"""Many mixtures in one run: the files of each track, as `sepdict.batch.layout` names them, appear whole or not at all.

What is known to fail is refused before anything is computed; what fails later fails only its own track.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from sepdict._core.devices import choose_device
from sepdict._core.fs import sweep, writable_folder
from sepdict._core.names import refusal_of_url
from sepdict._core.settings import checks_types
from sepdict.audio.io import open_audio, probe_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.executors import executor_of
from sepdict.batch.guides import guides_of
from sepdict.batch.layout import NO_FILES, MixtureList, find_mixtures
from sepdict.batch.manifest import DictionaryFacts, RunFacts
from sepdict.batch.plan import BatchPlan, Pair, plan_batch
from sepdict.batch.result import OnTrack, TrackResult
from sepdict.batch.resume import Tracks, order_of
from sepdict.batch.track import Work, separate_track
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit
from sepdict.dictionaries.library import find_dictionary
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.errors import AudioFileError, ConfigError
from sepdict.progress import OnProgress, closes_progress, ignore_progress
from sepdict.separation.engine import prepare_mask_estimator, stem_names
from sepdict.separation.guides import Guide

MOST_LOOKED_AT = 20  # mixtures, to see whether other machines see them


@checks_types
@closes_progress
def separate_folder(
    folder: str | Path,
    dictionaries: Sequence[DictionaryLike],
    out: str | Path,
    config: BatchConfig | None = None,
    *,
    recursive: bool = False,
    client: object = None,
    on_progress: OnProgress = ignore_progress,
    on_track: OnTrack = lambda _: None,
) -> list[TrackResult]:
    """Separate every audio file of a folder.

    The same as `separate_files` with the files found there, in the order of their names.

    Parameters
    ----------
    folder : path of a folder
    dictionaries : sequence of Dictionary, path or installed name
        One per source.
    out, config, client, on_progress, on_track
        As in `separate_files`.
    recursive : bool
        Whether its subfolders are searched, too; tracks are then named by their path below ``folder``.

    Raises
    ------
    AudioFileError, ConfigError
        If the folder is missing, is no folder or holds no audio, and as `separate_files` does.

    Examples
    --------
    >>> results = separate_folder("mixtures", [violin, piano], "separated")  # doctest: +SKIP
    """
    executor_of(1, client)  # a wrong client is refused first
    if Path(folder).is_file():
        raise AudioFileError(f"{folder}: is a file; expected a folder of mixtures")
    mixtures = find_mixtures(folder, recursive=recursive, out=out)
    found = [each if isinstance(each, Dictionary) else find_dictionary(each) for each in dictionaries]
    loaded = as_dictionaries(found)
    files = {each.source: file for each, file in zip(loaded, found, strict=True) if not isinstance(file, Dictionary)}
    return _collected(
        mixtures, loaded, out, config, dictionary_files=files, client=client, on_progress=on_progress, on_track=on_track
    )


@checks_types
@closes_progress
def separate_files(
    mixtures: Sequence[str | Path] | Mapping[Path, str],
    dictionaries: Sequence[Dictionary],
    out: str | Path,
    config: BatchConfig | None = None,
    *,
    dictionary_files: Mapping[str, Path] = NO_FILES,
    command: Sequence[str] = (),
    client: object = None,
    on_progress: OnProgress = ignore_progress,
    on_track: OnTrack = lambda _: None,
) -> list[TrackResult]:
    """Separate audio files into ``out/{track}/{source}.wav``, reading and writing them block by block.

    The files of a track appear together, once all of them are written.

    Parameters
    ----------
    mixtures : sequence of path, or mapping of path to track name
        By default a track is named after its file, without the extension.
    dictionaries : sequence of Dictionary
        One per source.
    out : path of a folder
        It is made if it is missing, with its parents.
    config : BatchConfig, optional
    dictionary_files : mapping of source name to Path, optional
        The files that the dictionaries were loaded from, for the manifest.
    command : sequence of str
        The words of the command line, for the manifest.
    client : distributed.Client, optional
        Of a Dask cluster whose workers separate the mixtures; they see all folders under the same paths. By default
        this machine does, with as many processes as ``config.n_jobs`` says.
    on_progress : callable
        As in `separate`; with several processes one step of progress is a track.
    on_track : callable
        Called after every track with its `TrackResult`.

    Returns
    -------
    list of TrackResult
        In the order of the mixtures. A mixture that cannot be read, separated or written, or whose files would
        overwrite those of another, has an ``error``; the others are separated all the same.

    Raises
    ------
    ConfigError, AudioFileError
        Before anything is computed: if files of all mixtures would overwrite each other, a file to be written exists
        and ``overwrite`` is not set, ``out`` cannot be written to, there is no reference, the dictionaries
        do not go together, or workers of a cluster cannot work.
    LibraryError
        If there is a client, and Dask cannot be loaded.
    """
    return _collected(
        MixtureList.of(mixtures),
        dictionaries,
        out,
        config,
        dictionary_files=dictionary_files,
        command=command,
        client=client,
        on_progress=on_progress,
        on_track=on_track,
    )


def _collected(mixtures: MixtureList, *given: Any, on_track: OnTrack, **options: Any) -> list[TrackResult]:
    """Separate files, and return the results in the order of the mixtures."""
    results: dict[int, TrackResult] = {}

    def tell(number: int, result: TrackResult) -> None:
        results[number] = result
        on_track(result)

    separate_each(mixtures, *given, on_result=tell, **options)
    return [results[number] for number in range(len(mixtures))]


def separate_each(
    mixtures: MixtureList,
    dictionaries: Sequence[Dictionary],
    out: str | Path,
    config: BatchConfig | None = None,
    *,
    dictionary_files: Mapping[str, Path] = NO_FILES,
    command: Sequence[str] = (),
    client: object = None,
    on_progress: OnProgress = ignore_progress,
    on_result: Callable[[int, TrackResult], None],
) -> None:
    """Separate audio files as `separate_files` does, and keep no result.

    What it keeps of a million mixtures is their paths, and some hashes.

    Parameters
    ----------
    on_result : callable
        Called after every track with the number of the mixture and the result.
    """
    if why := refusal_of_url(out):
        raise ConfigError(why)
    out = Path(out).absolute()
    config = BatchConfig() if config is None else config
    executor = executor_of(config.n_jobs, client)
    if client is not None and config.guide_stems:
        raise ConfigError("a guide is audio, which is not sent to a cluster; separate its mixture on this machine")
    refuse_unfit(dictionaries)
    choose_device(config.separation.device)
    for path in config.guide_stems.values():
        probe_audio(path)  # what cannot be read is refused at once
    plan = plan_batch(Tracks(mixtures, out, stem_names(dictionaries, config.separation), config), dictionaries)
    guides = _guides(plan, config, plan.tracks.names)
    for number, result in plan.known():
        on_result(number, result)
    with writable_folder(out):
        if plan.pairs:
            executor.refuse_unfit(out, _some_that_are_read(plan, config))
        work = _prepare(plan, dictionaries, config, guides, dictionary_files, command, on_progress)
        pairs = plan.pairs if client is None else replace(plan.pairs, absolute=True)

        def tell(position: int, result: TrackResult) -> None:
            number = plan.pairs.numbers[position]
            on_result(number, replace(result, mixture=mixtures[number][0]))

        executor.carry_out(
            partial(separate_track, work), pairs, out, died=_died, on_result=tell, on_progress=on_progress
        )


def _guides(plan: BatchPlan, config: BatchConfig, stems: Sequence[str]) -> Sequence[Guide] | None:
    """Read the guides of the one mixture there is, None if it cannot be read; refuse those of several, or unfit."""
    if not config.labels and not config.guide_stems:
        return ()
    n_mixtures = len(plan.tracks)
    if n_mixtures != 1:
        raise ConfigError(f"labels and guides are of one mixture, and there are {n_mixtures}; separate them one by one")
    for track, _ in plan.pairs:
        if _begins(track.mixture, config.start_s):
            with open_audio(track.mixture) as mixture:
                return guides_of(config, mixture, config.span(mixture), stems)
    return None


def _prepare(
    plan: BatchPlan,
    dictionaries: Sequence[Dictionary],
    config: BatchConfig,
    guides: Sequence[Guide] | None,
    dictionary_files: Mapping[str, Path],
    command: Sequence[str],
    on_progress: OnProgress,
) -> Work:
    """Train the mask estimator, if there is a track for it, and gather what is the same for all tracks."""
    mask_estimator, start = None, time.perf_counter()
    if any(_begins(track.mixture, config.start_s) for track, _ in plan.pairs):
        mask_estimator = prepare_mask_estimator(dictionaries, config.separation, on_progress=on_progress)
    mask_estimator_s = round(time.perf_counter() - start, 3)  # next to nothing if it is cached
    described = tuple(DictionaryFacts.of(dictionary, dictionary_files) for dictionary in dictionaries)
    run = RunFacts(tuple(command), order_of(plan.asked), plan.asked, described, mask_estimator_s)
    has_mask_estimator = mask_estimator is not None
    separation = config.separation.in_effect(has_mask_estimator=has_mask_estimator, n_dictionaries=len(dictionaries))
    return Work(dictionaries, replace(config, separation=separation), mask_estimator, guides, run)


def _some_that_are_read(plan: BatchPlan, config: BatchConfig) -> list[Path]:
    """List one mixture of each of some folders, and the folder of references: what must be seen wherever one works."""
    one_each: dict[Path, Path] = {}
    for track, _ in plan.pairs:
        one_each.setdefault(track.mixture.parent, track.mixture)
        if len(one_each) == MOST_LOOKED_AT:
            break
    some = list(one_each.values())
    return some if config.references is None else [*some, Path(config.references)]


def _died(pair: Pair, why: str) -> TrackResult:
    """Return the result of a track whose process ended suddenly, and remove what it left."""
    sweep(pair[0].out)
    return TrackResult(pair[0].mixture, f"{pair[0].mixture}: {why}")


def _begins(mixture: Path, start_s: float) -> bool:
    """Return whether a mixture can be opened and lasts beyond the start: otherwise no mask estimator is needed."""
    try:
        return probe_audio(mixture).duration_s > start_s
    except Exception:  # it is reported as the track's when the track is separated
        return False
