"""Divergences: laws of the family, then another project's values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition._nmf import _beta_divergence
from torch import Tensor

from sepdict.errors import ConfigError
from sepdict.spectral.betas import NAMED_BETAS, beta_of
from sepdict.spectral.divergences import FLOOR, beta_divergence, euclidean, itakura_saito, kullback_leibler

BETAS = [0.0, 0.25, 0.5, 1.0, 1.3, 1.5, 2.0]
NAMED = {0.0: itakura_saito, 1.0: kullback_leibler, 2.0: euclidean}


def magnitudes(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Positive, mean near one, as callers scale them."""
    return torch.rand(*shape, generator=generator, dtype=dtype) + 0.1


# --- laws


@pytest.mark.parametrize("beta", BETAS)
def test_it_is_zero_where_the_two_agree(generator: torch.Generator, beta: float) -> None:
    observed = magnitudes(generator, 33, 20)
    torch.testing.assert_close(
        beta_divergence(observed, observed.clone(), beta=beta), torch.zeros(20).double(), rtol=0, atol=1e-12
    )  # float64 rounds at 1e-16, 33 terms of size one, divided by beta (beta - 1)


@pytest.mark.parametrize("beta", BETAS)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=20))
def test_it_is_positive_wherever_they_differ(beta: float, pairs: list[tuple[float, float]]) -> None:
    observed, model = torch.tensor(pairs, dtype=torch.float64).T[..., None]  # (n_bins, 1) each
    divergence = float(beta_divergence(observed, model, beta=beta))
    rounding = 1e-10  # of float64 at 100^2 times 20 terms
    assert divergence >= -rounding
    if float((observed - model).abs().max()) > 1e-2:
        assert divergence > rounding


@pytest.mark.parametrize("beta", BETAS)
def test_its_gradient_is_that_of_finite_differences(generator: torch.Generator, beta: float) -> None:
    observed, model = magnitudes(generator, 2, 5, 3), magnitudes(generator, 2, 5, 3).requires_grad_()
    weights = magnitudes(generator, 3)  # the derivative is chained to what the divergence is used for
    assert torch.autograd.gradcheck(lambda model: weights * beta_divergence(observed, model, beta=beta), model)


@pytest.mark.parametrize("beta", BETAS)
def test_its_gradient_vanishes_only_where_they_agree(generator: torch.Generator, beta: float) -> None:
    observed = magnitudes(generator, 33, 20)
    model = observed.clone().requires_grad_()
    (there,) = torch.autograd.grad(beta_divergence(observed, model, beta=beta).sum(), model)
    (above,) = torch.autograd.grad(beta_divergence(observed, model + 0.1, beta=beta).sum(), model)
    assert float(there.abs().max()) < 1e-12
    assert float(above.min()) > 0


@pytest.mark.parametrize("beta", [1e-5, 1 - 1e-5, 1 + 1e-5, 2 - 1e-5])
def test_beta_next_to_a_named_divergence_is_next_to_it(generator: torch.Generator, beta: float) -> None:
    observed, model = magnitudes(generator, 33, 20), magnitudes(generator, 33, 20)
    named = NAMED[round(beta)]
    torch.testing.assert_close(
        beta_divergence(observed, model, beta=beta), named(observed, model), rtol=1e-4, atol=0
    )  # the family is smooth in beta: an offset of 1e-5 changes it by a few 1e-5 of its size


@pytest.mark.parametrize("beta", [1e-8, 1e-6, 1e-4, 1 - 1e-6, 1 + 1e-6, 1 + 1e-4])
def test_float32_suffices_next_to_a_named_divergence(generator: torch.Generator, beta: float) -> None:
    observed, model = magnitudes(generator, 2, 33, 20, dtype=torch.float32)
    exact = beta_divergence(observed.double(), model.double(), beta=round(beta)).float()
    torch.testing.assert_close(beta_divergence(observed, model, beta=beta), exact, rtol=1e-3, atol=0)
    assert float(beta_divergence(observed, observed, beta=beta).abs().max()) < 1e-4  # 33 terms rounded at 1e-7


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("gain", [0.5, 4.0])
def test_scaling_both_scales_it_by_the_gain_to_the_beta(generator: torch.Generator, beta: float, gain: float) -> None:
    observed, model = magnitudes(generator, 33, 20), magnitudes(generator, 33, 20)
    torch.testing.assert_close(
        beta_divergence(gain * observed, gain * model, beta=beta),
        gain**beta * beta_divergence(observed, model, beta=beta),
        rtol=1e-4,  # the floor, 1e-6 on values of 0.1 and more, does not scale
        atol=0,
    )


