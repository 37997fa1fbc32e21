"""The guides of a track: labels of its mixture, and files of what another tool takes for its stems."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from sepdict._core.names import RESIDUAL, normalized
from sepdict.audio.io import AudioReader, read_audio
from sepdict.audio.labels import Label
from sepdict.batch.config import BatchConfig
from sepdict.separation.guides import Guide, LabelGuide, StemGuide, refuse_lag

MATCHED_S = 60.0  # of a mixture that a stem is compared with to find its lag


def guides_of(config: BatchConfig, mixture: AudioReader, span: slice, stems: Sequence[str]) -> list[Guide]:
    """Read the guides of the part of a mixture that is separated, and refuse those that do not fit it.

    Parameters
    ----------
    config : BatchConfig
    mixture : AudioReader
        The whole mixture.
    span : slice
        The samples that are separated.
    stems : sequence of str
        The names that the separation gives its stems.

    Raises
    ------
    ConfigError
        If a guide is of another stem, longer or shorter than the mixture, or comes too early or late.
    AudioFileError
        If a stem cannot be read.
    """
    start_s, end_s = (at / mixture.sample_rate for at in (span.start, span.stop))
    stem_of = partial(_stem_of, residual_name=config.output.residual_name)
    guides: list[Guide] = []
    if config.labels:
        whole = LabelGuide(tuple(replace(label, name=stem_of(label.name)) for label in config.labels))
        whole.refuse_unfit(mixture, stems)
        guides += [LabelGuide(within)] if (within := _within(whole.labels, start_s, end_s)) else []
    for name, path in config.guide_stems.items():
        guide = StemGuide(stem_of(name), read_audio(path))
        guide.refuse_unfit(mixture, stems)
        (beginning,) = mixture.blocks([slice(0, min(mixture.n_samples, round(MATCHED_S * mixture.sample_rate)))])
        refuse_lag(replace(guide, audio=guide.audio.seconds(0, beginning.duration_s)), beginning)
        guides.append(replace(guide, audio=guide.audio.seconds(start_s, end_s)))
    return guides


def _stem_of(name: str, *, residual_name: str) -> str:
    """Return the name that the separation gives a stem, in the form of Unicode that dictionaries have."""
    name = normalized(name)
    return RESIDUAL if name == residual_name else name


def _within(labels: Sequence[Label], start_s: float, end_s: float) -> tuple[Label, ...]:
    """Cut labels to a part of the mixture, and count their times from its start."""
    return tuple(
        replace(label, start_s=max(0.0, label.start_s - start_s), end_s=min(label.end_s, end_s) - start_s)
        for label in labels
        if label.start_s < end_s and label.end_s > start_s
    )
