"""Optimizers, which minimize many small problems at once.

The excitation fit is one problem per frame when the dictionaries decode frames independently, and one big problem
when frames are coupled. Both are written as ``n_blocks`` problems of ``n_unknowns`` unknowns each, in a
matrix of shape ``(n_unknowns, n_blocks)``: every block has its own curvature, its own step and its own decision
whether to take it, and one evaluation serves them all.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CostAndGradient = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Unknowns (n_unknowns, n_blocks) to the cost of each block (n_blocks,) and the gradient (n_unknowns, n_blocks)."""

SUFFICIENT_DECREASE = 1e-4  # Armijo's constant: the share of the promised decrease that a step must bring
SHRINK = 0.25  # a refused step is tried again at this fraction
SMALLEST_STEP = 1e-7  # about float32's resolution: when moves this small are refused, there is no way further down
ADAM_BETAS = (0.9, 0.999)  # how slowly the running mean and mean square forget, as in the paper
PATIENCE = 5  # iterations over which the improvement is measured; a single one may stall by chance


@dataclass(frozen=True)
class Minimum:
    """The result of a minimizer.

    Attributes
    ----------
    unknowns : Tensor, shape (n_unknowns, n_blocks)
    costs : tuple of float
        The summed cost at the start and after every iteration.
    converged : bool
        Whether the relative improvement fell below the tolerance.
    """

    unknowns: Tensor
    costs: tuple[float, ...]
    converged: bool


def minimize_lbfgs(
    cost_and_gradient: CostAndGradient,
    start: Tensor,
    *,
    n_iterations: int,
    tolerance: float,
    history: int,
    on_step: Callable[[int, float], None],
) -> Minimum:
    """Minimize by limited-memory BFGS [1]_, with a line search that is spread over the iterations.

    Each iteration evaluates the cost once. Blocks for which the step decreases the cost enough take it and
    return to step length one; the others stay, and try a quarter of the step at the next iteration.

    References
    ----------
    .. [1] Nocedal and Wright, "Numerical Optimization", 2nd ed., 2006, algorithms 7.4 and 7.5.
    """
    unknowns = start
    cost, gradient = cost_and_gradient(unknowns)
    steps = 1 / gradient.norm(dim=0).clamp(min=1e-12)  # before anything is known of the curvature, move by one unit
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
    scale = torch.ones_like(cost)
    costs = [float(cost.sum())]
    for iteration in range(1, n_iterations + 1):
        direction = -_inverse_hessian_times(gradient, pairs, scale)
        slope = (gradient * direction).sum(dim=0)
        trial = unknowns + steps * direction
        trial_cost, trial_gradient = cost_and_gradient(trial)
        taken = trial_cost <= cost + SUFFICIENT_DECREASE * steps * slope  # False for NaN: such a step is refused
        moved = torch.where(taken, trial - unknowns, 0)
        bent = torch.where(taken, trial_gradient - gradient, 0)
        curvature, bend = (moved * bent).sum(dim=0), bent.square().sum(dim=0)
        curved = curvature > 1e-10 * bend
        pairs.append((moved, bent, torch.where(curved, 1 / curvature, 0)))
        scale = torch.where(curved, curvature / bend, scale)
        unknowns, gradient = torch.where(taken, trial, unknowns), torch.where(taken, trial_gradient, gradient)
        cost, steps = torch.where(taken, trial_cost, cost), torch.where(taken, 1.0, steps * SHRINK)
        costs.append(float(cost.sum()))
        on_step(iteration, costs[-1])
        # the cost may also stand still because no block has found a step that it can take yet
        searching = not taken.any() and float((steps * direction.norm(dim=0)).max()) > SMALLEST_STEP
        if _settled(costs, tolerance) and not searching:
            return Minimum(unknowns, tuple(costs), converged=True)
    return Minimum(unknowns, tuple(costs), converged=False)


def _inverse_hessian_times(gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, Tensor]], scale: Tensor) -> Tensor:
    """Run the two-loop recursion, each block with its own history; a pair with inverse curvature 0 does nothing."""
    direction, weights = gradient, []
    for moved, bent, inverse_curvature in reversed(pairs):
        weight = inverse_curvature * (moved * direction).sum(dim=0)
        direction = direction - weight * bent
        weights.append(weight)
    direction = scale * direction
    for (moved, bent, inverse_curvature), weight in zip(pairs, reversed(weights), strict=True):
        direction = direction + (weight - inverse_curvature * (bent * direction).sum(dim=0)) * moved
    return direction


def minimize_adam(
    cost_and_gradient: CostAndGradient,
    start: Tensor,
    *,
    n_iterations: int,
    tolerance: float,
    step: float,
    on_step: Callable[[int, float], None],
) -> Minimum:
    """Minimize by Adam [1]_ at a constant step; return the best unknowns seen, for the cost need not fall every time.

    References
    ----------
    .. [1] Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.
    """
    unknowns, best, costs = start.clone(), start, list[float]()
    adam = Adam([unknowns], step=step)
    for iteration in range(n_iterations + 1):
        cost, gradient = cost_and_gradient(unknowns)
        costs.append(float(cost.sum()))
        best = unknowns.clone() if costs[-1] == min(costs) else best
        on_step(iteration, costs[-1])
        if _settled(costs, tolerance):
            return Minimum(best, tuple(costs), converged=True)
        adam.update([gradient])
    return Minimum(best, tuple(costs), converged=False)


class Adam:
    """Adam's moments and its step, for training and fitting alike; updates its parameters in place.

    torch's own optimizers import the compiler on first use, which takes longer than separating a short mixture.

    Parameters
    ----------
    parameters : list of Tensor
        Written into by every :meth:`update`.
    step : float
        The learning rate.
    weight_decay : float
        L2 penalty: each step adds this times the parameter to its gradient.
    """

    def __init__(self, parameters: list[Tensor], *, step: float, weight_decay: float = 0.0) -> None:
        self.parameters, self.step, self.weight_decay = parameters, step, weight_decay
        self.n_updates = 0
        self.means = [torch.zeros_like(p) for p in parameters]
        self.squares = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def update(self, gradients: Sequence[Tensor]) -> None:
        """Move the parameters by one step."""
        self.n_updates += 1
        mean_share, square_share = (1 - beta**self.n_updates for beta in ADAM_BETAS)  # both averages started from zero
        for parameter, gradient, mean, square in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            gradient = gradient + self.weight_decay * parameter
            mean.lerp_(gradient, 1 - ADAM_BETAS[0])
            square.lerp_(gradient.square(), 1 - ADAM_BETAS[1])
            deviation = (square / square_share).sqrt_().add_(1e-8)
            parameter.addcdiv_(mean, deviation, value=-self.step / mean_share)


def _settled(costs: list[float], tolerance: float) -> bool:
    """Return whether the last iterations together changed the cost by no more than a share of it."""
    return len(costs) > PATIENCE and abs(costs[-1 - PATIENCE] - costs[-1]) <= tolerance * abs(costs[-1])
