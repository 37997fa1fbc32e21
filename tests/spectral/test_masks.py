"""Masks: shares that lie between nothing and all, sum to one, and do not ask how loud it is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sepdict.spectral.masks import combine_masks, ratio_masks, unexplained

EXPONENTS = [0.5, 1.0, 1.5, 2.0, 20.0]
ROUNDING = 1e-6  # a few float32 steps at 1


@st.composite
def magnitudes(draw: st.DrawFn) -> torch.Tensor:
    """Spectrograms of one to five sources; zeros, denormals and the largest floats are as likely as anything."""
    n_sources, n_bins = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    value = st.one_of(st.just(0.0), st.floats(0, 1, width=32), st.floats(0, 2.0**127, width=32))
    return torch.tensor(draw(st.lists(value, min_size=n_sources * n_bins, max_size=n_sources * n_bins))).reshape(
        n_sources, n_bins
    )


@given(magnitudes(), st.sampled_from(EXPONENTS))
def test_masks_lie_between_0_and_1_and_sum_to_one(sources: torch.Tensor, exponent: float) -> None:
    masks = ratio_masks(sources, exponent=exponent)
    assert masks.shape == sources.shape
    assert (masks >= 0).all()
    assert (masks <= 1).all()
    torch.testing.assert_close(masks.sum(dim=0), torch.ones(sources.shape[1:]), atol=ROUNDING, rtol=0)


@given(magnitudes(), st.sampled_from(EXPONENTS))
def test_a_louder_source_never_gets_less(sources: torch.Tensor, exponent: float) -> None:
    masks = ratio_masks(sources, exponent=exponent)
    order = sources.argsort(dim=0)
    assert (masks.gather(0, order).diff(dim=0) >= 0).all()


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_masks_are_the_ratio_of_powers(exponent: float, generator: torch.Generator) -> None:
    sources = torch.rand(3, 2, 17, 9, generator=generator) + 0.1
    expected = sources.double() ** exponent / (sources.double() ** exponent).sum(dim=0)
    torch.testing.assert_close(ratio_masks(sources, exponent=exponent).double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("n_sources", [1, 2, 5])
def test_where_all_are_silent_the_shares_are_equal(n_sources: int) -> None:
    masks = ratio_masks(torch.zeros(n_sources, 3, 4), exponent=2.0)
    torch.testing.assert_close(masks, torch.full((n_sources, 3, 4), 1 / n_sources))


def test_a_silent_source_gets_nothing_and_the_other_all() -> None:
    torch.testing.assert_close(ratio_masks(torch.tensor([[0.0, 1e-30], [1e-38, 0.0]])), torch.eye(2).flip(0))


def test_a_single_source_gets_everything(generator: torch.Generator) -> None:
    assert (ratio_masks(torch.rand(1, 5, 5, generator=generator)) == 1).all()


@pytest.mark.parametrize("factor", [1e-20, 1e-3, 8.0, 1e20])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_masks_do_not_depend_on_the_level(factor: float, exponent: float, generator: torch.Generator) -> None:
    sources = torch.rand(3, 33, 5, generator=generator)
    scaled = ratio_masks(sources * factor, exponent=exponent)
    # a ratio's rounding, 1e-7, grows with the exponent
    torch.testing.assert_close(scaled, ratio_masks(sources, exponent=exponent), atol=ROUNDING * exponent, rtol=0)


def test_larger_exponents_decide_harder() -> None:
    louder = [float(ratio_masks(torch.tensor([2.0, 1.0]), exponent=p)[0]) for p in EXPONENTS]
    assert louder == sorted(louder)
    assert louder[-1] > 0.99999


def test_the_unexplained_is_what_is_missing_and_never_negative() -> None:
    observed = torch.tensor([3.0, 1.0, 0.0])
    sources = torch.tensor([[1.0, 1.0, 0.0], [0.5, 2.0, 1.0]])
    torch.testing.assert_close(unexplained(observed, sources), torch.tensor([1.5, 0.0, 0.0]))


def test_what_explains_everything_leaves_nothing(generator: torch.Generator) -> None:
    sources = torch.rand(4, 2, 9, 7, generator=generator)
    assert (unexplained(sources.sum(dim=0), sources) == 0).all()
    assert (unexplained(torch.zeros(2, 9, 7), sources) == 0).all()


def test_sources_and_the_unexplained_add_up_to_what_was_observed(generator: torch.Generator) -> None:
    sources = torch.rand(2, 1, 9, 7, generator=generator)
    observed = sources.sum(dim=0) + torch.rand(1, 9, 7, generator=generator)
    torch.testing.assert_close(sources.sum(dim=0) + unexplained(observed, sources), observed)


def test_magnitudes_are_not_written_into(generator: torch.Generator) -> None:
    observed, sources = torch.rand(5, 5, generator=generator), torch.rand(2, 5, 5, generator=generator)
    copies = observed.clone(), sources.clone()
    ratio_masks(sources, exponent=2.0)
    unexplained(observed, sources)
    assert torch.equal(observed, copies[0])
    assert torch.equal(sources, copies[1])


def test_agreed_masks_sum_to_one_and_do_not_ask_who_spoke_first(generator: torch.Generator) -> None:
    one, other = (torch.rand(3, 5, 7, generator=generator).softmax(0) for _ in range(2))
    both = combine_masks(one, other)
    torch.testing.assert_close(both.sum(0), torch.ones(5, 7))
    assert torch.equal(both, combine_masks(other, one))


def test_those_who_agree_are_taken_at_their_word(generator: torch.Generator) -> None:
    masks = torch.rand(3, 5, 7, generator=generator).softmax(0)
    torch.testing.assert_close(combine_masks(masks, masks), masks, rtol=1e-3, atol=1e-4)


def test_what_one_is_sure_of_the_other_cannot_undo() -> None:
    sure, unsure = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.6], [0.4]])
    assert combine_masks(sure, unsure)[0] < 0.01
    assert combine_masks(sure, sure.flip(0)).tolist() == [[0.5], [0.5]]
