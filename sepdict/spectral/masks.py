"""From the sources' magnitudes to masks that share out the mixture."""

import torch
from torch import Tensor

MASK_FLOOR = 1e-5  # added to masks (-100 dB): masks that contradict each other everywhere still have a mean


def ratio_masks(magnitudes: Tensor, *, exponent: float = 1.0) -> Tensor:
    """Share out every bin of the mixture among the sources: ``mask_s = V_s^p / sum_k V_k^p``.

    Parameters
    ----------
    magnitudes : Tensor, shape (n_sources, ...), >= 0
    exponent : float
        ``p``: 1 shares by amplitude, 2 by power (Wiener's), larger ones decide ever harder.

    Returns
    -------
    Tensor, shape (n_sources, ...)
        From 0 to 1, summing to one over the sources; where all magnitudes are zero, equal shares.

    Examples
    --------
    >>> ratio_masks(torch.tensor([[3.0], [1.0]]))
    tensor([[0.7500],
            [0.2500]])
    """
    loudest = magnitudes.amax(dim=0)
    relative = torch.where(loudest > 0, magnitudes / loudest, 1).pow_(exponent)  # 0 to 1: no power overflows
    return relative.div_(relative.sum(dim=0))  # in place: no other arrays are as large


def unexplained(magnitude: Tensor, magnitudes: Tensor) -> Tensor:
    """Compute the residual's magnitude: what the mixture has beyond the sources' sum, ``max(M - sum_s V_s, 0)``.

    Parameters
    ----------
    magnitude : Tensor, shape (...)
    magnitudes : Tensor, shape (n_sources, ...)

    Returns
    -------
    Tensor, shape (...), >= 0
    """
    return (magnitude - magnitudes.sum(dim=0)).clamp(min=0)


def combine_masks(one: Tensor, other: Tensor) -> Tensor:
    """Combine two sets of masks by their geometric mean: ``sqrt(a_s b_s) / sum_k sqrt(a_k b_k)``.

    A source is silent where one of them says so, and loud only where both do.

    Parameters
    ----------
    one, other : Tensor, shape (n_sources, ...), 0 to 1

    Returns
    -------
    Tensor, shape (n_sources, ...)
        From 0 to 1, summing to one over the sources.

    Examples
    --------
    >>> combine_masks(torch.tensor([[0.9], [0.1]]), torch.tensor([[0.5], [0.5]]))
    tensor([[0.7500],
            [0.2500]])
    """
    both = (one + MASK_FLOOR).mul_(other + MASK_FLOOR).sqrt_()
    return both.div_(both.sum(dim=0))
