"""`sepdict separate`: from mixtures to stems."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .console import NothingFoundError, ProgressReport, find_audio, print_table, report_error, report_failures, say
from .learning import learn, names_of, telling_apart
from .options.common import Cluster, Device, Json, Quiet, Recursive, Verbose
from .options.separation import (
    BitDepth,
    ClipMode,
    Corrections,
    Dictionaries,
    Duration,
    Filename,
    Format,
    Guides,
    Jobs,
    Keep,
    Labels,
    Mixtures,
    Output,
    Quality,
    References,
    Replace,
    Report,
    Residual,
    Segment,
    SkipExisting,
    Start,
    TwoStems,
    Unknown,
    WriteLabels,
)
from .scores import SCORE_COLUMNS, score_cells, standard

if TYPE_CHECKING:
    from sepdict.audio.labels import Label
    from sepdict.batch.config import BatchConfig
    from sepdict.batch.result import TrackResult
    from sepdict.progress import Plan, Progress


def separate(
    mixtures: Mixtures,
    dictionaries: Dictionaries = None,
    labels: Labels = None,
    keep: Keep = False,
    corrections: Corrections = None,
    guides: Guides = None,
    output: Output = Path("separated"),
    recursive: Recursive = False,
    two_stems: TwoStems = None,
    residual: Residual = None,
    background_model: Unknown = False,
    audio_format: Format = "wav",
    bit_depth: BitDepth = None,
    clip_mode: ClipMode = "rescale",
    filename: Filename = "{track}/{source}.{ext}",
    start_s: Start = 0.0,
    duration_s: Duration = None,
    references: References = None,
    report: Report = False,
    write_labels: WriteLabels = None,
    quality: Quality = "standard",
    segment_s: Segment = None,
    jobs: Jobs = 1,
    cluster: Cluster = None,
    device: Device = None,
    overwrite: Replace = False,
    skip_existing: SkipExisting = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Pull the sounds of dictionaries out of mixtures.

    With --labels the sources are learned from moments of the mixture itself in which each is alone.

    The stems are WAV of 32-bit float, unless another format is asked for, at the mixture's rate and length, and sum
    to the mixture. Each track's folder also gets a manifest.json: what was used and how it went.
    """
    from sepdict.dictionaries.library import find_dictionary

    if not dictionaries and not labels:
        raise typer.BadParameter(
            "missing; give one for each source, or the moments in which each is alone (--labels)",
            param_hint="'--dictionary' / '-d'",
        )
    if keep and not labels:
        raise typer.BadParameter("there is nothing to keep without --labels", param_hint="--keep")
    guide_stems = _guides(guides or [])
    try:
        names = _tracks(mixtures, recursive=recursive, out=output)  # before torch is loaded, which takes seconds
    except NothingFoundError as ended:
        if as_json:
            _print_failures(ended.errors)
        raise
    files = [find_dictionary(name) for name in dictionaries or []]
    from sepdict._core.devices import AUTO
    from sepdict._core.names import RESIDUAL
    from sepdict.batch.config import BatchConfig
    from sepdict.batch.export import OutputConfig
    from sepdict.errors import ConfigError
    from sepdict.evaluation.config import ActivityConfig
    from sepdict.separation.config import SEGMENT_S, SeparationConfig

    residual_name = RESIDUAL if residual is None else residual
    marked, corrected = _read_labels(labels or []), _read_labels(corrections or [])
    config = BatchConfig(
        SeparationConfig(
            residual=residual is not None,
            background_model=background_model,
            segment_s=SEGMENT_S if segment_s is None else segment_s,
            device=AUTO if device is None else device,
        ).at_quality(quality),
        output=OutputConfig(audio_format, bit_depth, clip_mode, filename, two_stems, residual_name),
        start_s=start_s,
        duration_s=math.inf if duration_s is None else duration_s,
        n_jobs=jobs,
        overwrite=overwrite,
        skip_existing=skip_existing,
        references=references,
        report=report,
        labels=(*marked, *corrected),
        guide_stems=guide_stems,
        activity=None if write_labels is None else ActivityConfig(write_labels),
    )
    if marked and len(names) > 1:
        raise ConfigError(f"--labels are of one recording, and there are {len(names)}; separate them one by one")
    kept = None if marked else _kept(names, files, output, config)
    if kept is not None:
        _print(kept, as_json=as_json, quiet=quiet)
        return
    _separate(names, files, output, config, marked, cluster, keep=keep, as_json=as_json, quiet=quiet)


