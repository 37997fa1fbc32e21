"""Divergences between observed magnitudes and those of a model.

The generalized Kullback-Leibler, Itakura-Saito and Euclidean divergences are the members beta = 1, 0 and 2
of one family [1]_, and mixtures of them lie between. All are written once here, per frame.

References
----------
.. [1] Févotte and Idier, "Algorithms for nonnegative matrix factorization with the beta-divergence",
   Neural Computation 23(9), 2011, eq. 2.
"""

from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-6  # added on both sides, which callers scale to a mean near 1: keeps log and 1/x finite


class _KullbackLeibler(torch.autograd.Function):
    """The divergence and its derivative by the model, ``1 - v / m``, in half the passes of autograd."""

    @staticmethod
    def forward(ctx: Any, observed: Tensor, model: Tensor) -> Tensor:
        """Compute the divergence, and save its derivative."""
        observed, model = observed + FLOOR, model + FLOOR
        ratio = observed / model
        terms = ratio.log().mul_(observed).sub_(observed).add_(model)
        ctx.save_for_backward(ratio.neg_().add_(1))
        return terms.sum(dim=-2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """Multiply the derivative by the gradient of the cost."""
        (derivative,) = ctx.saved_tensors
        return None, gradient[..., None, :] * derivative


def kullback_leibler(observed: Tensor, model: Tensor) -> Tensor:
    """Sum over bins of ``v log(v / m) - v + m``: shape (..., n_bins, n_frames) to (..., n_frames)."""
    divergence: Tensor = _KullbackLeibler.apply(observed, model)
    return divergence


def itakura_saito(observed: Tensor, model: Tensor) -> Tensor:
    """Sum over bins of ``v / m - log(v / m) - 1``: shape (..., n_bins, n_frames) to (..., n_frames)."""
    ratio = (observed + FLOOR) / (model + FLOOR)
    return (ratio - ratio.log() - 1).sum(dim=-2)


def euclidean(observed: Tensor, model: Tensor) -> Tensor:
    """Sum over bins of ``(v - m)^2 / 2``: shape (..., n_bins, n_frames) to (..., n_frames)."""
    return (observed - model).square().sum(dim=-2) / 2


def beta_divergence(observed: Tensor, model: Tensor, *, beta: float) -> Tensor:
    """Sum over bins of ``(v^b + (b - 1) m^b - b v m^(b - 1)) / (b (b - 1))``, and its limits at b = 1 and 0.

    Parameters
    ----------
    observed, model : Tensor, shape (..., n_bins, n_frames), >= 0
    beta : float
        1 is Kullback-Leibler, 0 Itakura-Saito, 2 Euclidean.

    Returns
    -------
    Tensor, shape (..., n_frames), >= 0, zero only where the two agree
        Differentiable by the model.

    Examples
    --------
    >>> v = torch.tensor([[1.0], [2.0]])
    >>> beta_divergence(v, v + 1, beta=2.0)
    tensor([1.])
    """
    if beta == 1:
        return kullback_leibler(observed, model)
    if beta == 0:
        return itakura_saito(observed, model)
    if beta == 2:
        return euclidean(observed, model)
    model = model + FLOOR
    x = ((observed + FLOOR) / model).log()
    # m^b (r^b - b r + b - 1) with r = e^x, arranged so that nothing cancels where r, or b, is near 1 (or b near 0)
    if beta >= 0.5:
        terms = x.exp() * torch.expm1((beta - 1) * x) - (beta - 1) * torch.expm1(x)
    else:
        terms = torch.expm1(beta * x) - beta * torch.expm1(x)
    return (model**beta * terms).sum(dim=-2) / (beta * (beta - 1))
