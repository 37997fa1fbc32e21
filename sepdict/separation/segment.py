"""One segment of a mixture: from its spectrogram to its stems.

At the dictionaries' sample rate, with one dictionary per source s:

    X        = STFT(segment),  M = |X|
    g_s      = pool(mask_estimator(M), guides)              guide masks, one per source s
    V_s      = fit_excitations(M, dictionaries, g)          magnitudes, one per source
    m_s      = combine(V_s / sum_k V_k, g_s)                masks; g_s now from the mask estimator as adapted
    m_s      = pool(m_s, guides)                            marks, corrections and other tools' stems have their say
    stem_s   = inverse STFT of m_s X

With a single dictionary the background model takes part in the fit, and its masks are only a first estimate: the mask
estimator learns from what they leave, and its masks are those of the source and the residual.

The parts of a segment that no dictionary covers (a constant offset, infrasound, frequencies above the dictionaries'
band) are shared as `out_of_band` describes. The stems, with the residual if there is one, therefore sum to the segment,
at its rate and length and on its channels.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sepdict._core.names import RESIDUAL
from sepdict.audio.offset import centered
from sepdict.audio.signal import Audio, peak_exponent, resample, scaled
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.progress import OnProgress
from sepdict.separation.background_model import fit_with_background_model
from sepdict.separation.config import SeparationConfig
from sepdict.separation.diagnostics import Frames
from sepdict.separation.excitations import ExcitationFit, fit_excitations
from sepdict.separation.guides import Grid, Guide, GuideMasks, pool
from sepdict.separation.mask_estimator import MaskEstimator, adapt, adapt_to_residual, exemplars_by_source
from sepdict.separation.out_of_band import at_rate_of, with_infrasound, with_rest
from sepdict.separation.result import FitSummary
from sepdict.spectral.masks import combine_masks, ratio_masks, unexplained
from sepdict.spectral.stft import audible, istft, magnitude, n_infrasonic_bins, stft

MASK_EXPONENT = 1.0  # shares by amplitude: 0.1 dB better than 1.5 and 0.3 dB better than 2 on estimated magnitudes


@dataclass(frozen=True, eq=False)
class SegmentSeparator:
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
        fit, explained, masks = self._estimate(observed, mixture.sample_rate, guides, on_progress=on_progress)
        stems = [istft(mask * spectrum, card.stft, n_samples=resampled.n_samples).cpu() for mask in masks]
        samples = at_rate_of(mixture, torch.stack(stems), card.sample_rate)  # (n_stems, n_channels, n_samples)
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

    def _estimate(
        self, observed: Tensor, sample_rate: int, guides: Sequence[GuideMasks], *, on_progress: OnProgress
    ) -> tuple[ExcitationFit, Tensor, Tensor]:
        """Fit the excitations; return the fit, the magnitude that the sources explain, and the masks of the stems."""
        card = self.dictionaries[0].card
        of_sources = [] if self.has_residual else guides  # masks without a residual's cannot be pooled with one
        guide_masks = self._guide_masks(observed, of_sources)
        fit = self._fit(observed, sample_rate, guide_masks, on_progress=on_progress)
        masks = self._masks(fit, observed, guide_masks, of_sources, on_progress=on_progress)
        explained = audible(self._explained(fit), card.stft, card.sample_rate)  # (n_channels, n_bins, n_frames)
        masks = pool(self._with_residual(masks, fit, observed, explained), guides)
        if self.learns_residual:
            masks = pool(self._learned_masks(masks, observed, guides, on_progress=on_progress), guides)
        return fit, explained, self._with_infrasound(masks, observed)

    @property
    def _sources(self) -> list[str]:
        return [dictionary.source for dictionary in self.dictionaries]

    @property
    def _stems(self) -> tuple[str, ...]:
        return tuple(self.config.stem_names(self._sources))

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
            n_cuts=self.config.mask_estimator.n_adaptation_cuts,
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
