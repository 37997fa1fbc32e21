"""The engine: from a mixture and dictionaries to stems.

For every segment of the mixture, at the dictionaries' sample rate:

    X        = STFT(mixture),  M = |X|
    g_s      = pool(mask_estimator(M), guides)              guide masks, one per source s
    V_s      = fit_excitations(M, dictionaries, g)          magnitudes, one per source
    m_s      = combine(V_s / sum_k V_k, g_s)                masks; g_s now from the mask estimator as adapted
    m_s      = pool(m_s, guides)                            marks, corrections and other tools' stems have their say
    stem_s   = inverse STFT of m_s X

With a single dictionary the background model takes part in the fit, and its masks are only a first estimate: the mask
estimator learns from what they leave, and its masks are those of the source and the residual.

The parts of a segment that no dictionary covers (a constant offset, infrasound, frequencies above the dictionaries'
band) are shared as `out_of_band` describes. The stems, with the residual if there is one, therefore sum to the mixture,
at its rate and length and on its channels. Neighboring segments are cross-faded.
"""

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sepdict._core.devices import choose_device
from sepdict._core.names import RESIDUAL
from sepdict._core.settings import checks_types, refuse_other_type
from sepdict.audio.io import AudioLike, as_audio
from sepdict.audio.offset import centered
from sepdict.audio.overlap_add import Mixture, fade, spans_of
from sepdict.audio.signal import Audio, peak_exponent, resample, scaled
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.errors import AudioError, ConfigError
from sepdict.progress import OnProgress, closes_progress, ignore_progress, progress_of_part
from sepdict.separation.background_model import fit_with_background_model
from sepdict.separation.config import SeparationConfig
from sepdict.separation.diagnostics import Frames, TimelineRecorder
from sepdict.separation.excitations import ExcitationFit, fit_excitations
from sepdict.separation.guides import Grid, Guide, GuideMasks, pool
from sepdict.separation.mask_estimator import MaskEstimator, adapt, adapt_to_residual, exemplars_by_source
from sepdict.separation.mask_estimator_cache import cached_mask_estimator
from sepdict.separation.out_of_band import at_rate_of, with_infrasound, with_rest
from sepdict.separation.result import FitSummary, Outcome, Separation, null_test_db
from sepdict.spectral.masks import combine_masks, ratio_masks, unexplained
from sepdict.spectral.stft import audible, istft, magnitude, n_infrasonic_bins, stft

log = logging.getLogger(__name__)

MASK_EXPONENT = 1.0  # shares by amplitude: 0.1 dB better than 1.5 and 0.3 dB better than 2 on estimated magnitudes


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
    separator = _SegmentSeparator(dictionaries, config, mask_estimator, tuple(guides), device)
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
    separator: "_SegmentSeparator",
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
    timeline = recorder.timeline()
    return Outcome(FitSummary.of(fits), timeline.explained_energy, null_test_db(misses), len(fits), timeline)


def _refuse_not_finite(stems: Tensor, mixture: Audio) -> None:
    """Refuse NaN and infinite samples: the mixture is too loud for its stems, or a dictionary decodes to none."""
    if not stems.isfinite().all():
        raise AudioError(
            f"{mixture.name}: its stems would hold NaN or infinite samples; "
            "bring it to a peak of 1, or check the dictionaries with sepdict info"
        )


