"""Laws of the metrics first, then values that other projects published."""

import json
import math
import os
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from sepdict.audio.io import read_audio
from sepdict.errors import ShapeError
from sepdict.evaluation.metrics import BssEval, bss_eval, si_sdr, si_sdr_improvement

MONO_SETS = ["01", "02", "03", "05", "07", "08", "09"]  # 06 is stereo, 04 does not exist; 02 is permuted


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def fixtures() -> Path:
    audio = os.environ.get("SEPDICT_AUDIO")
    if audio is None:
        pytest.skip("SEPDICT_AUDIO is not set: the published cases lie in ../fixtures beside that folder")
    return Path(audio).parent / "fixtures"


def noise(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=dtype)


def orthogonal_pair(generator: torch.Generator, n_samples: int = 4000) -> tuple[Tensor, Tensor]:
    """Two signals of equal energy and no correlation: they never sound at the same time."""
    first, second = torch.zeros(2, n_samples, dtype=torch.float64)
    first[::2] = noise(generator, n_samples // 2)
    second[1::2] = first[::2]
    return first, second


def ratios(scores: BssEval) -> Tensor:
    """SDR, SIR and SAR as the rows of one tensor, (3, n_sources)."""
    return torch.stack([scores.sdr, scores.sir, scores.sar])


def exact_si_sdr(estimate: np.ndarray, reference: np.ndarray) -> float:
    """SI-SDR in rational arithmetic: <e,r>^2 / (<e,e><r,r> - <e,r>^2), no rounding before the logarithm."""
    pairs = [(Fraction(float(e)), Fraction(float(r))) for e, r in zip(estimate, reference, strict=True)]
    cross = sum(e * r for e, r in pairs)
    product = sum(e * e for e, _ in pairs) * sum(r * r for _, r in pairs)
    return 10 * math.log10(cross**2 / (product - cross**2))


# --- SI-SDR: laws


@pytest.mark.parametrize("scale", [1e-6, 0.3, 7.0, 1e6, -1.0])
def test_scaling_the_estimate_leaves_si_sdr_unchanged(generator: torch.Generator, scale: float) -> None:
    estimate, reference = noise(generator, 2, 4000)
    # float64 rounds at 1e-16 of the value; 1e-9 dB leaves room for the sums
    torch.testing.assert_close(si_sdr(scale * estimate, reference), si_sdr(estimate, reference), rtol=0, atol=1e-9)


@pytest.mark.parametrize("ratio_db", [-40.0, 0.0, 10.0, 60.0, 200.0])
def test_orthogonal_error_of_known_level_gives_exactly_its_ratio(generator: torch.Generator, ratio_db: float) -> None:
    reference, error = orthogonal_pair(generator)
    estimate = reference + 10 ** (-ratio_db / 20) * error
    assert si_sdr(estimate, reference).item() == pytest.approx(ratio_db, abs=1e-6)


def test_perfect_estimate_has_infinite_si_sdr(generator: torch.Generator) -> None:
    reference = noise(generator, 3, 4001, dtype=torch.float32)
    other_layout = reference.T.contiguous().T
    assert si_sdr(other_layout, reference).tolist() == [math.inf] * 3


def test_perfect_estimate_at_another_scale_exceeds_280_db(generator: torch.Generator) -> None:
    reference = noise(generator, 4000)
    assert si_sdr(reference / 3, reference).item() > 280  # float64 rounding allows about 310


def test_mean_is_not_removed(generator: torch.Generator) -> None:
    reference = noise(generator, 4000)
    reference -= reference.mean()
    offset = reference.square().mean().sqrt()  # a constant of the reference's own energy: 0 dB
    assert si_sdr(reference + offset, reference).item() == pytest.approx(0.0, abs=1e-9)


def test_error_far_below_float32_resolution_is_still_measured() -> None:
    reference = torch.ones(2**16, dtype=torch.float32)
    estimate = reference.clone()
    estimate[0] += 2**-20  # one sample of 2^16, off by about one part in a million
    assert si_sdr(estimate, reference).item() == pytest.approx(10 * math.log10(2 ** (16 + 40)), abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_si_sdr_agrees_with_torchmetrics(generator: torch.Generator, dtype: torch.dtype) -> None:
    reference = noise(generator, 2, 3, 4000, dtype=dtype)
    estimate = reference + 0.5 * noise(generator, 2, 3, 4000, dtype=dtype) + 0.1
    ours = si_sdr(estimate, reference)
    theirs = scale_invariant_signal_distortion_ratio(estimate, reference, zero_mean=False)
    assert ours.shape == (2, 3)
    assert ours.dtype == torch.float64
    # torchmetrics sums in the dtype of its input, float32 included
    torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-9)


def test_si_sdr_does_not_modify_its_arguments(generator: torch.Generator) -> None:
    estimate, reference, mixture = noise(generator, 3, 4000)
    before = [estimate.clone(), reference.clone(), mixture.clone()]
    si_sdr_improvement(estimate, reference, mixture)
    assert all(map(torch.equal, before, [estimate, reference, mixture]))


# --- SI-SDR: silence


@pytest.mark.parametrize("n_samples", [0, 8])
def test_silent_reference_gives_nan(n_samples: int) -> None:
    estimates = torch.stack([torch.ones(n_samples), torch.zeros(n_samples)])
    assert si_sdr(estimates, torch.zeros(2, n_samples)).isnan().all()


def test_silent_estimate_gives_minus_infinity() -> None:
    assert si_sdr(torch.zeros(8), torch.ones(8)).item() == -math.inf


def test_estimate_without_a_trace_of_the_reference_gives_minus_infinity() -> None:
    assert si_sdr(torch.tensor([1.0, -1.0]), torch.tensor([1.0, 1.0])).item() == -math.inf


def test_silent_source_leaves_its_neighbors_alone(generator: torch.Generator) -> None:
    estimate, reference = noise(generator, 2, 3, 4000)
    expected = si_sdr(estimate, reference)
    reference[1] = 0
    scores = si_sdr(estimate, reference)
    assert scores[1].isnan()
    assert torch.equal(scores[[0, 2]], expected[[0, 2]])


# --- SI-SDR improvement


def test_handing_back_the_mixture_is_no_improvement(generator: torch.Generator) -> None:
    references = noise(generator, 2, 4000)
    mixture = references.sum(dim=0)
    scores = si_sdr_improvement(mixture.expand(2, -1), references, mixture)
    assert scores.tolist() == [0.0, 0.0]


def test_improvement_is_the_difference_of_two_known_ratios(generator: torch.Generator) -> None:
    reference, error = orthogonal_pair(generator)
    improvement = si_sdr_improvement(reference + 0.01 * error, reference, reference + 10 * error)
    assert improvement.item() == pytest.approx(60.0, abs=1e-6)


# --- BSS Eval: laws


def test_filtered_source_costs_no_sdr_but_much_si_sdr(generator: torch.Generator) -> None:
    reference = noise(generator, 1, 4000)
    reference[:, -400:] = 0  # so that the delayed copy is not cut off
    delayed = reference.roll(300, dims=1)
    assert bss_eval(delayed, reference).sdr.item() > 200
    assert si_sdr(delayed, reference).item() < -20


def test_leaked_source_is_interference_and_not_artifact(generator: torch.Generator) -> None:
    references = noise(generator, 2, 8000)
    scores = bss_eval(references + 0.1 * references.flip(0), references)
    # the 512 delays of each reference explain some of the other by chance: 512 / 8000, about 0.3 dB
    assert scores.sir.tolist() == pytest.approx([20, 20], abs=1)
    assert scores.sdr.tolist() == pytest.approx([20, 20], abs=1)
    assert (scores.sar > 150).all()


def test_added_noise_is_artifact(generator: torch.Generator) -> None:
    references = noise(generator, 2, 8000)
    scores = bss_eval(references + 0.1 * noise(generator, 2, 8000), references)
    assert scores.sar.tolist() == pytest.approx([20, 20], abs=1)
    assert scores.sdr.tolist() == pytest.approx([20, 20], abs=1)
    assert (scores.sir > 30).all()


def test_sources_keep_their_order(generator: torch.Generator) -> None:
    references = noise(generator, 2, 4000)
    assert (bss_eval(references.flip(0), references).sdr < 0).all()


def test_bss_eval_does_not_modify_its_arguments(generator: torch.Generator) -> None:
    estimates, references = noise(generator, 2, 2, 2000)
    estimates[1] = 0  # the case that puts a stand-in in its place
    before = estimates.clone(), references.clone()
    bss_eval(estimates, references)
    assert torch.equal(before[0], estimates)
    assert torch.equal(before[1], references)


def test_bss_eval_leaves_the_warning_filters_as_they_were(generator: torch.Generator) -> None:
    before = list(warnings.filters)
    bss_eval(*noise(generator, 2, 1, 2000))
    assert list(warnings.filters) == before


# --- BSS Eval: silence and other ends of the scale


def test_silent_reference_is_left_out_of_bss_eval(generator: torch.Generator) -> None:
    estimates, references = noise(generator, 2, 3, 4000)
    references[1] = 0
    scores = bss_eval(estimates, references)
    without = bss_eval(estimates[[0, 2]], references[[0, 2]])
    assert ratios(scores)[:, 1].isnan().all()
    assert torch.equal(ratios(scores)[:, [0, 2]], ratios(without))


def test_all_references_silent_gives_nan_throughout() -> None:
    scores = bss_eval(torch.ones(2, 100), torch.zeros(2, 100))
    assert ratios(scores).isnan().all()


def test_silent_estimate_gets_minus_infinity_and_the_others_their_scores(generator: torch.Generator) -> None:
    estimates, references = noise(generator, 2, 2, 4000)
    expected = bss_eval(estimates, references)
    estimates[1] = 0
    scores = bss_eval(estimates, references)
    assert ratios(scores)[:, 1].tolist() == [-math.inf] * 3
    assert torch.equal(ratios(scores)[:, 0], ratios(expected)[:, 0])


def test_lone_source_meets_no_interference(generator: torch.Generator) -> None:
    scores = bss_eval(*noise(generator, 2, 1, 4000))
    assert scores.sir.item() == math.inf
    assert scores.sdr.item() == scores.sar.item() < 0


def test_estimate_that_stops_before_the_source_starts_gets_minus_infinity() -> None:
    estimates, references = torch.zeros(2, 1, 500)
    estimates[0, 0] = 1
    references[0, 256] = 1
    assert bss_eval(estimates, references).sdr.item() == -math.inf


def test_references_that_cannot_be_told_apart_give_nan() -> None:
    click = torch.zeros(2, 500)
    click[:, 0] = 1
    scores = bss_eval(click, click)
    assert ratios(scores).isnan().all()


# --- mistakes


@pytest.mark.parametrize("metric", [si_sdr, bss_eval])
def test_different_shapes_are_refused_by_naming_both(metric: Callable[[Tensor, Tensor], object]) -> None:
    with pytest.raises(ShapeError, match=r"\(2, 100\).*\(2, 99\)"):
        metric(torch.ones(2, 100), torch.ones(2, 99))


def test_mixture_of_another_length_is_refused_by_naming_both() -> None:
    with pytest.raises(ShapeError, match=r"mixture.*\(99,\).*\(2, 100\)"):
        si_sdr_improvement(torch.ones(2, 100), torch.ones(2, 100), torch.ones(99))


def test_broadcasting_an_estimate_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(100,\).*\(2, 100\)"):
        si_sdr(torch.ones(100), torch.ones(2, 100))


def test_single_numbers_are_refused() -> None:
    with pytest.raises(ShapeError, match="n_samples"):
        si_sdr(torch.tensor(1.0), torch.tensor(1.0))


@pytest.mark.parametrize("shape", [(100,), (2, 2, 100)])
def test_bss_eval_refuses_anything_but_sources_by_samples(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="n_sources, n_samples"):
        bss_eval(torch.ones(shape), torch.ones(shape))


# --- published cases


@pytest.mark.slow
@pytest.mark.parametrize("name", MONO_SETS)
def test_bss_eval_reproduces_the_cases_of_mir_eval(fixtures: Path, name: str) -> None:
    folder = fixtures / "mir_eval_separation"
    expected = read_expected(folder, name)
    estimates = read_sources(folder / f"est{name}")[expected["Source permutation"]]
    scores = bss_eval(estimates, read_sources(folder / f"ref{name}"))
    assert scores.sdr.tolist() == pytest.approx(expected["Source to Distortion"], abs=1e-6)
    assert scores.sir.tolist() == pytest.approx(expected["Source to Interference"], abs=1e-6)
    assert scores.sar.tolist() == pytest.approx(expected["Source to Artifact"], abs=1e-6)


def read_expected(folder: Path, name: str) -> dict[str, list[Any]]:
    expected: dict[str, list[Any]] = json.loads((folder / f"output{name}.json").read_text())["Sources"]
    return expected


def read_sources(folder: Path) -> Tensor:
    paths = sorted(folder.glob("*.wav"))
    return torch.cat([read_audio(path).samples for path in paths])  # (n_sources, n_samples)


@pytest.mark.slow
def test_float32_signals_are_measured_as_rational_arithmetic_does(fixtures: Path) -> None:
    with np.load(fixtures / "fast_bss_eval" / "data_issue_5.npz") as pair:
        target, estimate = pair["target"], pair["preds"]
    assert target.dtype == np.float32
    scores = si_sdr(torch.from_numpy(estimate), torch.from_numpy(target))
    exact = [exact_si_sdr(*signals) for signals in zip(estimate, target, strict=True)]
    assert scores.tolist() == pytest.approx(exact, abs=1e-9)
    full = bss_eval(torch.from_numpy(estimate), torch.from_numpy(target))
    assert ratios(full).isfinite().all()