def _read_labels(files: Sequence[Path]) -> list["Label"]:
    """Read files of labels, none of which may be blank."""
    from sepdict._core.names import refuse_unwritable
    from sepdict.audio.labels import read_labels
    from sepdict.errors import LabelFileError

    labels = []
    for file in files:
        found = read_labels(file)
        if not found:
            raise LabelFileError(f"{file}: holds no label; mark a moment in which each source is alone")
        for label in found:
            refuse_unwritable(label.name, f"{file}: a label's name")
        labels += found
    return labels


def _guides(texts: Sequence[str]) -> dict[str, Path]:
    """Read the names of stems and the files that guide them."""
    guides: dict[str, Path] = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not name or not file or name in guides:
            expected = "one guide for each stem" if name in guides else "NAME=FILE, as in speech=denoised.wav"
            raise typer.BadParameter(f"{text!r}; expected {expected}", param_hint="--guide")
        guides[name] = Path(file)
    return guides


def _kept(
    names: Mapping[Path, str], dictionary_files: Sequence[Path], output: Path, config: "BatchConfig"
) -> "Sequence[TrackResult] | None":
    """Return the results if all tracks are there already, found without PyTorch; None if there may be work."""
    from sepdict.batch.resume import results_if_all_kept
    from sepdict.dictionaries.header import read_checksum
    from sepdict.errors import SepdictError

    try:
        checksums = dict(map(read_checksum, dictionary_files if config.skip_existing else ()))
        is_each_once = len(checksums) == len(dictionary_files)
        return results_if_all_kept(names, checksums, output.absolute(), config) if is_each_once else None
    except (SepdictError, OSError):  # reported where the work begins
        return None


