"""Measures of how close an estimated source is to its reference, in decibels.

`si_sdr` is the measure to quote; `bss_eval` splits the error into what leaks in from other sources (SIR) and what the
separation itself adds (SAR). Signals are tensors, arrays or `Audio`, whose shape is (n_channels, n_samples).
"""

import math
import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from sepdict._core.settings import Words, checks_types
from sepdict.audio.signal import Audio
from sepdict.errors import ShapeError

Signal: TypeAlias = Annotated[Tensor | NDArray[np.floating[Any]] | Audio, Words("a tensor, an array or Audio")]


@checks_types
def si_sdr(estimate: Signal, reference: Signal) -> Tensor:
    """Measure the scale-invariant signal-to-distortion ratio of an estimate.

    With ``alpha = <estimate, reference> / <reference, reference>``::

        SI-SDR = 10 log10( |alpha reference|^2 / |estimate - alpha reference|^2 )

    Parameters
    ----------
    estimate, reference : Tensor, array or Audio, shape (..., n_samples), linear amplitude
        Neither is modified. The result does not depend on the scale or the sign of the estimate.

    Returns
    -------
    Tensor, shape (...), float64, dB
        Higher is better. The ends of the scale:

        - ``nan`` where the reference is silent, because the ratio is not defined there;
        - ``-inf`` where the reference is not silent and the estimate is silent or orthogonal to it;
        - ``inf`` where the estimate equals the reference. There is no cap and no epsilon, but above
          about 300 dB the value measures the rounding of float64.

    Raises
    ------
    ShapeError
        If the shapes differ, or have no sample axis.

    Notes
    -----
    The mean of the signals is *not* removed: a constant offset counts as distortion. Sums are in
    float64 for every input, because float32 cannot resolve an error 100 dB below its signal.

    References
    ----------
    .. [1] J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR - half-baked or well done?",
       ICASSP 2019, arXiv:1811.02508, the definition of SI-SDR.

    Examples
    --------
    An error a tenth as large as the reference, and orthogonal to it, is 20 dB down:

    >>> reference = torch.tensor([1.0, 0.0, -1.0, 0.0])
    >>> error = torch.tensor([0.0, 0.1, 0.0, -0.1])
    >>> round(si_sdr(5 * (reference + error), reference).item(), 3)
    20.0
    """
    guess, truth = _as_tensor(estimate), _as_tensor(reference)
    _require_same_shape("estimate", guess, "reference", truth)
    # contiguous: equal signals in different memory layouts must sum in the same order
    guess, truth = guess.to(torch.float64).contiguous(), truth.to(torch.float64).contiguous()
    reference_energy = (truth * truth).sum(dim=-1)  # (...)
    alpha = (guess * truth).sum(dim=-1) / reference_energy  # (...)
    target = alpha.unsqueeze(-1) * truth  # (..., n_samples)
    target_energy = target.square().sum(dim=-1)  # (...)
    distortion_energy = (guess - target).square().sum(dim=-1)  # (...)
    ratio = target_energy / distortion_energy
    # 0 / 0 has a clear meaning for a silent estimate, and none for a silent reference
    ratio = ratio.masked_fill(target_energy == 0, 0.0).masked_fill(reference_energy == 0, math.nan)
    return 10 * ratio.log10()


@checks_types
def si_sdr_improvement(estimate: Signal, reference: Signal, mixture: Signal) -> Tensor:
    """Measure how much closer the estimate is to its reference than the mixture was.

    ``SI-SDRi = SI-SDR(estimate, reference) - SI-SDR(mixture, reference)``

    Parameters
    ----------
    estimate, reference : Tensor, array or Audio, shape (..., n_samples), linear amplitude
    mixture : Tensor, array or Audio, shape (..., n_samples), linear amplitude
        Of the shape of the others or, for one mixture of many sources, ``(n_samples,)``.

    Returns
    -------
    Tensor, shape (...), float64, dB
        0 for an estimate that is the mixture itself. ``nan`` where the reference is silent, and
        where both ratios are infinite with the same sign, as when the mixture is the reference.

    Raises
    ------
    ShapeError
        If estimate and reference differ in shape, or the mixture fits neither of its two shapes.

    Examples
    --------
    >>> piano, flute = torch.tensor([[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
    >>> round(si_sdr_improvement(piano + 0.1 * flute, piano, piano + flute).item(), 3)
    20.0
    """
    guess, truth, whole = _as_tensor(estimate), _as_tensor(reference), _as_tensor(mixture)
    _require_same_shape("estimate", guess, "reference", truth)
    if whole.ndim == 1 and whole.shape == truth.shape[-1:]:
        whole = whole.expand_as(truth)
    _require_same_shape("mixture", whole, "reference", truth)
    return si_sdr(guess, truth) - si_sdr(whole, truth)


@dataclass(frozen=True)
class BssEval:
    """The three ratios of BSS Eval, one value per source.

    Attributes
    ----------
    sdr : Tensor, shape (n_sources,), float64, dB
        Signal to distortion: everything that is not the (filtered) source.
    sir : Tensor, shape (n_sources,), float64, dB
        Signal to interference: parts of the other sources in the estimate.
    sar : Tensor, shape (n_sources,), float64, dB
        Signal to artifacts: parts of the estimate that belong to no source.
    """

    sdr: Tensor
    sir: Tensor
    sar: Tensor


