"""Guides: what is known of a mixture overrules or weighs upon what is estimated, and never breaks the sum."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sepdict._core.names import RESIDUAL
from sepdict.audio.labels import Label
from sepdict.audio.signal import Audio, resample
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError
from sepdict.evaluation.metrics import si_sdr
from sepdict.models.network_config import NetworkConfig
from sepdict.separation.config import FitConfig, MaskEstimatorConfig, SeparationConfig
from sepdict.separation.engine import separate
from sepdict.separation.guides import Grid, LabelGuide, StemGuide, pool, refuse_lag
from sepdict.spectral.masks import combine_masks, ratio_masks
from sepdict.spectral.stft import StftConfig, istft, stft
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

RATE = 8000
STFT = StftConfig(n_fft=256, hop_length=64)
TINY = TrainingConfig(network=NetworkConfig(code_size=2, hidden=(8,)), stft=STFT, n_steps=20, n_checks=2)
DRAFT = SeparationConfig(FitConfig(n_iterations=4), mask_estimator=None, device="cpu")
STANDARD = replace(DRAFT, mask_estimator=MaskEstimatorConfig(n_steps=20, n_adaptation_steps=3))
STEMS = ("low", "high")
GRID = Grid(STEMS, RATE, STFT, 0.0, 2 * RATE)


def noise(seconds: float, *, seed: int, n_channels: int = 1) -> Tensor:
    return torch.randn(n_channels, round(seconds * RATE), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def dictionaries() -> list[Dictionary]:
    """Of low noise and of white noise: hard to tell apart."""
    low = torch.nn.functional.avg_pool1d(noise(3, seed=1), 3, stride=1)
    return [
        train_dictionary(Audio(samples, RATE), TINY, source=source, device="cpu")
        for source, samples in zip(STEMS, (low, noise(3, seed=2)), strict=True)
    ]


@pytest.fixture
def estimate() -> Tensor:
    return ratio_masks(torch.rand(2, 1, STFT.n_bins, GRID.n_samples // STFT.hop_length + 1))


@pytest.fixture
def spectrum() -> Tensor:
    return stft(noise(2, seed=3), STFT)


def stem_guide(stem: str, samples: Tensor, **settings: float) -> StemGuide:
    return StemGuide(stem, Audio(samples, RATE, "other.wav"), **settings)


def test_without_a_guide_the_estimate_is_returned_bit_by_bit(estimate: Tensor) -> None:
    assert pool(estimate, []) is estimate


def test_pooled_masks_sum_to_one(estimate: Tensor, spectrum: Tensor) -> None:
    guides = [LabelGuide((Label(0.2, 0.9, "low"),)), stem_guide("high", 0.5 * noise(2, seed=3))]
    pooled = pool(estimate, [guide.of_segment(spectrum, GRID) for guide in guides])
    torch.testing.assert_close(pooled.sum(dim=0), torch.ones_like(pooled[0]))


def test_a_label_rules_within_its_times_and_frequencies_and_nothing_else(estimate: Tensor, spectrum: Tensor) -> None:
    guide = LabelGuide((Label(0.5, 1.0, "high", 1000.0, 2000.0),))
    pooled = pool(estimate, [guide.of_segment(spectrum, GRID)])
    bins, frames = GRID.bins_within(1000.0, 2000.0), GRID.frames_within(0.5, 1.0)
    assert pooled[1, :, bins, frames].min() > 0.999
    untouched = torch.ones_like(pooled, dtype=torch.bool)
    untouched[:, :, bins, frames] = False
    assert torch.equal(pooled[untouched], estimate[untouched])


def test_frames_at_the_edge_of_a_label_are_left_to_the_estimate() -> None:
    frames = GRID.frames_within(0.5, 1.0)
    centers_s = torch.arange(frames.start, frames.stop) * STFT.hop_length / RATE
    assert 0.5 + 0.25 * STFT.n_fft / RATE <= centers_s.min() < centers_s.max() < 1.0 - 0.2 * STFT.n_fft / RATE


def test_a_later_segment_sees_only_its_own_part_of_a_label() -> None:
    whole, later = GRID.frames_within(0.5, 1.0), replace(GRID, start_s=0.25).frames_within(0.5, 1.0)
    shift = round(0.25 * RATE / STFT.hop_length)
    assert abs(whole.start - shift - later.start) <= 1
    assert abs(whole.stop - shift - later.stop) <= 1
    assert replace(GRID, start_s=3.0).frames_within(0.5, 1.0) == slice(0, 0)


def low_and_high(seed: int) -> tuple[Tensor, Tensor]:
    """Two seconds of each, to be summed."""
    return torch.nn.functional.avg_pool1d(noise(2, seed=seed), 5, stride=1, padding=2), noise(2, seed=seed + 1)


def test_a_guide_of_weight_one_counts_as_much_as_the_estimate(estimate: Tensor) -> None:
    low, high = low_and_high(20)
    guide, spectrum = stem_guide("low", low, weight=1.0), stft(low + high, STFT)
    estimate = combine_masks(estimate, ratio_masks(torch.stack([stft(low, STFT).abs(), stft(high, STFT).abs()])))
    guide_masks = guide.of_segment(spectrum, GRID)
    masks, weights = guide_masks(estimate)
    assert weights.min() == 1
    torch.testing.assert_close(pool(estimate, [guide_masks]), combine_masks(estimate, masks))


def test_a_stem_gives_the_masks_that_its_tool_used(spectrum: Tensor) -> None:
    used = (torch.arange(STFT.n_bins) < 50).float()[:, None].expand(spectrum.shape)
    samples = istft(used * spectrum, STFT, n_samples=GRID.n_samples)
    estimate = torch.stack([0.6 * used + 0.2, 0.8 - 0.6 * used])
    masks, weights = stem_guide("low", samples).of_segment(spectrum, GRID)(estimate)
    assert weights.min() > 0
    assert (masks[0] - used)[:, 2:-2].abs().mean() < 0.03
    torch.testing.assert_close(masks.sum(dim=0), torch.ones_like(masks[0]))


@pytest.mark.parametrize("what", ["nothing", "the other source"])
def test_a_wrong_stem_has_no_weight(what: str) -> None:
    low, high = low_and_high(6)
    spectrum = stft(low + high, STFT)
    estimate = ratio_masks(torch.stack([stft(low, STFT).abs(), stft(high, STFT).abs()]))
    given = {"nothing": torch.zeros_like(low), "the other source": high}[what]
    _, weights = stem_guide("low", given).of_segment(spectrum, GRID)(estimate)
    assert not weights.any()
    _, weights = stem_guide("low", low).of_segment(spectrum, GRID)(estimate)
    assert weights.min() == StemGuide.weight


def test_a_stem_is_prepared_once_for_a_segment_which_warns_once(
    dictionaries: list[Dictionary], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    transforms = list[str]()
    monkeypatch.setattr("sepdict.separation.guides.stft", lambda *given: transforms.append("stft") or stft(*given))
    mixture, silence = Audio(noise(5, seed=12), RATE), stem_guide("low", torch.zeros(1, 5 * RATE))
    separation = separate(mixture, dictionaries, replace(STANDARD, segment_s=3), guides=[silence])
    assert separation.n_segments == len(transforms) > 1
    assert [record.getMessage()[:9] for record in caplog.records] == ["other.wav"] * separation.n_segments


@pytest.mark.parametrize("config", [DRAFT, STANDARD], ids=["draft", "standard"])
@pytest.mark.parametrize("residual", [False, True])
def test_a_labeled_moment_goes_to_its_stem_and_the_stems_still_sum(
    dictionaries: list[Dictionary], config: SeparationConfig, residual: bool
) -> None:
    mixture = Audio(noise(2, seed=8, n_channels=2), RATE)
    guides = [LabelGuide((Label(0.5, 1.5, "high"),))]
    separation = separate(mixture, dictionaries, replace(config, residual=residual), guides=guides)
    total = torch.stack([stem.samples for stem in separation.stems.values()]).sum(dim=0)
    torch.testing.assert_close(total, mixture.samples, atol=1e-5, rtol=0)
    within = slice(round(0.6 * RATE), round(1.4 * RATE))
    for source, expected in (("high", mixture.samples), ("low", 0 * mixture.samples)):
        error = separation[source].samples[:, within] - expected[:, within]
        assert error.square().mean() < 3e-3 * mixture.samples.square().mean()  # infrasound is shared otherwise


def test_a_label_may_name_the_residual(dictionaries: list[Dictionary]) -> None:
    mixture = Audio(noise(2, seed=9), RATE)
    separation = separate(mixture, dictionaries[:1], DRAFT, guides=[LabelGuide((Label(0.5, 1.5, RESIDUAL),))])
    assert si_sdr(separation[RESIDUAL].samples[0, 5000:11000], mixture.samples[0, 5000:11000]) > 25


def test_guides_do_not_depend_on_the_level_of_the_mixture(dictionaries: list[Dictionary]) -> None:
    low = torch.nn.functional.avg_pool1d(noise(2, seed=10), 3, stride=1, padding=1)
    mixture = low + 0.3 * noise(2, seed=11)
    stems = []
    for gain in (1.0, 2.0**-40):
        guides = [stem_guide("low", gain * low), LabelGuide((Label(0.1, 0.5, "high"),))]
        separation = separate(Audio(gain * mixture, RATE), dictionaries, DRAFT, guides=guides)
        stems.append(separation["low"].samples / gain)
    assert torch.equal(*stems)


def test_a_segment_cut_from_a_long_mixture_is_guided_at_the_right_time(dictionaries: list[Dictionary]) -> None:
    mixture = Audio(noise(9, seed=12), RATE)
    guides = [LabelGuide((Label(6.0, 7.0, "high"),)), stem_guide("low", mixture.samples * 0.5)]
    separation = separate(mixture, dictionaries, replace(DRAFT, segment_s=3), guides=guides)
    within = slice(round(6.1 * RATE), round(6.9 * RATE))
    assert separation["low"].samples[:, within].square().mean() < 1e-3 * mixture.samples.square().mean()


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        (LabelGuide((Label(0, 1, "cat"),)), "is of 'cat'; expected one of the stems low, high"),
        (LabelGuide((Label(5, 6, "low"),)), "goes from 5 to 6 s, but the mixture lasts 2.0 s"),
        (LabelGuide((Label(1, 2.1, "low"),)), "goes from 1 to 2.1 s, but the mixture lasts 2.0 s"),
        (stem_guide("cat", noise(2, seed=1)), "guides 'cat'; expected one of the stems low, high"),
        (stem_guide("low", noise(1.9, seed=1)), "lasts 1.900 s, its mixture 2.000 s"),
        (stem_guide("low", noise(2, seed=1, n_channels=3)), "has 3 channels, its mixture 1"),
    ],
)
def test_guides_of_another_mixture_are_refused(
    dictionaries: list[Dictionary], guide: LabelGuide | StemGuide, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        separate(Audio(noise(2, seed=1), RATE), dictionaries, DRAFT, guides=[guide])


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_are_zero_or_more(weight: float) -> None:
    with pytest.raises(ConfigError, match="expected 0 or more"):
        stem_guide("low", noise(1, seed=1), weight=weight)


@pytest.mark.parametrize(("n_late", "message"), [(800, "comes 100 ms too late"), (-400, "comes 50 ms too early")])
def test_a_stem_that_is_not_aligned_is_refused_and_its_lag_named(n_late: int, message: str) -> None:
    stem = noise(2, seed=13)
    mixture = Audio(stem + 0.5 * noise(2, seed=14), RATE)
    with pytest.raises(ConfigError, match=message):
        refuse_lag(stem_guide("low", stem.roll(n_late)), mixture)
    refuse_lag(stem_guide("low", stem), mixture)


def test_a_stem_that_resembles_nothing_has_no_lag() -> None:
    refuse_lag(stem_guide("low", noise(2, seed=15)), Audio(noise(2, seed=16), RATE))
    refuse_lag(stem_guide("low", torch.zeros(1, 2 * RATE)), Audio(noise(2, seed=16), RATE))


def test_a_guide_at_another_rate_is_resampled() -> None:
    low, high = low_and_high(17)
    spectrum = stft(low + high, STFT)
    estimate = ratio_masks(torch.stack([stft(low, STFT).abs(), stft(high, STFT).abs()]))
    one, other = (
        StemGuide("low", resample(Audio(low, RATE), rate)).of_segment(spectrum, GRID)(estimate)[0]
        for rate in (RATE, 2 * RATE)
    )
    assert (one - other).abs().mean() < 0.02
