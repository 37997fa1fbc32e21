"""One track: from the file of a mixture to the files of its stems, whole or not at all."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from sepdict._core.devices import choose_device
from sepdict._core.fs import Snapshot, write_atomically
from sepdict.audio.context import Context, read_context
from sepdict.audio.io import AudioReader, open_audio, read_audio
from sepdict.audio.labels import write_labels
from sepdict.audio.signal import Audio
from sepdict.audio.writing import copy_audio, writing_audio, writing_stems
from sepdict.batch.config import BatchConfig
from sepdict.batch.layout import Track
from sepdict.batch.manifest import Excerpt, LabelFacts, Manifest, MixtureFacts, RunFacts, StemFacts
from sepdict.batch.publishing import DoneMeanwhileError, publishing
from sepdict.batch.result import Delivery, TrackResult
from sepdict.batch.resume import kept_result
from sepdict.batch.verification import null_test_of
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError, AudioFileError, ConfigError, explain
from sepdict.evaluation.activity import sounding_labels
from sepdict.evaluation.config import ActivityConfig
from sepdict.evaluation.scoring import Evaluation, evaluate
from sepdict.progress import OnProgress, Progress
from sepdict.reports.separation_report import separation_page
from sepdict.separation.engine import separate_in_blocks, stem_names
from sepdict.separation.guides import Guide
from sepdict.separation.mask_estimator import MaskEstimator
from sepdict.separation.result import Outcome

log = logging.getLogger(__name__)

EXCERPT = "excerpt.rf64"
MOST_NULL_TEST_DB = -80.0  # 32-bit stems sum to the mixture but for rounding, which is some -130 dB


@dataclass(frozen=True)
class Work:
    """Everything that the tracks of a run have in common; the separation's settings are those in effect."""

    dictionaries: Sequence[Dictionary]
    config: BatchConfig
    mask_estimator: MaskEstimator | None
    guides: Sequence[Guide] | None  # of the one mixture there is; None if it could not be read when they were
    run: RunFacts

    @property
    def stem_names(self) -> list[str]:
        """Return the names of the stems that the separation gives."""
        return stem_names(self.dictionaries, self.config.separation)

    def settings(self, outcome: Outcome) -> dict[str, Any]:
        """Collect what the manifest says of how a track was separated."""
        device = str(choose_device(self.config.separation.device))
        settings = asdict(self.config.separation) | {"device": device, "n_segments": outcome.n_segments}
        return settings | asdict(self.config.output)


def separate_track(
    work: Work, on_progress: OnProgress, track_and_references: tuple[Track, Mapping[str, Path]]
) -> TrackResult:
    """Read, separate, score and write one track, and turn whatever goes wrong with it into a result.

    What another process finished since the track was planned is kept: this is then a second attempt at the same work.
    """
    track, truth = track_and_references
    on_progress = _marking_callback_errors(on_progress)
    if track.was_written_since and (done := kept_result(track, work.run.order)):
        return done
    try:
        moves = {"overwrite": work.config.overwrite, "resumes": work.config.skip_existing}
        with open_audio(track.mixture) as whole, publishing(track, **moves) as hidden:
            span = work.config.span(whole)
            if work.guides is None:
                raise AudioFileError(f"{track.mixture}: could not be read when its guides were; separate it again")
            references = {name: _read_reference(path, whole, span) for name, path in truth.items()}
            snapshot = Snapshot.of(track.mixture)
            context = read_context(track.mixture).of_span(span, whole.sample_rate)
            with _excerpt(whole, span, hidden.out) as mixture:
                delivery = _deliver(hidden, mixture, work, references, context, on_progress)
                if snapshot.has_changed():
                    raise AudioFileError(f"{track.mixture}: was changed while it was read; separate it again")
                manifest = Manifest(
                    run=work.run,
                    seconds=delivery.seconds,
                    mixture=MixtureFacts.of(track.mixture, snapshot.sha256, mixture),
                    excerpt=_excerpt_of(span, whole),
                    settings=work.settings(delivery.outcome),
                    context=context.as_dict(),
                    outcome=delivery.outcome,
                    gain=delivery.gain,
                    stems=track.stems,
                    files=delivery.files,
                    report=track.report,
                    labels=_write_labels(hidden, work.config.activity),
                    scores=None if delivery.scores is None else delivery.scores.as_dict(),
                )
                if hidden.report:
                    page = separation_page(
                        manifest.as_dict(),
                        hidden.stems,
                        [dictionary.card for dictionary in work.dictionaries],
                        delivery.outcome.timeline,
                        mixture=mixture.path,
                    )
                    write_atomically(hidden.report, page.encode(errors="surrogateescape"))
            manifest.write(hidden.manifest)
    except ConfigError:  # it fails every track alike
        raise
    except DoneMeanwhileError:
        changed = TrackResult(
            track.mixture, f"{track.manifest}: was written meanwhile, and is damaged; separate it again"
        )
        return kept_result(track, work.run.order) or changed
    except _CallbackError as raised:
        raise raised.error from raised.error.__cause__
    except Exception as error:
        log.debug("%s: failed", track.mixture, exc_info=error)
        return TrackResult(track.mixture, explain(track.mixture, error))
    return delivery.result(track, mixture)


