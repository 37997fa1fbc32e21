"""The fit: find the excitations whose decoded magnitudes sum to the mixture.

    min over z, a   sum_t  w_t  [ d( M_t | sum_s V_st )  +  c  sum_s d( m_st M_t | V_st )  +  sum_s p_s(z_st) ],
                    V_st = exp(a_st) D_s(z_s)_t

``M`` is the mixture's magnitude, ``D_s`` the frozen decoder of source ``s``, ``z_s`` its excitation (NMF papers say
*activation*) and ``exp(a_s)`` its gain, one per frame and channel. All channels share the decoded spectral shapes, so
that a panned source stays where it is. ``w_t`` raises the weight of soft frames relative to loud ones.

The second term, of weight ``c``, is there if guide masks ``m_s`` are given, those of a mask estimator for example. The
third is the penalty: ``|z_s|^2 / 2``, since codes have mean zero and variance one, so that codes nearer to zero are
likelier; and, where it is asked for, the judgment of the dictionaries' critics on the decoded spectra.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sepdict._core.settings import refuse_other_type
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError, ConfigError, ShapeError
from sepdict.models.optim import Minimum, minimize_adam, minimize_lbfgs
from sepdict.progress import OnProgress, Progress, ignore_progress
from sepdict.separation.config import FitConfig
from sepdict.spectral.bands import band_sums
from sepdict.spectral.betas import beta_of
from sepdict.spectral.divergences import beta_divergence

FINE = 1.01  # bands end at this times their beginning, a sixth of a semitone: twice as wide costs drafts 0.1 dB
BANDS_AT_ONCE = 2**20  # evaluated together, of independent frames: bounds the memory of a fit to some 200 MiB
FAINTEST_GAIN = 1e-6  # relative to the mixture's mean magnitude (-120 dB): where the gains of silent frames start


@dataclass(frozen=True, eq=False)
class ExcitationFit:
    """The result of a fit.

    Attributes
    ----------
    excitations : tuple of Tensor, each of shape (code_size, n_frames), one per source
    gains : Tensor, shape (n_sources, n_channels, n_frames), >= 0
        The mean magnitude of each source.
    magnitudes : Tensor, shape (n_sources, n_channels, n_bins, n_frames), >= 0
        The decoded spectral shapes times the gains.
    converged : bool
    message : str
        How it ended, in one sentence, with advice where it did not converge.
    loss_curve : tuple of float
        The cost at the start and after each iteration; it does not depend on the mixture's level or length.
    """

    excitations: tuple[Tensor, ...]
    gains: Tensor
    magnitudes: Tensor
    converged: bool
    message: str
    loss_curve: tuple[float, ...]


def fit_excitations(
    magnitude: Tensor,
    dictionaries: Sequence[Dictionary],
    config: FitConfig | None = None,
    *,
    guide_masks: Tensor | None = None,
    n_fitted_bins: int | None = None,
    on_progress: OnProgress = ignore_progress,
) -> ExcitationFit:
    """Find excitations whose decoded magnitudes sum to the mixture.

    Start from the codes that each encoder gives for its source's share of the mixture: by the guide masks, or without
    them equal shares. Then minimize the divergence by backpropagation to the excitations, with the decoders frozen.

    Parameters
    ----------
    magnitude : Tensor, shape (n_channels, n_bins, n_frames), linear amplitude, >= 0
    dictionaries : sequence of Dictionary, one per source, on the magnitude's device, of one StftConfig
    config : FitConfig, optional
    guide_masks : Tensor, shape (n_sources, n_channels, n_bins, n_frames), 0 to 1, optional
        The share of each source in each bin, as far as it is known. The fit starts from these shares, and they enter
        its cost with the weight `FitConfig.guide_weight`.
    n_fitted_bins : int, optional
        How many of the lowest bins the mixture's own rate can hold; those above are not fitted. By default all.
    on_progress : callable
        Called after every iteration; raising from it cancels.

    Returns
    -------
    ExcitationFit

    Raises
    ------
    ShapeError
        If the magnitude is not three-dimensional, n_bins differs from the dictionaries' or the masks do not fit.
    AudioError
        If the magnitude has negative, NaN or infinite values.
    ConfigError
        If there is no dictionary.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> noise = Audio(torch.randn(1, 8000), 8000)
    >>> dictionary = train_dictionary(noise, TrainingConfig(n_steps=1), source="noise")
    >>> fit = fit_excitations(torch.rand(2, 257, 30), [dictionary], FitConfig(n_iterations=3))
    >>> fit.magnitudes.shape
    torch.Size([1, 2, 257, 30])
    """
    config = FitConfig() if config is None else config
    refuse_other_type("config", config, FitConfig)
    if not dictionaries:
        raise ConfigError("there are no dictionaries; expected one at least")
    if magnitude.ndim != 3:
        raise ShapeError(f"magnitude has shape {tuple(magnitude.shape)}; expected (n_channels, n_bins, n_frames)")
    if not ((magnitude >= 0) & magnitude.isfinite()).all():
        raise AudioError("magnitude has negative, NaN or infinite values; expected linear amplitude, 0 or more")
    expected = (len(dictionaries), *magnitude.shape)
    if guide_masks is not None and guide_masks.shape != expected:
        raise ShapeError(f"guide_masks have shape {tuple(guide_masks.shape)}; expected {expected}")
    problem = _Problem(magnitude, dictionaries, config, guide_masks, n_fitted_bins)
    if not problem.scale > 0:
        nothing = Minimum(problem.start(), (0.0,), converged=True)
        return problem.solution(nothing, "The mixture is silent: there was nothing to fit.")

    def on_step(iteration: int, cost: float) -> None:
        on_progress(Progress("fit", iteration, config.n_iterations, cost))

    minimize = (
        partial(minimize_adam, step=config.step)
        if config.method == "adam"
        else partial(minimize_lbfgs, history=config.history)
    )
    tolerance = config.guided_tolerance if problem.shares else config.tolerance
    minimum = minimize(
        problem.cost_and_gradient,
        problem.as_blocks(problem.start()),
        n_iterations=config.n_iterations,
        tolerance=tolerance,
        on_step=on_step,
    )
    return problem.solution(minimum, _sentence(minimum, tolerance))


class _Problem:
    """The unknowns of a fit and their cost.

    The unknowns are a matrix of shape (n_unknowns, n_frames): the codes of every source, one below the other, then the
    logarithms of the gains. Frames that are decoded independently are minimized as so many blocks; if a decoder
    sees neighboring frames, all frames make one block.
    """

    def __init__(
        self,
        magnitude: Tensor,
        dictionaries: Sequence[Dictionary],
        config: FitConfig,
        guide_masks: Tensor | None,
        n_fitted_bins: int | None,
    ) -> None:
        self.magnitude, self.dictionaries, self.n_fitted_bins = magnitude, dictionaries, n_fitted_bins
        self.guide_masks, self.guide_weight = guide_masks, config.guide_weight
        self.prior_weight, self.critic_weight = config.prior_weight, config.critic_weight
        self.beta = beta_of(config.divergence)
        self.n_channels, _, self.n_frames = magnitude.shape
        self.scale = float(magnitude.mean())
        self.sizes = [dictionary.card.network.code_size for dictionary in dictionaries]
        self.sizes.append(len(dictionaries) * self.n_channels)
        self.coupled = any(dictionary.card.network.sees_neighbors for dictionary in dictionaries)
        normalized = magnitude[:, :n_fitted_bins] / (self.scale or 1)  # (n_channels, n_fitted_bins, n_frames)
        self.observed = band_sums(normalized, FINE)  # (n_channels, n_bands, n_frames)
        guides = [] if guide_masks is None or self.guide_weight == 0 else list(guide_masks)
        self.shares = [band_sums(mask[:, :n_fitted_bins] * normalized, FINE) for mask in guides]
        self.decoders = [dictionary.network.band_decoder(n_fitted_bins, FINE) for dictionary in dictionaries]
        level = normalized.mean(dim=(0, 1)).clamp(min=FAINTEST_GAIN)  # (n_frames,)
        self.penalty_weights = level.sqrt() / level.sqrt().sum()
        self.weights = self.penalty_weights / (level**self.beta * normalized[..., 0].numel())  # as it grows

    def start(self) -> Tensor:
        """Stack the codes that the encoders give for each source's share, and the logarithms of the shares' levels."""
        n_sources = len(self.dictionaries)
        shares = [1 / n_sources] * n_sources if self.guide_masks is None else self.guide_masks
        parts = [share * self.magnitude for share in shares]  # each (n_channels, n_bins, n_frames)
        codes = [d.encode(part.mean(dim=0)) for d, part in zip(self.dictionaries, parts, strict=True)]
        levels = [
            part[:, : self.n_fitted_bins].mean(dim=1) / (self.scale or 1) for part in parts
        ]  # (n_channels, n_frames)
        return torch.cat([*codes, *(level.clamp(min=FAINTEST_GAIN).log() for level in levels)])

    def as_blocks(self, unknowns: Tensor) -> Tensor:
        """View the unknowns as the minimizer expects them: (n_unknowns, n_blocks)."""
        return unknowns.reshape(-1, 1) if self.coupled else unknowns

    def cost_and_gradient(self, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the cost of each block and backpropagate it to the unknowns, and to nothing else."""
        if self.coupled:
            costs, gradient = self._costs_and_gradient(blocks.reshape(-1, self.n_frames), slice(None))
            return costs.sum()[None], gradient.reshape(blocks.shape)
        n_at_once = max(1, BANDS_AT_ONCE // self.observed[..., 0].numel())
        pieces = [slice(start, start + n_at_once) for start in range(0, self.n_frames, n_at_once)]
        parts = [self._costs_and_gradient(blocks[:, piece], piece) for piece in pieces]
        return torch.cat([costs for costs, _ in parts]), torch.cat([gradient for _, gradient in parts], dim=1)

    @torch.enable_grad()  # callers that only want stems may well have switched gradients off
    def _costs_and_gradient(self, unknowns: Tensor, piece: slice) -> tuple[Tensor, Tensor]:
        """Evaluate the cost of each frame of a piece, shape (n_frames,), and its gradient by the unknowns."""
        unknowns = unknowns.detach().requires_grad_()
        codes, gains = self._split(unknowns)
        decoded = [gain[:, None] * decode(code) for decode, code, gain in zip(self.decoders, codes, gains, strict=True)]
        model = sum(decoded[1:], decoded[0])  # (n_channels, n_bands, n_frames)
        divergence = beta_divergence(self.observed[..., piece], model, beta=self.beta)  # (n_channels, n_frames)
        for share, own in zip(self.shares, decoded, strict=False):  # none, or one for each source
            divergence = divergence + self.guide_weight * beta_divergence(share[..., piece], own, beta=self.beta)
        costs = self.weights[piece] * divergence.sum(dim=0)
        for dictionary, code in zip(self.dictionaries, codes, strict=True):
            costs = costs + self.penalty_weights[piece] * self._penalty(dictionary, code)
        return costs.detach(), torch.autograd.grad(costs.sum(), unknowns)[0]

    def _penalty(self, dictionary: Dictionary, code: Tensor) -> Tensor:
        """Compute the penalty of a source's codes, per frame: the prior's and the critic's."""
        network = dictionary.network
        prior_weight = network.config.prior_weight or self.prior_weight
        # half the square is the negative logarithm of the normal density
        total = prior_weight / (2 * dictionary.card.stft.n_bins) * code.square().sum(dim=0)
        if self.critic_weight and network.critic is not None:
            total = total + self.critic_weight * softplus(-network.criticize(network.decode(code)))
        return total

    def solution(self, minimum: Minimum, message: str) -> ExcitationFit:
        """Turn the minimum into excitations, gains and magnitudes at the mixture's own scale."""
        codes, gains = self._split(minimum.unknowns.reshape(-1, self.n_frames))
        gains = gains * self.scale
        decoded = [dictionary.decode(code) for dictionary, code in zip(self.dictionaries, codes, strict=True)]
        magnitudes = gains[:, :, None] * torch.stack(decoded)[:, None]  # (n_sources, n_channels, n_bins, n_frames)
        return ExcitationFit(tuple(codes), gains, magnitudes, minimum.converged, message, minimum.costs)

    def _split(self, unknowns: Tensor) -> tuple[list[Tensor], Tensor]:
        """Take the unknowns apart: codes (code_size, n_frames), and gains (n_sources, n_channels, n_frames)."""
        *codes, log_gains = unknowns.split(self.sizes)
        return codes, log_gains.unflatten(0, (len(codes), self.n_channels)).exp()


def _sentence(minimum: Minimum, tolerance: float) -> str:
    """Describe how the fit ended."""
    n_iterations = len(minimum.costs) - 1
    if minimum.converged:
        return f"Converged after {n_iterations} iterations."
    return (
        f"Stopped after {n_iterations} iterations before the cost settled to within {tolerance:g}; "
        "more iterations (n_iterations in FitConfig) may give better stems."
    )