def _separate(
    names: dict[Path, str],
    dictionary_files: Sequence[Path],
    output: Path,
    config: "BatchConfig",
    labels: Sequence["Label"],
    cluster: str | None,
    *,
    keep: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Learn what labels mark, separate files, showing the progress, and print the results."""
    from sepdict.batch.executors import connected
    from sepdict.batch.run import separate_files
    from sepdict.dictionaries.dictionary import Dictionary

    loaded, paths = [Dictionary.load(path) for path in dictionary_files], list(names)
    files = {dictionary.source: path for dictionary, path in zip(loaded, dictionary_files, strict=True)}
    results: list[TrackResult] = []
    with (
        _printed_afterwards(results, paths, quiet=quiet, as_json=as_json),
        connected(cluster) as client,
        ProgressReport(quiet=quiet) as progress,
    ):
        listener = _Listener(progress, paths, config, results, given=list(files), marked=names_of(labels))
        if labels:
            loaded, config = learn(
                paths[0], labels, loaded, config, keep=keep, quiet=quiet, report=listener.on_progress
            )
        separate_files(
            names,
            loaded,
            output,
            config,
            command=["sepdict", *sys.argv[1:]],
            dictionary_files=files,
            client=client,
            on_progress=listener.on_progress,
            on_track=listener.on_track,
        )
    report_failures(sum(result.error is not None for result in results), len(results))


def _tracks(mixtures: Sequence[str], *, recursive: bool, out: Path) -> dict[Path, str]:
    """Find the recordings and what their tracks are called."""
    from sepdict.batch.layout import find_mixtures

    names: dict[Path, str] = {}

    def find(mixture: str) -> Mapping[Path, str]:
        found = find_mixtures(mixture, recursive=recursive, out=out)
        names.update({path: name for path, name in found.items() if path not in names})
        return found

    return {path: names[path] for path in find_audio(mixtures, find=find, option="-d")}


class _Listener:
    """Shows what begins, its progress, and which tracks failed; collects the results."""

    def __init__(
        self,
        report: ProgressReport,
        paths: Sequence[Path],
        config: "BatchConfig",
        results: list["TrackResult"],
        *,
        given: Sequence[str],
        marked: Sequence[str],
    ) -> None:
        self.report, self.paths, self.config, self.results = report, paths, config, results
        self.to_learn = [source for source in marked if source not in given]
        self.sources = sorted([*given, *self.to_learn])
        self.announced: list[str] = []  # what has begun: a track that is refused before its fit was never separated

    def on_progress(self, event: "Progress") -> None:
        """Show a step, and before the first one what it is a step of."""
        if not self.announced:
            self.report.follow(self._plan())
        what = self._stage(event.stage)
        if what not in self.announced:
            self.announced.append(what)
            self.report.begin(what)
        self.report.step(event)

    def on_track(self, result: "TrackResult") -> None:
        """Keep a result, and print its error."""
        self.results.append(result)
        self.report.count(result.mixture, None if result.error else 0.0 if result.kept else result.duration_s)
        if result.error is not None:
            report_error(result.error)

    def _plan(self) -> "Plan":
        """Plan what there is to do, now that it is known which tracks there are already."""
        from sepdict.audio.decoding import likely_duration_s
        from sepdict.separation.plan import plan_separation

        done, config = {result.mixture for result in self.results}, self.config
        whole_s = {path: likely_duration_s(path) for path in self.paths if path not in done}
        return plan_separation(
            {path: each and min(max(0.0, each - config.start_s), config.duration_s) for path, each in whole_s.items()},
            config.separation,
            n_dictionaries=len(self.sources),
            n_to_learn=len(self.to_learn),
        )

    def _stage(self, stage: str) -> str:
        """Describe the present stage."""
        if stage == "train":
            return f"learning {', '.join(self.to_learn)}"
        if stage == "estimate":
            return telling_apart(self.sources)
        if stage == "tracks":
            return f"separating {len(self.paths)} files, several at a time"
        done = {result.mixture for result in self.results}
        following = next(path for path in self.paths if path not in done)
        return f"separating {following} ({len(done) + 1} of {len(self.paths)})"


@contextlib.contextmanager
def _printed_afterwards(
    results: Sequence["TrackResult"], paths: Sequence[Path], *, quiet: bool, as_json: bool
) -> Iterator[None]:
    """Print the tracks that are done, in their order, when the work inside ends, also by Ctrl-C.

    As JSON, an error that ends the batch is one of each track that is not done.
    """
    from sepdict.batch.result import TrackResult
    from sepdict.errors import SepdictError

    refused: dict[Path, TrackResult] = {}
    try:
        yield
    except SepdictError as error:
        refused = {path: TrackResult(path, str(error)) for path in paths}
        raise
    finally:
        ended = refused | {result.mixture: result for result in results}
        _print([ended[path] for path in paths if path in ended], as_json=as_json, quiet=quiet)


def _print(results: Sequence["TrackResult"], *, as_json: bool, quiet: bool) -> None:
    """Print results of tracks."""
    if as_json:
        _print_json(results)
    else:
        _print_results([result for result in results if result.error is None], quiet=quiet)


def _print_json(results: Sequence["TrackResult"]) -> None:
    """Print all that is known of every track, failed ones included."""
    from sepdict._core.fs import to_json

    say(to_json([result.as_dict() for result in results]))


def _print_failures(errors: Mapping[str, str]) -> None:
    """Print as JSON why arguments stand for no mixture."""
    from sepdict.batch.result import TrackResult

    _print_json([TrackResult(Path(argument), error) for argument, error in errors.items()])


def _print_results(results: Sequence["TrackResult"], *, quiet: bool) -> None:
    """Print where the stems are and how good they are; unless quiet, with how each track went."""
    for result in results:
        title = str(result.mixture) if quiet else _title(result)
        pages = [str(page) for page in (result.report, result.labels) if page is not None]
        folder = os.path.commonpath([path.parent for path in result.stems.values()])
        if result.evaluation is not None:
            scores = {score.source: score_cells(score) for score in result.evaluation.scores}
            no_score = [""] * len(SCORE_COLUMNS)
            rows = [[str(path), *scores.get(source, no_score)] for source, path in result.stems.items()]
            mean = ["mean", *score_cells(result.evaluation.mean)]
            rows = [*rows, mean, *([page, *no_score] for page in pages)]
            print_table(title, ["stem", *SCORE_COLUMNS], rows, folder=folder)
            continue
        paths = [*map(str, result.stems.values()), *pages]
        if quiet:
            say("\n".join(paths))
        else:
            print_table(title, ["stem"], [[path] for path in paths], folder=folder)
    if any(result.evaluation for result in results) and not quiet:
        say(standard())


def _how(result: "TrackResult") -> str:
    """Describe how a fit ended, or that the mixture is silent."""
    if math.isnan(result.explained_energy):
        return "silent, there was nothing to separate"
    return (
        f"explained energy {100 * result.explained_energy:.1f} %, null test {result.null_test_db:.0f} dB, "
        f"{'converged' if result.converged else result.message}"
    )


def _title(result: "TrackResult") -> str:
    """Describe how a track was separated."""
    if result.kept:
        return f"{result.mixture}: kept, its stems were there already"
    softer = f", all stems {-20 * math.log10(result.gain):.1f} dB softer, lest one clips" if result.gain < 1 else ""
    return (
        f"{result.mixture}: {result.duration_s:.1f} s in {result.seconds:.1f} s "
        f"(real-time factor {result.real_time_factor:.2f}), "
        f"{_how(result)}{softer}"
    )
