"""From a mixture and dictionaries to stems.

    stft -> mask_estimator.masks -> fit_excitations -> ratio_masks, agreed with the composition's -> istft

at the dictionaries' rate; what they do not hear is shared out at the mixture's own (see `out_of_band`). The stems, with
the residual if there is one, always sum to the mixture, sample for sample, at its rate and length and on its channels.
Long mixtures are taken apart segment by segment, so that no more than one of them need be in memory.
"""

import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sepdict._core.devices import AUTO, choose_device
from sepdict._core.settings import checks_types, refuse_other_type
from sepdict.audio.offset import centered
from sepdict.audio.overlap_add import SEGMENT_S, Mixture, fade, refuse_short, spans_of
from sepdict.audio.signal import Audio, peak_exponent, resample, scaled
from sepdict.dictionaries.dictionary import RESIDUAL, Dictionary, refuse_unfit
from sepdict.errors import AudioError
from sepdict.progress import OnProgress, ignore_progress, progress_of_part
from sepdict.separation.background_model import fit_with_background_model
from sepdict.separation.diagnostics import Frames, Timeline, TimelineRecorder
from sepdict.separation.excitations import FitConfig, fit_excitations
from sepdict.separation.mask_estimator import MaskEstimator, adapt, cached_mask_estimator
from sepdict.separation.out_of_band import at_rate_of, given_back, with_infrasound
from sepdict.spectral.masks import agreed, ratio_masks, unexplained
from sepdict.spectral.stft import audible, istft, magnitude, n_infrasonic_bins, stft

log = logging.getLogger(__name__)

MASK_EXPONENT = 1.0  # shares by amplitude: 0.1 dB better than 1.5 and 0.3 dB better than 2 on estimated magnitudes
SILENCE_DB = -300.0  # what a ratio of nothing to something is reported as, for JSON knows no infinity


@dataclass(frozen=True)
class FitSummary:
    """How the fits of all segments went.

    Attributes
    ----------
    converged : bool
        Whether all did.
    message : str
        How they ended, in one sentence: that of the first segment that did not converge, or of the longest fit.
    loss_curve : tuple of float
        The cost at the start and after each iteration, a mean over the segments.
    silent : bool
        Whether there was nothing to fit; silent segments among others count for nothing.
    """

    converged: bool
    message: str
    loss_curve: tuple[float, ...]
    silent: bool = False

    @classmethod
    def of(cls, fits: Sequence["FitSummary"]) -> "FitSummary":
        """Summarize fits of equal weight; one that has ended stays at its last cost."""
        fits = [fit for fit in fits if not fit.silent] or fits[:1]
        longest = max(len(fit.loss_curve) for fit in fits)
        curves = [(*fit.loss_curve, *fit.loss_curve[-1:] * (longest - len(fit.loss_curve))) for fit in fits]
        told = max(fits, key=lambda fit: (not fit.converged, len(fit.loss_curve)))
        mean_curve = tuple(sum(costs) / len(fits) for costs in zip(*curves, strict=True))
        return cls(all(fit.converged for fit in fits), told.message, mean_curve, all(fit.silent for fit in fits))


@dataclass(frozen=True)
class Outcome:
    """How a separation went.

    Attributes
    ----------
    fit : FitSummary
    explained_energy : float
        Share of the mixture's spectral energy that the dictionaries' magnitudes account for, 0 to 1; nan of silence.
    null_test_db : float
        Largest difference between the mixture and the sum of the stems, relative to the mixture's peak; about -130.
    n_segments : int
        In how many the mixture was taken apart.
    timeline : Timeline
        How it went over time, coarsely.
    """

    fit: FitSummary
    explained_energy: float
    null_test_db: float
    n_segments: int
    timeline: Timeline


@dataclass(frozen=True, eq=False, repr=False)
class Separation(Outcome):
    """What a mixture was taken apart into, and how that went.

    Attributes
    ----------
    stems : mapping of str to Audio
        One per dictionary, in their order, then ``"residual"`` if there is one; each of the mixture's
        length, rate and channels.
    """

    stems: Mapping[str, Audio]

    def __repr__(self) -> str:
        return f"Separation({', '.join(self.stems)}; explained_energy={self.explained_energy:.3f}; {self.fit.message})"


