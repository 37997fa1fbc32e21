"""The engine: from a mixture and dictionaries to stems.

A mixture is separated segment by segment:

    segments = the spans of the mixture, each overlapping the next
    stems    = SegmentSeparator.separate(segment)           each segment's stems, which sum to it (see `segment`)
    stems    = cross-fade of neighboring segments' stems    passed on block by block

The stems, with the residual if there is one, therefore sum to the mixture, at its rate and length and on its channels.
The dictionaries and the mask estimator, which is trained or loaded before the first segment, are those of all segments.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sepdict._core.devices import choose_device
from sepdict._core.settings import checks_types, refuse_other_type
from sepdict.audio.io import AudioLike, as_audio
from sepdict.audio.overlap_add import Mixture, fade, spans_of
from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.errors import AudioError, ConfigError
from sepdict.progress import OnProgress, closes_progress, ignore_progress, progress_of_part
from sepdict.separation.config import SeparationConfig
from sepdict.separation.diagnostics import TimelineRecorder
from sepdict.separation.guides import Guide
from sepdict.separation.mask_estimator import MaskEstimator
from sepdict.separation.mask_estimator_cache import cached_mask_estimator
from sepdict.separation.result import FitSummary, Outcome, Separation, null_test_db
from sepdict.separation.segment import SegmentSeparator

log = logging.getLogger(__name__)


@checks_types
@closes_progress
def separate(
    mixture: AudioLike,
    dictionaries: Sequence[DictionaryLike],
    config: SeparationConfig | None = None,
    *,
    guides: Sequence[Guide] = (),
    trained_mask_estimator: MaskEstimator | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Separation:
    """Separate a mixture into one stem per dictionary.

    Parameters
    ----------
    mixture : Audio, path or (samples, sample_rate)
        Of any length, rate and number of channels.
    dictionaries : sequence of Dictionary, path or installed name
        One per source, trained at one rate and STFT.
    config : SeparationConfig, optional
    guides : sequence of LabelGuide or StemGuide
        What is known of who sounds where in this mixture.
    trained_mask_estimator : MaskEstimator, optional
        A mask estimator of these dictionaries, from `train_mask_estimator`. By default one is trained as
        ``config.mask_estimator`` says and kept on disk for the next time (see `cached_mask_estimator`).
    on_progress : callable
        Called after every iteration; raising from it cancels.

    Returns
    -------
    Separation

    Raises
    ------
    AudioError
        If the mixture is so loud that its stems are beyond float32.
    ConfigError
        If there is no dictionary, one is given twice, two have the same source name, they differ in rate or STFT,
        a mask estimator is given although ``config.mask_estimator`` is None, a guide is about another mixture, or
        something is of another type.

    Notes
    -----
    A mixture at another rate than the dictionaries' is resampled for the fit. Its frequencies above the dictionaries'
    band go to the residual; without a residual they are shared, frame by frame, like the top quarter of the band.
    A constant offset and what is below 20 Hz go to the residual, too. Without one, and where a single dictionary has a
    mask estimator, the stems get equal parts of the offset, and infrasound is shared like the sound just above it.

    Examples
    --------
    >>> from sepdict import TrainingConfig, train_dictionary
    >>> hiss, hum = torch.randn(2, 16000), torch.randn(2, 16000).cumsum(1) / 100
    >>> quick = TrainingConfig(n_steps=5)
    >>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
    >>> separation = separate((hiss + hum, 8000), dictionaries, SeparationConfig().at_quality("draft"))
    >>> list(separation), separation["hum"].samples.shape
    (['hiss', 'hum'], torch.Size([2, 16000]))
    """
    config = SeparationConfig() if config is None else config
    mixture, loaded = as_audio(mixture, "mixture"), as_dictionaries(dictionaries)
    blocks: list[Tensor] = []
    outcome = separate_in_blocks(
        mixture,
        loaded,
        blocks.append,
        config,
        guides=guides,
        trained_mask_estimator=trained_mask_estimator,
        on_progress=on_progress,
    )
    names = stem_names(loaded, config)
    samples = torch.cat(blocks, dim=-1)  # (n_stems, n_channels, n_samples)
    stems = {name: Audio(stem, mixture.sample_rate, name) for name, stem in zip(names, samples, strict=True)}
    return Separation(**vars(outcome), stems=stems)


def stem_names(dictionaries: Sequence[Dictionary], config: SeparationConfig) -> list[str]:
    """Return the names of the stems, in their order: those of the sources, and of the residual if there is one."""
    return config.stem_names([dictionary.source for dictionary in dictionaries])


def separate_in_blocks(
    mixture: Mixture,
    dictionaries: Sequence[Dictionary],
    write: Callable[[Tensor], None],
    config: SeparationConfig | None = None,
    *,
    guides: Sequence[Guide] = (),
    trained_mask_estimator: MaskEstimator | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Outcome:
    """Separate as `separate` does, but pass the stems on block by block, so that no stem is in memory as a whole.

    Parameters
    ----------
    mixture : Mixture
    write : callable
        Called again and again with the next samples of all stems, shape (n_stems, n_channels, n_new_samples).

    The other parameters and the exceptions are those of `separate`.
    """
    config = SeparationConfig() if config is None else config
    refuse_unfit(dictionaries)
    refuse_other_type("config", config, SeparationConfig)
    _refuse_unwanted(trained_mask_estimator, config)
    for guide in guides:
        guide.refuse_unfit(mixture, stem_names(dictionaries, config))
    device = choose_device(config.device)
    dictionaries = [dictionary.to(device) for dictionary in dictionaries]
    spans = spans_of(mixture, config.segment_s)
    mask_estimator = trained_mask_estimator or prepare_mask_estimator(dictionaries, config, on_progress=on_progress)
    has_mask_estimator = mask_estimator is not None
    config = config.in_effect(has_mask_estimator=has_mask_estimator, n_dictionaries=len(dictionaries))
    separator = SegmentSeparator(dictionaries, config, mask_estimator, tuple(guides), device)
    return _separate_segments(mixture, spans, separator, write, on_progress=on_progress)


def prepare_mask_estimator(
    dictionaries: Sequence[Dictionary], config: SeparationConfig, *, on_progress: OnProgress = ignore_progress
) -> MaskEstimator | None:
    """Train a mask estimator of the dictionaries, or load it from the cache.

    Returns
    -------
    MaskEstimator or None
        None if the settings ask for none, or a dictionary has no exemplars.
    """
    if config.mask_estimator is None:
        return None
    without_exemplars = [dictionary for dictionary in dictionaries if not dictionary.has_exemplars]
    if unasked := [d.source for d in without_exemplars if d.card.training.get("memory_s") != 0]:
        log.warning("no mask estimator, for better stems train again what has no exemplars: %s", ", ".join(unasked))
    if without_exemplars:
        return None
    return cached_mask_estimator(dictionaries, config.mask_estimator, device=config.device, on_progress=on_progress)


def _refuse_unwanted(trained_mask_estimator: MaskEstimator | None, config: SeparationConfig) -> None:
    """Refuse a mask estimator that the settings exclude."""
    if trained_mask_estimator is not None and config.mask_estimator is None:
        raise ConfigError(
            "trained_mask_estimator is given, but mask_estimator is None in SeparationConfig; leave one of them out"
        )


def _separate_segments(
    mixture: Mixture,
    spans: Sequence[slice],
    separator: SegmentSeparator,
    write: Callable[[Tensor], None],
    *,
    on_progress: OnProgress,
) -> Outcome:
    """Separate segment by segment, cross-fade the stems of neighboring ones, and sum up how it went."""
    fits, misses = list[FitSummary](), list[tuple[float, float]]()
    recorder = TimelineRecorder(mixture.n_samples / mixture.sample_rate, separator.hop_s)
    tail = torch.zeros(0)  # the end of the last segment's stems, which fades out while the next segment fades in
    for index, segment in enumerate(mixture.blocks(spans)):
        start_s = spans[index].start / mixture.sample_rate
        report = progress_of_part(on_progress, index, len(spans))
        stems, fit, frames = separator.separate(segment, start_s, on_progress=report)
        faded = fade(spans, index) * stems
        faded[..., : tail.shape[-1]] += tail
        n_finished = (spans[index + 1].start if index + 1 < len(spans) else spans[index].stop) - spans[index].start
        finished, tail = faded[..., :n_finished], faded[..., n_finished:].clone()
        _refuse_not_finite(finished, segment)
        write(finished)
        log.debug("segment %d of %d: %s cost %.4g", index + 1, len(spans), fit.message, fit.loss_curve[-1])
        mixed = segment.samples[:, :n_finished]
        misses.append((float((mixed - finished.sum(dim=0, dtype=torch.float64)).abs().max()), float(mixed.abs().max())))
        fits.append(fit)
        recorder.add(start_s, frames)
        del stems, faded, finished  # the next segment needs the memory
    timeline = recorder.timeline()
    return Outcome(FitSummary.of(fits), timeline.explained_energy, null_test_db(misses), len(fits), timeline)


def _refuse_not_finite(stems: Tensor, mixture: Audio) -> None:
    """Refuse NaN and infinite samples: the mixture is too loud for its stems, or a dictionary decodes to none."""
    if not stems.isfinite().all():
        raise AudioError(
            f"{mixture.name}: its stems would hold NaN or infinite samples; "
            "bring it to a peak of 1, or check the dictionaries with sepdict info"
        )
