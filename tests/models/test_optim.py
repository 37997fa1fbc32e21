"""Minimizers: known minima, blocks that do not know of each other, and an honest word on convergence."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sepdict.models.optim import Adam, CostAndGradient, Minimum, minimize_adam, minimize_lbfgs


def with_gradient(cost_of: Callable[[Tensor], Tensor]) -> CostAndGradient:
    """Make a cost per block, (n_unknowns, n_blocks) to (n_blocks,), into the pair a minimizer asks for."""

    def cost_and_gradient(unknowns: Tensor) -> tuple[Tensor, Tensor]:
        unknowns = unknowns.detach().requires_grad_()
        cost = cost_of(unknowns)
        (gradient,) = torch.autograd.grad(cost.sum(), unknowns)
        return cost.detach(), gradient

    return cost_and_gradient


def lbfgs(cost_of: Callable[[Tensor], Tensor], start: Tensor, **settings: Any) -> Minimum:
    settings = {"n_iterations": 200, "tolerance": 0.0, "history": 10, "on_step": lambda *_: None} | settings
    return minimize_lbfgs(with_gradient(cost_of), start, **settings)


def adam(cost_of: Callable[[Tensor], Tensor], start: Tensor, **settings: Any) -> Minimum:
    settings = {"n_iterations": 2000, "tolerance": 0.0, "step": 0.02, "on_step": lambda *_: None} | settings
    return minimize_adam(with_gradient(cost_of), start, **settings)


def rosenbrock(unknowns: Tensor) -> Tensor:
    """Minimum 0 at (1, 1) in every block, at the end of a curved valley."""
    return (1 - unknowns[0]) ** 2 + 100 * (unknowns[1] - unknowns[0] ** 2) ** 2


class Quadratics:
    """Blocks of different curvature, scale and minimum: s_b (u - m_b)' A_b (u - m_b)."""

    def __init__(self, n_unknowns: int = 6, n_blocks: int = 9, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(3)
        roots = torch.randn(n_blocks, n_unknowns, n_unknowns, generator=generator, dtype=dtype)
        self.curvature = roots @ roots.mT + 0.1 * torch.eye(n_unknowns, dtype=dtype)
        self.scales = torch.logspace(-4, 4, n_blocks, dtype=dtype)
        self.minimum = torch.randn(n_unknowns, n_blocks, generator=generator, dtype=dtype)
        self.start = torch.randn(n_unknowns, n_blocks, generator=generator, dtype=dtype)

    def __call__(self, unknowns: Tensor) -> Tensor:
        away = unknowns - self.minimum
        return self.scales * torch.einsum("ib,bij,jb->b", away, self.curvature, away)


STARTS = torch.tensor([[-1.2, 0.0, 2.0, -3.0, 1.0], [1.0, 0.0, 2.0, -4.0, 1.0]], dtype=torch.float64)
PROBLEMS = {"quadratics": (Quadratics(), Quadratics().start), "rosenbrock": (rosenbrock, STARTS)}
problems = pytest.mark.parametrize(("cost_of", "start"), PROBLEMS.values(), ids=list(PROBLEMS))
minimizers = pytest.mark.parametrize("minimize", [lbfgs, adam])

# --- L-BFGS: known minima


@pytest.mark.parametrize("history", [1, 5, 20])
def test_quadratics_of_very_different_scales_are_all_solved(history: int) -> None:
    problem = Quadratics()
    found = lbfgs(problem, problem.start, n_iterations=600, history=history)
    torch.testing.assert_close(found.unknowns, problem.minimum, rtol=0, atol=1e-6)


def test_every_rosenbrock_valley_is_followed_to_its_end() -> None:
    found = lbfgs(rosenbrock, STARTS)
    torch.testing.assert_close(found.unknowns, torch.ones_like(STARTS), rtol=0, atol=1e-6)


def test_float32_is_enough_for_the_minimum() -> None:
    found = lbfgs(rosenbrock, STARTS.float())
    assert found.unknowns.dtype == torch.float32
    torch.testing.assert_close(found.unknowns, torch.ones(2, 5), rtol=0, atol=1e-3)  # the root of float32's 1e-7


def test_steps_to_where_the_cost_is_not_a_number_are_refused() -> None:
    found = lbfgs(lambda u: (u - u.log()).sum(dim=0), torch.full((3, 2), 0.05, dtype=torch.float64))
    torch.testing.assert_close(found.unknowns, torch.ones(3, 2, dtype=torch.float64))


def test_a_cost_that_is_never_a_number_leaves_the_start_and_has_not_converged() -> None:
    start = torch.ones(2, 3)
    for minimize in (lbfgs, adam):
        found = minimize(lambda u: (u * torch.nan).sum(dim=0), start, n_iterations=20, tolerance=1e-3)
        assert torch.equal(found.unknowns, start)
        assert not found.converged


# --- L-BFGS: blocks


@problems
def test_batched_equals_single(cost_of: Callable[[Tensor], Tensor], start: Tensor) -> None:
    together = lbfgs(cost_of, start, n_iterations=25).unknowns
    for block in range(start.shape[1]):

        def cost_alone(unknowns: Tensor, block: int = block) -> Tensor:
            everywhere = start.clone()
            return cost_of(torch.cat([everywhere[:, :block], unknowns, everywhere[:, block + 1 :]], dim=1))[[block]]

        alone = lbfgs(cost_alone, start[:, [block]], n_iterations=25).unknowns
        # equal but for the order of sums, which 25 iterations amplify
        torch.testing.assert_close(together[:, [block]], alone, rtol=1e-6, atol=1e-6)


def test_a_block_that_is_not_a_number_does_not_harm_the_others() -> None:
    lost = torch.tensor([1.0, torch.nan, 1.0, 1.0, 1.0], dtype=torch.float64)
    found = lbfgs(lambda u: rosenbrock(u) * lost, STARTS).unknowns
    torch.testing.assert_close(found[:, [0, 2, 3, 4]], torch.ones(2, 4, dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.equal(found[:, 1], STARTS[:, 1])


@problems
def test_the_order_of_blocks_does_not_matter(cost_of: Callable[[Tensor], Tensor], start: Tensor) -> None:
    order = torch.arange(start.shape[1]).flip(0)
    flipped = lbfgs(lambda u: cost_of(u[:, order])[order], start[:, order], n_iterations=25).unknowns
    torch.testing.assert_close(flipped[:, order], lbfgs(cost_of, start, n_iterations=25).unknowns, rtol=1e-6, atol=1e-6)


# --- both: what is reported is what happened


@problems
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_cost_of_lbfgs_never_rises(cost_of: Callable[[Tensor], Tensor], start: Tensor, dtype: torch.dtype) -> None:
    costs = lbfgs(lambda u: cost_of(u.double()).to(dtype), start.to(dtype)).costs
    assert all(after <= before for before, after in itertools.pairwise(costs))
    assert costs[-1] < costs[0]


@problems
def test_costs_are_those_of_the_start_and_the_end(cost_of: Callable[[Tensor], Tensor], start: Tensor) -> None:
    found = lbfgs(cost_of, start, n_iterations=30)
    assert len(found.costs) == 31
    assert found.costs[0] == pytest.approx(float(cost_of(start).sum()))
    assert found.costs[-1] == pytest.approx(float(cost_of(found.unknowns).sum()))


@problems
def test_adam_returns_the_best_it_has_seen(cost_of: Callable[[Tensor], Tensor], start: Tensor) -> None:
    found = adam(cost_of, start, n_iterations=100, step=0.5)  # so large that the cost goes up and down
    assert max(b - a for a, b in zip(found.costs, found.costs[1:], strict=False)) > 0
    assert float(cost_of(found.unknowns).sum()) == pytest.approx(min(found.costs))


@minimizers
@problems
def test_the_start_is_not_modified(
    minimize: Callable[..., Minimum], cost_of: Callable[[Tensor], Tensor], start: Tensor
) -> None:
    before = start.clone()
    minimize(cost_of, start, n_iterations=20)
    assert torch.equal(start, before)


@minimizers
def test_no_iterations_give_the_start(minimize: Callable[..., Minimum]) -> None:
    found = minimize(rosenbrock, STARTS, n_iterations=0)
    assert torch.equal(found.unknowns, STARTS)
    assert not found.converged
    assert found.costs == pytest.approx((float(rosenbrock(STARTS).sum()),))


@minimizers
def test_every_step_is_told_with_its_cost(minimize: Callable[..., Minimum]) -> None:
    told: list[tuple[int, float]] = []
    found = minimize(rosenbrock, STARTS, n_iterations=12, on_step=lambda i, cost: told.append((i, cost)))
    assert told == [(i, found.costs[i]) for i in range(13 - len(told), 13)]
    assert len(told) >= 12


@minimizers
def test_whoever_is_told_may_cancel_by_raising(minimize: Callable[..., Minimum]) -> None:
    def cancel(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(rosenbrock, STARTS, on_step=cancel)


def test_adam_finds_minima_too() -> None:
    found = adam(lambda u: (u - 3).square().sum(dim=0), torch.zeros(4, 5), n_iterations=2000)
    torch.testing.assert_close(found.unknowns, torch.full((4, 5), 3.0), rtol=0, atol=1e-2)  # half a step


# --- converged is the truth


@minimizers
def test_a_fit_that_has_settled_says_so_and_stops(minimize: Callable[..., Minimum]) -> None:
    found = minimize(lambda u: 1 + (u - 3).square().sum(dim=0), torch.zeros(4, 5), n_iterations=3000, tolerance=1e-6)
    assert found.converged
    assert len(found.costs) < 3000
    assert found.costs[-1] == pytest.approx(5, rel=1e-4)


@minimizers
def test_a_fit_cut_off_on_its_way_does_not_claim_to_have_settled(minimize: Callable[..., Minimum]) -> None:
    assert not minimize(rosenbrock, STARTS, n_iterations=6, tolerance=1e-8).converged


@minimizers
def test_a_start_with_nothing_left_to_gain_converges(minimize: Callable[..., Minimum]) -> None:
    found = minimize(lambda u: u.square().sum(dim=0), torch.zeros(4, 5), n_iterations=50, tolerance=1e-4)
    assert found.converged


@pytest.mark.parametrize("steepness", [1e6, 1e8, 1e10])
def test_a_line_search_that_is_still_shrinking_has_not_converged(steepness: float) -> None:
    found = lbfgs(lambda u: steepness * u.square().sum(dim=0), torch.full((1, 1), 1e-4).double(), tolerance=1e-5)
    assert found.costs[-1] < 1e-3 * found.costs[0] or not found.converged


def test_a_cost_that_rises_has_not_converged() -> None:
    found = adam(lambda u: u.square().sum(dim=0), torch.full((1, 1), 0.01), step=1.0, tolerance=1e-5)
    assert min(found.costs) < 1e-3 * found.costs[0] or not found.converged


# --- Adam's step


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("size", [1e-7, 1e-4, 1.0, 100.0])
def test_every_step_is_that_of_torch_optim_adam(generator: torch.Generator, weight_decay: float, size: float) -> None:
    shapes = [(3, 4), (5,)]
    ours = [torch.randn(shape, generator=generator, dtype=torch.float64) * size for shape in shapes]
    theirs = [p.clone().requires_grad_() for p in ours]
    adam_here = Adam(ours, step=0.01, weight_decay=weight_decay)
    adam_there = torch.optim.Adam(theirs, lr=0.01, weight_decay=weight_decay)
    for _ in range(30):
        gradients = [size * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        adam_here.update(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        adam_there.step()
        for here, there in zip(ours, theirs, strict=True):
            torch.testing.assert_close(here, there.detach(), rtol=0, atol=1e-5)  # a thousandth of a step


def test_adam_does_not_modify_the_gradients(generator: torch.Generator) -> None:
    gradient = torch.randn(5, generator=generator)
    before = gradient.clone()
    Adam([torch.ones(5)], step=0.1, weight_decay=0.1).update([gradient])
    assert torch.equal(gradient, before)


def test_adam_wants_a_gradient_for_every_parameter() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Adam([torch.ones(5), torch.ones(2)], step=0.1).update([torch.ones(5)])