@pytest.mark.parametrize("beta", BETAS)
def test_bins_add_up_and_frames_are_apart(generator: torch.Generator, beta: float) -> None:
    observed, model = magnitudes(generator, 3, 33, 20), magnitudes(generator, 3, 33, 20)
    whole = beta_divergence(observed, model, beta=beta)
    assert whole.shape == (3, 20)
    halves = [beta_divergence(observed[:, b], model[:, b], beta=beta) for b in (slice(10), slice(10, None))]
    torch.testing.assert_close(halves[0] + halves[1], whole)
    torch.testing.assert_close(beta_divergence(observed[1, :, 5:6], model[1, :, 5:6], beta=beta), whole[1, 5:6])


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(("observed", "model"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1e-30, 1e4), (1e4, 1e-30)])
def test_value_and_gradient_are_finite_at_silence(beta: float, observed: float, model: float) -> None:
    drawn = torch.full((5, 2), model, requires_grad=True)
    divergence = beta_divergence(torch.full((5, 2), observed), drawn, beta=beta)
    (gradient,) = torch.autograd.grad(divergence.sum(), drawn)
    assert divergence.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("beta", BETAS)
def test_arguments_are_not_modified(generator: torch.Generator, beta: float) -> None:
    observed, model = magnitudes(generator, 33, 20), magnitudes(generator, 33, 20)
    copies = observed.clone(), model.clone()
    beta_divergence(observed, model, beta=beta)
    assert torch.equal(observed, copies[0])
    assert torch.equal(model, copies[1])


# --- known values


@pytest.mark.parametrize("beta", BETAS)
def test_values_are_those_of_scikit_learn(generator: torch.Generator, beta: float) -> None:
    observed, model = magnitudes(generator, 33, 20), magnitudes(generator, 33, 20)
    expected = _beta_divergence(observed.numpy() + FLOOR, model.numpy() + FLOOR, np.eye(20), beta)
    assert float(beta_divergence(observed, model, beta=beta).sum()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("divergence", "expected"),
    [(kullback_leibler, 2 * np.log(2) - 1), (itakura_saito, 1 - np.log(2)), (euclidean, 0.5)],
)
def test_two_against_one_is_what_the_formula_says(divergence: object, expected: float) -> None:
    assert callable(divergence)
    value = divergence(torch.tensor([[2.0]]).double(), torch.tensor([[1.0]]).double())
    assert float(value) == pytest.approx(expected, abs=2e-6)  # the floor is 1e-6


# --- names


@pytest.mark.parametrize(
    ("name", "beta"), [*NAMED_BETAS.items(), ("beta=0", 0), ("beta=0.5", 0.5), ("beta=1", 1), ("beta=2", 2.0)]
)
def test_names_are_understood(name: str, beta: float) -> None:
    assert beta_of(name) == beta


def test_the_three_names_are_the_three_divergences(generator: torch.Generator) -> None:
    observed, model = magnitudes(generator, 33, 20), magnitudes(generator, 33, 20)
    for name, divergence in [("kl", kullback_leibler), ("is", itakura_saito), ("l2", euclidean)]:
        assert torch.equal(beta_divergence(observed, model, beta=beta_of(name)), divergence(observed, model))


@pytest.mark.parametrize(
    "name", ["", "KL", "beta", "beta=", "beta=x", "beta=-0.1", "beta=2.1", "beta=nan", "beta=inf", "0.5", "alpha=1"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"divergence is '{name}'"):
        beta_of(name)
