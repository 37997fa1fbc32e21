"""`sepdict separate`: from mixtures to stems."""

import contextlib
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .console import NothingFoundError, ProgressReport, find_audio, report_error, report_failures
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
from .results import Results, print_json, print_results

if TYPE_CHECKING:
    from sepdict.audio.labels import Label
    from sepdict.batch.config import BatchConfig
    from sepdict.batch.layout import MixtureList
    from sepdict.batch.result import TrackResult
    from sepdict.progress import Plan, Progress

MOST_LOOKED_INTO = 1000  # mixtures, for their durations; of more, the others are taken to be as long in the mean


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
    from sepdict._core.names import refusal_of_url
    from sepdict.dictionaries.library import find_dictionary
    from sepdict.errors import ConfigError

    if not dictionaries and not labels:
        raise typer.BadParameter(
            "missing; give one for each source, or the moments in which each is alone (--labels)",
            param_hint="'--dictionary' / '-d'",
        )
    if keep and not labels:
        raise typer.BadParameter("there is nothing to keep without --labels", param_hint="--keep")
    if why := refusal_of_url(output):  # before a cluster is asked
        raise ConfigError(why)
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
        print_results(kept, as_json=as_json, quiet=quiet)
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
    names: "MixtureList", dictionary_files: Sequence[Path], output: Path, config: "BatchConfig"
) -> "Iterator[TrackResult] | None":
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
    mixtures: "MixtureList",
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
    from sepdict.batch.run import separate_each
    from sepdict.dictionaries.dictionary import Dictionary

    loaded = [Dictionary.load(path) for path in dictionary_files]
    files = {dictionary.source: path for dictionary, path in zip(loaded, dictionary_files, strict=True)}
    with Results(len(mixtures)) as results:
        with (
            _printed_afterwards(results, mixtures, quiet=quiet, as_json=as_json),
            connected(cluster) as client,
            ProgressReport(quiet=quiet) as progress,
        ):
            listener = _Listener(progress, mixtures, config, results, given=list(files), marked=names_of(labels))
            if labels:
                path, _ = mixtures[0]
                loaded, config = learn(
                    path, labels, loaded, config, keep=keep, quiet=quiet, report=listener.on_progress
                )
            separate_each(
                mixtures,
                loaded,
                output,
                config,
                command=["sepdict", *sys.argv[1:]],
                dictionary_files=files,
                client=client,
                on_progress=listener.on_progress,
                on_result=listener.on_result,
            )
        report_failures(results.n_failed, results.n_there)


def _tracks(arguments: Sequence[str], *, recursive: bool, out: Path) -> "MixtureList":
    """Find the recordings and what their tracks are called; each once, however often and however it was named."""
    from sepdict.batch.layout import MixtureList, find_mixtures

    mixtures = MixtureList()
    first: dict[int, str] = {}  # by hash, which is shorter than a path
    found = find_audio(arguments, find=partial(find_mixtures, recursive=recursive, out=out), option="-d")
    for argument in list(found):
        of_argument = found.pop(argument)
        for number in range(len(of_argument)):
            path = of_argument.path(number)
            real = os.path.realpath(path)
            is_new, other = hash(real) not in first, first.setdefault(hash(real), path)
            if is_new or os.path.realpath(other) != real:
                mixtures.take(of_argument, number)
    return mixtures


class _Listener:
    """Shows what begins, its progress, and which tracks failed; puts the results away."""

    def __init__(
        self,
        report: ProgressReport,
        mixtures: "MixtureList",
        config: "BatchConfig",
        results: Results,
        *,
        given: Sequence[str],
        marked: Sequence[str],
    ) -> None:
        self.report, self.mixtures, self.config, self.results = report, mixtures, config, results
        self.to_learn = [source for source in marked if source not in given]
        self.sources = sorted([*given, *self.to_learn])
        self.announced = ""  # what has begun: a track that is refused before its fit was never separated

    def on_progress(self, event: "Progress") -> None:
        """Show a step, and before the first one what it is a step of."""
        if not self.announced:
            self.report.follow(self._plan())
        what = self._stage(event.stage)
        if what != self.announced:
            self.announced = what
            self.report.begin(what)
        self.report.step(event)

    def on_result(self, number: int, result: "TrackResult") -> None:
        """Put a result away, and print its error."""
        self.results.put(number, result)
        duration_s = None if result.error else 0.0 if result.kept else result.duration_s
        self.report.count(self.mixtures.path(number), duration_s)
        if result.error is not None:
            report_error(result.error)

    def _plan(self) -> "Plan":
        """Plan what there is to do, now that it is known which tracks there are already."""
        from sepdict.audio.decoding import likely_duration_s
        from sepdict.separation.plan import plan_separation

        config, to_do = self.config, [n for n in range(len(self.mixtures)) if n not in self.results]
        paths = list(map(self.mixtures.path, to_do))
        heard = dict.fromkeys(paths[:: 1 + len(paths) // MOST_LOOKED_INTO])
        whole_s = {path: likely_duration_s(Path(path)) if path in heard else None for path in paths}
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
            return f"separating {len(self.mixtures)} files, several at a time"
        following = self.mixtures.path(self.results.first_missing)
        return f"separating {following} ({self.results.n_there + 1} of {len(self.mixtures)})"


@contextlib.contextmanager
def _printed_afterwards(results: Results, mixtures: "MixtureList", *, quiet: bool, as_json: bool) -> Iterator[None]:
    """Print the tracks that are done, in their order, when the work inside ends, also by Ctrl-C.

    As JSON, an error that ends the batch is one of each track that is not done.
    """
    from sepdict.batch.result import TrackResult
    from sepdict.errors import SepdictError

    why: str | None = None
    try:
        yield
    except SepdictError as error:
        why = str(error)
        raise
    finally:
        those = (number for number in range(len(mixtures)) if number in results or why is not None)
        ended = (results[n] if n in results else TrackResult(mixtures[n][0], why) for n in those)
        print_results(ended, as_json=as_json, quiet=quiet)


def _print_failures(errors: Mapping[str, str]) -> None:
    """Print as JSON why arguments stand for no mixture."""
    from sepdict.batch.result import TrackResult

    print_json([TrackResult(Path(argument), error) for argument, error in errors.items()])