@checks_types
def separate(
    mixture: Audio,
    dictionaries: Sequence[Dictionary],
    config: FitConfig | None = None,
    *,
    mask_estimator: MaskEstimator | None = None,
    residual: bool = False,
    background_model: bool = False,
    segment_s: float = SEGMENT_S,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> Separation:
    """Pull the sources out of a mixture.

    Parameters
    ----------
    mixture : Audio
        Of any length, rate and number of channels.
    dictionaries : sequence of Dictionary
        One per source, trained at one rate and STFT.
    config : FitConfig, optional
    mask_estimator : MaskEstimator, optional
        Of these dictionaries. By default they are composed here, which takes a minute once and is then kept (see
        `cached_mask_estimator`); with ``FitConfig(guide_weight=0)`` they are not.
    residual : bool
        Whether what no dictionary explains becomes a stem of its own, named ``"residual"``, instead of being shared
        out among the sources. With a single dictionary there always is one: it is the other half of the answer.
    background_model : bool
        Whether what no dictionary knows gets one of its own, made from the mixture, beside which the others need not
        explain everything; its share is the residual. Five times as slow. For mixtures that hold more than what there
        are dictionaries of, and where they do, better on average and not always: compare with ``residual``.
    segment_s : float
        Longer mixtures are separated in segments of this length, in seconds, which are cross-faded: it bounds the
        memory that a separation takes beside the stems.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    on_progress : callable
        Called after every iteration of the fit; raising from it cancels.

    Returns
    -------
    Separation

    Raises
    ------
    AudioError
        If the mixture is so loud that its stems are beyond float32.
    ConfigError
        If there is no dictionary, one is there twice, two have the same source name, they differ in rate or STFT,
        ``segment_s`` is too short, or something is of another type.

    Notes
    -----
    A mixture at another rate than the dictionaries' is resampled for the fit. What it holds above their band no
    dictionary knows: it goes to the residual, or without one is shared out, frame by frame, as the top quarter of
    the band was. Nor do they hear a constant offset and what is below 20 Hz, which go the same way: an offset is
    shared equally, infrasound as the sound just above it is.

    Examples
    --------
    >>> from sepdict import TrainingConfig, train_dictionary
    >>> hiss, hum = torch.randn(2, 16000), torch.randn(2, 16000).cumsum(1) / 100
    >>> quick = TrainingConfig(n_steps=5)
    >>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
    >>> stems = separate(Audio(hiss + hum, 8000), dictionaries, FitConfig(guide_weight=0)).stems
    >>> list(stems), stems["hum"].samples.shape
    (['hiss', 'hum'], torch.Size([2, 16000]))
    """
    blocks: list[Tensor] = []
    outcome = separate_in_blocks(
        mixture,
        dictionaries,
        blocks.append,
        config,
        mask_estimator=mask_estimator,
        residual=residual,
        background_model=background_model,
        segment_s=segment_s,
        device=device,
        on_progress=on_progress,
    )
    names = stem_names(dictionaries, residual=residual or background_model)
    samples = torch.cat(blocks, dim=-1)  # (n_stems, n_channels, n_samples)
    stems = {name: Audio(stem, mixture.sample_rate, name) for name, stem in zip(names, samples, strict=True)}
    return Separation(**vars(outcome), stems=stems)


def stem_names(dictionaries: Sequence[Dictionary], *, residual: bool) -> list[str]:
    """Name the stems that there will be, in their order."""
    names = [dictionary.source for dictionary in dictionaries]
    return [*names, RESIDUAL] if residual or len(dictionaries) == 1 else names


def separate_in_blocks(
    mixture: Mixture,
    dictionaries: Sequence[Dictionary],
    write: Callable[[Tensor], None],
    config: FitConfig | None = None,
    *,
    mask_estimator: MaskEstimator | None = None,
    residual: bool = False,
    background_model: bool = False,
    segment_s: float = SEGMENT_S,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> Outcome:
    """Do what `separate` does, and hand the stems over block by block, so that nothing is held in memory whole.

    Parameters
    ----------
    mixture : Mixture
    write : callable
        Given the next samples of all stems, shape (n_stems, n_channels, n_new_samples), again and again.

    The other parameters and the exceptions are those of `separate`.
    """
    refuse_unfit(dictionaries)
    refuse_short(segment_s)
    config = FitConfig() if config is None else config
    refuse_other_type("config", config, FitConfig)
    chosen = choose_device(device)
    dictionaries = [dictionary.to(chosen) for dictionary in dictionaries]
    spans = spans_of(mixture, segment_s)
    if mask_estimator is None:
        mask_estimator = composed_as_configured(dictionaries, config, device=device, on_progress=on_progress)
    has_residual = RESIDUAL in stem_names(dictionaries, residual=residual or background_model)
    config = effective(config, composed=mask_estimator is not None, has_residual=has_residual)
    fits, misses = list[FitSummary](), list[tuple[float, float]]()
    card = dictionaries[0].card
    recorder = TimelineRecorder(mixture.n_samples / mixture.sample_rate, card.stft.hop_length / card.sample_rate)
    unfinished = torch.zeros(0)  # what the segments so far have to say of samples that the next will also hear
    for index, part in enumerate(mixture.blocks(spans)):
        report = progress_of_part(on_progress, index, len(spans))
        exponent = peak_exponent(part)  # at a peak near one nothing overflows, and powers of two round nothing
        stems, fit, frames = _separate_segment(
            replace(part, samples=scaled(part.samples, -exponent)),
            dictionaries,
            config,
            mask_estimator,
            has_residual=has_residual,
            background_model=background_model,
            device=chosen,
            scale=2.0**exponent,
            on_progress=report,
        )
        faded = fade(spans, index) * scaled(stems, exponent)
        faded[..., : unfinished.shape[-1]] += unfinished
        n_finished = (spans[index + 1].start if index + 1 < len(spans) else spans[index].stop) - spans[index].start
        finished, unfinished = faded[..., :n_finished], faded[..., n_finished:].clone()
        _refuse_not_finite(finished, part)
        write(finished)
        log.debug("segment %d of %d: %s cost %.4g", index + 1, len(spans), fit.message, fit.loss_curve[-1])
        mixed = part.samples[:, :n_finished]
        misses.append((float((mixed - finished.sum(dim=0, dtype=torch.float64)).abs().max()), float(mixed.abs().max())))
        fits.append(fit)
        recorder.add(spans[index].start / mixture.sample_rate, frames)
    return _outcome(fits, misses, recorder.timeline())


def _refuse_not_finite(stems: Tensor, mixture: Audio) -> None:
    """Refuse to hand over what is no sound: a mixture too loud for its stems, or a dictionary that draws none."""
    if not stems.isfinite().all():
        raise AudioError(
            f"{mixture.name}: its stems would hold NaN or infinite samples; "
            "bring it to a peak of 1, or check the dictionaries with sepdict info"
        )


def effective(config: FitConfig, *, composed: bool, has_residual: bool) -> FitConfig:
    """Say what a fit is really made with: a composition would give all that is unknown to somebody it knows."""
    return config if composed and not has_residual else replace(config, guide_weight=0.0, n_adaptation_steps=0)


def _outcome(fits: Sequence[FitSummary], misses: Sequence[tuple[float, float]], timeline: Timeline) -> Outcome:
    """Sum up how all segments went, and how far the blocks of stems were from the mixture, at its peak."""
    return Outcome(
        fit=FitSummary.of(fits),
        explained_energy=timeline.explained_energy,
        null_test_db=null_test_db(misses),
        n_segments=len(fits),
        timeline=timeline,
    )


def null_test_db(misses: Sequence[tuple[float, float]]) -> float:
    """Measure by how much sums of stems miss a mixture, given of each block the largest difference and the peak.

    Of what is not finite this is nan.
    """
    if not all(map(math.isfinite, itertools.chain(*misses))):
        return math.nan
    miss, peak = map(max, zip(*misses, strict=True))
    return max(SILENCE_DB, 20 * math.log10(miss / peak)) if miss > 0 and peak > 0 else SILENCE_DB


def _separate_segment(
    mixture: Audio,
    dictionaries: Sequence[Dictionary],
    config: FitConfig,
    mask_estimator: MaskEstimator | None,
    *,
    has_residual: bool,
    background_model: bool,
    device: torch.device,
    scale: float,
    on_progress: OnProgress,
) -> tuple[Tensor, FitSummary, Frames]:
    """Separate at once, into (n_stems, n_channels, n_samples), with dictionaries that lie on the device.

    The frames are as they would be of a mixture so many times as loud.
    """
    card = dictionaries[0].card
    names = [dictionary.source for dictionary in dictionaries]
    heard = resample(centered(mixture), card.sample_rate)
    spectrum = stft(heard.samples.to(device), card.stft)  # (n_channels, n_bins, n_frames)
    observed = audible(magnitude(spectrum), card.stft, card.sample_rate)
    n_heard_bins = math.ceil(card.stft.n_bins * min(1.0, mixture.sample_rate / card.sample_rate))
    guide = None if mask_estimator is None else mask_estimator.masks(observed, names)
    options: dict[str, Any] = {"n_heard_bins": n_heard_bins, "on_progress": on_progress}
    if background_model:
        fit = fit_with_background_model(observed, dictionaries, config, **options)
        *drawn, rest = fit.magnitudes
    else:
        fit = fit_excitations(observed, dictionaries, config, masks=guide, **options)
        drawn, rest = list(fit.magnitudes), unexplained(observed, fit.magnitudes)
    explained = audible(sum(drawn[1:], drawn[0]), card.stft, card.sample_rate)  # (n_channels, n_bins, n_frames)
    masks = ratio_masks(torch.stack(drawn), exponent=MASK_EXPONENT)  # (n_sources, n_channels, n_bins, n_frames)
    if mask_estimator is not None and guide is not None:
        taken_for = agreed(masks, guide) * observed
        adapted = adapt(mask_estimator, taken_for, names, n_steps=config.n_adaptation_steps, on_progress=on_progress)
        masks = agreed(masks, adapted.masks(observed, names))
    if has_residual:
        known, others = ratio_masks(torch.stack([explained, rest]), exponent=MASK_EXPONENT)
        masks = torch.cat([masks * known, others[None]])
    n_infrasonic = n_infrasonic_bins(card.stft, card.sample_rate)
    masks = with_infrasound(masks, observed, n_infrasonic, has_residual=has_residual)
    samples = istft(masks * spectrum, card.stft, n_samples=heard.n_samples).cpu()  # (n_stems, n_channels, n_samples)
    samples = at_rate_of(mixture, samples, card.sample_rate)
    samples = given_back(samples, mixture, masks.cpu(), has_residual=has_residual)
    frames = Frames.of(fit, observed, explained, n_sources=len(dictionaries), scale=scale)
    return samples, FitSummary(fit.converged, fit.message, fit.loss_curve, silent=not observed.any()), frames


def composed_as_configured(
    dictionaries: Sequence[Dictionary],
    config: FitConfig,
    *,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> MaskEstimator | None:
    """Compose the dictionaries, or None where that is not asked for or they cannot be: what `separate` begins with."""
    if len(dictionaries) == 1 or config.guide_weight == 0:
        return None
    forgetful = [dictionary for dictionary in dictionaries if not dictionary.has_exemplars]
    if unasked := [d.source for d in forgetful if d.card.training.get("memory_s") != 0]:
        log.warning("not composed, for better stems train again what remembers nothing: %s", ", ".join(unasked))
    if forgetful:
        return None
    return cached_mask_estimator(dictionaries, device=device, on_progress=on_progress)