@dataclass(frozen=True, eq=False)
class _SegmentSeparator:
    """Separates segments, with dictionaries that lie on the device and settings that are in effect."""

    dictionaries: Sequence[Dictionary]
    config: SeparationConfig
    mask_estimator: MaskEstimator | None
    guides: Sequence[Guide]
    device: torch.device

    @property
    def hop_s(self) -> float:
        """Return the time from one frame to the next, in seconds."""
        card = self.dictionaries[0].card
        return card.stft.hop_length / card.sample_rate

    @property
    def has_residual(self) -> bool:
        """Return whether the last stem is the residual."""
        return self.config.has_residual(len(self.dictionaries))

    @property
    def learns_residual(self) -> bool:
        """Return whether the mask estimator knows the residual, too."""
        return self.mask_estimator is not None and self.mask_estimator.sources[-1] == RESIDUAL

    @property
    def gives_unheard_to_residual(self) -> bool:
        """Return whether the residual gets the offset and infrasound: one that is learned is a source like others."""
        return self.has_residual and not self.learns_residual

    @functools.cached_property
    def exemplars(self) -> dict[str, Tensor]:
        """Return what the mask estimator has learned from."""
        return exemplars_by_source(self.dictionaries, self.device)

    def separate(self, segment: Audio, start_s: float, *, on_progress: OnProgress) -> tuple[Tensor, FitSummary, Frames]:
        """Separate the segment that begins at ``start_s`` into stems of shape (n_stems, n_channels, n_samples)."""
        exponent = peak_exponent(segment)  # at a peak near one nothing overflows, and powers of two round nothing
        mixture = replace(segment, samples=scaled(segment.samples, -exponent))
        card = self.dictionaries[0].card
        resampled = resample(centered(mixture), card.sample_rate)
        spectrum = stft(resampled.samples.to(self.device), card.stft)  # (n_channels, n_bins, n_frames)
        observed = audible(magnitude(spectrum), card.stft, card.sample_rate)
        grid = Grid(self._stems, card.sample_rate, card.stft, start_s, resampled.n_samples, exponent)
        guides = [guide.of_segment(spectrum, grid) for guide in self.guides]
        of_sources = [] if self.has_residual else guides  # masks without a residual's cannot be pooled with one
        guide_masks = self._guide_masks(observed, of_sources)
        fit = self._fit(observed, mixture.sample_rate, guide_masks, on_progress=on_progress)
        explained = audible(self._explained(fit), card.stft, card.sample_rate)  # (n_channels, n_bins, n_frames)
        masks = self._masks(fit, observed, guide_masks, of_sources, on_progress=on_progress)
        masks = pool(self._with_residual(masks, fit, observed, explained), guides)
        if self.learns_residual:
            masks = pool(self._learned_masks(masks, observed, guides, on_progress=on_progress), guides)
        masks = self._with_infrasound(masks, observed)
        samples = istft(masks * spectrum, card.stft, n_samples=resampled.n_samples).cpu()
        samples = at_rate_of(mixture, samples, card.sample_rate)  # (n_stems, n_channels, n_samples)
        samples = with_rest(
            samples,
            mixture,
            masks.cpu(),
            has_residual=self.has_residual,
            offset_to_residual=self.gives_unheard_to_residual,
        )
        frames = Frames.of(fit, observed, explained, n_sources=len(self.dictionaries), scale=2.0**exponent)
        summary = FitSummary(fit.converged, fit.message, fit.loss_curve, silent=not observed.any())
        return scaled(samples, exponent), summary, frames

    @property
    def _sources(self) -> list[str]:
        return [dictionary.source for dictionary in self.dictionaries]

    @property
    def _stems(self) -> tuple[str, ...]:
        return tuple(stem_names(self.dictionaries, self.config))

    def _guide_masks(self, observed: Tensor, guides: Sequence[GuideMasks]) -> Tensor | None:
        """Estimate masks before the fit, pooled with the guides."""
        if self.mask_estimator is None or self.learns_residual:
            return None
        return pool(self.mask_estimator.masks(observed, self._sources), guides)

    def _fit(
        self, observed: Tensor, sample_rate: int, guide_masks: Tensor | None, *, on_progress: OnProgress
    ) -> ExcitationFit:
        """Fit the excitations to the bins that the mixture's own sample rate can hold."""
        card, settings = self.dictionaries[0].card, self.config.fit
        n_bins = math.ceil(card.stft.n_bins * min(1.0, sample_rate / card.sample_rate))
        if self.config.background_model:
            return fit_with_background_model(
                observed, self.dictionaries, settings, n_fitted_bins=n_bins, on_progress=on_progress
            )
        return fit_excitations(
            observed,
            self.dictionaries,
            settings,
            guide_masks=guide_masks,
            n_fitted_bins=n_bins,
            on_progress=on_progress,
        )

    def _explained(self, fit: ExcitationFit) -> Tensor:
        """Sum the magnitudes of the dictionaries, (n_channels, n_bins, n_frames)."""
        explained, *others = fit.magnitudes[: len(self.dictionaries)].unbind()
        for magnitudes in others:
            explained = explained + magnitudes
        return explained

    def _masks(
        self,
        fit: ExcitationFit,
        observed: Tensor,
        guide_masks: Tensor | None,
        guides: Sequence[GuideMasks],
        *,
        on_progress: OnProgress,
    ) -> Tensor:
        """Compute the masks of the sources, (n_sources, n_channels, n_bins, n_frames), summing to one.

        With a mask estimator, they are the geometric mean of the fit's and of those that the mask estimator gives
        after it was adapted to the segment.
        """
        masks = ratio_masks(fit.magnitudes[: len(self.dictionaries)], exponent=MASK_EXPONENT)
        if self.mask_estimator is None or guide_masks is None or self.config.mask_estimator is None:
            return masks
        adapted = adapt(
            self.mask_estimator,
            pool(combine_masks(masks, guide_masks), guides) * observed,
            self._sources,
            n_steps=self.config.mask_estimator.n_adaptation_steps,
            on_progress=on_progress,
        )
        return combine_masks(masks, adapted.masks(observed, self._sources))

    def _with_residual(self, masks: Tensor, fit: ExcitationFit, observed: Tensor, explained: Tensor) -> Tensor:
        """Append the mask of the residual, if there is one, and lower the others by it."""
        if not self.has_residual:
            return masks
        rest = fit.magnitudes[-1] if self.config.background_model else unexplained(observed, fit.magnitudes)
        known, unknown = ratio_masks(torch.stack([explained, rest]), exponent=MASK_EXPONENT)
        return torch.cat([masks * known, unknown[None]])

    def _learned_masks(
        self, fitted: Tensor, observed: Tensor, guides: Sequence[GuideMasks], *, on_progress: OnProgress
    ) -> Tensor:
        """Compute the masks of a single source and the residual by what a first estimate leaves for the residual.

        That is not in the result: what its decoder cannot render of the source the fit takes for the residual, and
        everyday sounds alone teach little of what is in this mixture.
        """
        assert self.mask_estimator is not None
        assert self.config.mask_estimator is not None
        first = pool(combine_masks(fitted, self.mask_estimator.masks(observed, self._stems)), guides)
        left, n_steps = first[-1] * observed, self.config.mask_estimator.n_residual_steps
        adapted = adapt_to_residual(self.mask_estimator, self.exemplars, left, n_steps=n_steps, on_progress=on_progress)
        return adapted.masks(observed, self._stems)

    def _with_infrasound(self, masks: Tensor, observed: Tensor) -> Tensor:
        """Replace the masks of the infrasonic bins."""
        card = self.dictionaries[0].card
        n_infrasonic = n_infrasonic_bins(card.stft, card.sample_rate)
        return with_infrasound(masks, observed, n_infrasonic, to_residual=self.gives_unheard_to_residual)