class _CallbackError(BaseException):
    """Carries an error of a callback past the handlers that take errors for the file's."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _marking_callback_errors(on_progress: OnProgress) -> OnProgress:
    """Mark errors that a callback raises: they end the batch, others only their track."""

    def report(progress: Progress) -> None:
        try:
            on_progress(progress)
        except Exception as error:
            raise _CallbackError(error) from error

    return report


def _excerpt_of(span: slice, mixture: AudioReader) -> Excerpt | None:
    """Return the part of a mixture that a span is; None if it is the whole."""
    if span == slice(0, mixture.n_samples):
        return None
    return Excerpt(span.start / mixture.sample_rate, (span.stop - span.start) / mixture.sample_rate)


@contextlib.contextmanager
def _excerpt(mixture: AudioReader, span: slice, folder: Path) -> Iterator[AudioReader]:
    """Open the part of a mixture that is separated, as a file of its own unless it is all of it."""
    if _excerpt_of(span, mixture) is None:
        yield mixture
        return
    copy_audio(mixture.path, folder / EXCERPT, span=span)
    with open_audio(folder / EXCERPT) as excerpt:
        yield excerpt


def _deliver(
    hidden: Track,
    mixture: AudioReader,
    work: Work,
    references: Mapping[str, Audio],
    context: Context,
    on_progress: OnProgress,
) -> Delivery:
    """Separate an open file into a track's stems, and score them."""
    start = time.perf_counter()
    outcome, peak = _separate_into(hidden, mixture, work, context, on_progress)
    gain = hidden.output.encode(list(hidden.stems.values()), peak=peak, context=context)
    if hidden.output.encoding != "FLOAT":
        measured = null_test_of(mixture.path, list(hidden.stems.values()), gain=gain)
        outcome = replace(outcome, null_test_db=measured)
    _refuse_implausible(outcome, hidden)
    seconds = time.perf_counter() - start
    scores = _scores(hidden, mixture.path, references) if references else None
    files = {name: StemFacts.of(path, hidden.manifest.parent) for name, path in hidden.stems.items()}
    return Delivery(outcome, gain, seconds, scores, files)


def _separate_into(
    hidden: Track,
    mixture: AudioReader,
    work: Work,
    context: Context,
    on_progress: OnProgress,
) -> tuple[Outcome, float]:
    """Separate an open file into drafts of a track's stems, block by block, and return the largest sample of them."""
    output, peaks = hidden.output, [0.0]
    form = {name: getattr(mixture, name) for name in ("n_channels", "n_samples", "sample_rate")}
    drafts = [output.draft(path) for path in hidden.stems.values()]
    for path in set(hidden.stems.values()).difference(drafts):  # that they can be encoded is known before the work
        with writing_audio(path, **form, encoding=output.encoding):
            pass
    with writing_stems(drafts, like=mixture, context=context) as write_drafts:

        def write(samples: Tensor) -> None:
            stems = output.mixed(samples, work.stem_names)
            peaks.append(float(stems.abs().max()))
            if not math.isfinite(peaks[-1]):
                raise AudioError("its stems would hold NaN or infinite samples; they are not kept, please report this")
            write_drafts(stems)

        outcome = separate_in_blocks(
            mixture,
            work.dictionaries,
            write,
            work.config.separation,
            guides=work.guides or (),
            trained_mask_estimator=work.mask_estimator,
            on_progress=on_progress,
        )
    return outcome, max(peaks)


def _write_labels(hidden: Track, config: ActivityConfig | None) -> LabelFacts | None:
    """Write when each stem sounds, if that is asked for."""
    if hidden.labels is None or config is None:
        return None
    labels = sounding_labels(hidden.stems, config)
    write_labels(labels, hidden.labels, format=config.format)
    return LabelFacts.of(hidden.labels, hidden.manifest.parent, n_labels=len(labels), format=config.format)


def _refuse_implausible(outcome: Outcome, hidden: Track) -> None:
    """Refuse stems that do not sum to the mixture: something went wrong that must not pass for a success."""
    most_db = MOST_NULL_TEST_DB if hidden.output.encoding == "FLOAT" else math.inf
    if not outcome.null_test_db <= most_db:  # nan included
        raise AudioError(
            f"its stems miss it by {outcome.null_test_db:.0f} dB of its peak; expected {most_db:.0f} dB or less: "
            "they are not kept, please report this"
        )


def _scores(hidden: Track, mixture: Path, references: Mapping[str, Audio]) -> Evaluation:
    """Score the stems that were written; the reference of ``no_{name}`` is the mixture without the source."""
    whole = read_audio(mixture)
    wanted = hidden.output.two_stems
    others = {
        f"no_{name}": replace(reference, samples=whole.samples - reference.samples)
        for name, reference in references.items()
        if name == wanted
    }
    stems = {name: read_audio(path) for name, path in hidden.stems.items()}
    return evaluate(stems, {**references, **others}, mixture=whole)


def _read_reference(path: Path, mixture: AudioReader, span: slice) -> Audio:
    """Read a part of a reference, and refuse one that does not fit the mixture before the separation, not after."""
    with open_audio(path) as reference:
        found, expected = (
            f"{audio.n_samples} samples on {audio.n_channels} channel(s) at {audio.sample_rate} Hz"
            for audio in (reference, mixture)
        )
        if found != expected:
            raise AudioFileError(f"{path}: has {found}; expected {expected}, as in its mixture")
        (part,) = reference.blocks([span])
    return part