@checks_types
def bss_eval(estimates: Signal, references: Signal) -> BssEval:
    """Measure SDR, SIR and SAR of BSS Eval v3 (computed by mir_eval 0.8).

    Each estimate is projected on its own reference, and on all references, delayed by 0 to 511
    samples; so an estimate may differ from its reference by any 512-tap filter at no cost::

        estimate = target + interference + artifacts
        SDR = 10 log10( |target|^2 / |interference + artifacts|^2 )
        SIR = 10 log10( |target|^2 / |interference|^2 )
        SAR = 10 log10( |target + interference|^2 / |artifacts|^2 )

    Estimate ``i`` is compared with reference ``i``: no permutation is searched.

    Parameters
    ----------
    estimates, references : Tensor or array, shape (n_sources, n_samples), linear amplitude
        Neither is modified.

    Returns
    -------
    BssEval
        On the device of ``estimates``. The ends of the scale:

        - ``nan`` for a source whose reference is silent; the projections leave it out;
        - ``-inf``, all three, for a silent estimate of a reference that is not silent;
        - ``inf`` as the SIR where all other references are silent, because nothing can interfere;
        - ``nan`` for all sources when delayed copies of the references make an exactly singular
          system, as two equal clicks do.

    Raises
    ------
    ShapeError
        If the shapes differ, or are not ``(n_sources, n_samples)``.

    Notes
    -----
    A perfect estimate gets about 200 to 300 dB and not ``inf``: the rounding of the projection,
    which differs between machines.

    References
    ----------
    .. [1] E. Vincent, R. Gribonval, C. Févotte, "Performance measurement in blind audio source
       separation", IEEE Trans. Audio, Speech, Language Process. 14(4), 2006, Section III.

    Examples
    --------
    Noise added to a lone source is all artifact:

    >>> noise = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    >>> scores = bss_eval(noise[:1] + 0.1 * noise[1:], noise[:1])
    >>> scores.sir.item(), round(scores.sdr.item()), round(scores.sar.item())
    (inf, 20, 20)
    """
    guesses, truths = _as_tensor(estimates), _as_tensor(references)
    _require_same_shape("estimates", guesses, "references", truths)
    if truths.ndim != 2:
        raise ShapeError(
            f"bss_eval expected (n_sources, n_samples), but estimates and references have shape "
            f"{tuple(truths.shape)}; join or choose the channels first"
        )
    sounding = truths.any(dim=1)  # (n_sources,)
    silent_estimates = ~guesses.any(dim=1)  # (n_sources,)
    # mir_eval refuses silent estimates: the reference stands in, and its score is overwritten below
    stand_ins = torch.where(silent_estimates.unsqueeze(1), truths, guesses)
    ratios = torch.full((3, len(truths)), math.nan, dtype=torch.float64)
    sounding, silent_estimates = sounding.cpu(), silent_estimates.cpu()
    if sounding.any():
        computed = _mir_eval_ratios(_to_numpy(stand_ins)[sounding.numpy()], _to_numpy(truths)[sounding.numpy()])
        ratios[:, sounding] = torch.from_numpy(computed)
    ratios[:, sounding & silent_estimates] = -math.inf
    sdr, sir, sar = ratios.to(guesses.device)
    return BssEval(sdr=sdr, sir=sir, sar=sar)


def _mir_eval_ratios(estimates: NDArray[np.float64], references: NDArray[np.float64]) -> NDArray[np.float64]:
    """Call mir_eval on sources of which none is silent; the rows of the result are SDR, SIR and SAR."""
    separation = import_module("mir_eval.separation")  # here, because it is slow to import
    one_thread = threadpool_limits(1, user_api="blas")  # several wait for each other on cores that others use
    with one_thread, warnings.catch_warnings(), np.errstate(divide="ignore"):  # log10(0) is the -inf that we document
        warnings.filterwarnings(
            "ignore", r"mir_eval\.separation\.bss_eval_sources\s+Deprecated", category=FutureWarning
        )
        warnings.filterwarnings("error", r"The numpy\.linalg\.linalg", category=DeprecationWarning)
        try:
            sdr, sir, sar, _ = separation.bss_eval_sources(references, estimates, compute_permutation=False)
        except (AttributeError, DeprecationWarning) as error:
            # For a singular system mir_eval 0.8 means to use least squares, but it looks up the exception to catch
            # under numpy.linalg.linalg, which newer versions of NumPy lack and older ones warn of. The result is to be
            # the same with all of them.
            if not isinstance(error.__context__, np.linalg.LinAlgError):
                raise
            return np.full((3, len(references)), np.nan)
    return np.stack([sdr, sir, sar])


def _as_tensor(signal: Signal) -> Tensor:
    """Return the samples of a signal as a tensor."""
    if isinstance(signal, Audio):
        return signal.samples
    return signal if isinstance(signal, Tensor) else torch.from_numpy(np.array(signal))


def _to_numpy(signals: Tensor) -> NDArray[np.float64]:
    """Copy to a float64 array in main memory, off the autograd graph."""
    array: NDArray[np.float64] = signals.detach().cpu().to(torch.float64).numpy()
    return array


def _require_same_shape(name: str, signal: Tensor, other_name: str, other: Tensor) -> None:
    """Raise the ShapeError of two signals that do not match sample by sample."""
    if signal.shape != other.shape:
        raise ShapeError(
            f"{name} has shape {tuple(signal.shape)} but {other_name} has {tuple(other.shape)}; "
            "they must be equal, sample for sample"
        )
    if signal.ndim == 0:
        raise ShapeError(f"{name} and {other_name} have shape (); expected (..., n_samples)")
