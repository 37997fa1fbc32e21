"""The fit: it finds what a mixture was made of, at any level, and leaves the dictionaries as they are."""

import itertools
import math
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sepdict.audio.signal import Audio
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError, ConfigError, SepdictError, ShapeError
from sepdict.models.autoencoder import build_autoencoder
from sepdict.models.layers import initialize
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import Progress
from sepdict.separation.config import FitConfig
from sepdict.separation.excitations import FINE, ExcitationFit, fit_excitations
from sepdict.spectral.bands import band_sums
from sepdict.spectral.divergences import beta_divergence
from sepdict.spectral.stft import StftConfig
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

SMALL = StftConfig(n_fft=256, hop_length=64)
DENSE = NetworkConfig(code_size=2, hidden=(16, 16), activation="tanh", n_templates=0)
ADDITIVE = replace(DENSE, n_templates=8)
CONVOLUTIONAL = replace(DENSE, kind="convolutional", hidden=(16,), kernel_size=5)
DIVERGENCES = ["kl", "is", "l2", "beta=0.5"]
THOROUGH = FitConfig(n_iterations=250, tolerance=0.0, guided_tolerance=0.0, prior_weight=0.0)


def untrained(source: str, network: NetworkConfig = DENSE) -> Dictionary:
    """A dictionary that draws something at random, each source something else."""
    card = Card(source, 8000, SMALL, network)
    autoencoder = build_autoencoder(network, SMALL.n_bins)
    initialize(autoencoder, torch.Generator().manual_seed(sum(source.encode())))
    return Dictionary(card, autoencoder)


def trained(source: str, lowest: float, highest: float, network: NetworkConfig = DENSE) -> Dictionary:
    """A dictionary of noise within a band, given as a share of all frequencies."""
    spectrum = torch.fft.rfft(torch.randn(1, 24000, generator=torch.Generator().manual_seed(sum(source.encode()))))
    frequency = torch.linspace(0, 1, spectrum.shape[1])
    noise = torch.fft.irfft(spectrum * ((frequency >= lowest) & (frequency <= highest)), n=24000)
    config = TrainingConfig(network=network, stft=SMALL, n_steps=200, learning_rate=5e-3, n_checks=4)
    return train_dictionary(Audio(noise, 8000), config, source=source, device="cpu")


@pytest.fixture(scope="module")
def pair() -> list[Dictionary]:
    """Two sources in bands of their own, with some overlap."""
    return [trained("low", 0.0, 0.45), trained("high", 0.4, 1.0)]


@pytest.fixture(scope="module")
def moving() -> list[Dictionary]:
    """The same two, each frame drawn from five neighboring codes."""
    return [trained("low", 0.0, 0.45, CONVOLUTIONAL), trained("high", 0.4, 1.0, CONVOLUTIONAL)]


@pytest.fixture(scope="module")
def adding() -> list[Dictionary]:
    """The same two, each frame a sum of templates."""
    return [trained("low", 0.0, 0.45, ADDITIVE), trained("high", 0.4, 1.0, ADDITIVE)]


def precise(dictionaries: list[Dictionary]) -> list[Dictionary]:
    """Copies in float64, where two ways of reckoning the same do not part after some iterations."""
    return [Dictionary(dictionary.card, deepcopy(dictionary.network).double()) for dictionary in dictionaries]


def draw(dictionaries: list[Dictionary], n_frames: int, *, n_channels: int = 1, seed: int = 0) -> Tensor:
    """Make sources (n_sources, n_channels, n_bins, n_frames) that the dictionaries can draw exactly."""
    generator = torch.Generator().manual_seed(seed)
    sources = []
    for dictionary in dictionaries:
        dtype = next(dictionary.network.parameters()).dtype
        code = torch.randn(dictionary.card.network.code_size, n_frames, generator=generator).to(dtype)
        gain = torch.rand(n_channels, 1, n_frames, generator=generator).to(dtype) + 0.1
        sources.append(gain * dictionary.decode(code))
    return torch.stack(sources)


def fit(magnitude: Tensor, dictionaries: list[Dictionary], **settings: Any) -> ExcitationFit:
    return fit_excitations(magnitude, dictionaries, FitConfig(**settings))


# What is found


@pytest.mark.slow
@pytest.mark.parametrize(("divergence", "n_channels"), [("kl", 1), ("is", 2), ("l2", 1), ("beta=0.5", 2)])
@pytest.mark.parametrize("kinds", ["pair", "moving", "adding", "two kinds"])
def test_the_sources_of_a_mixture_drawn_from_the_dictionaries_are_found(
    kinds: str, divergence: str, n_channels: int, request: pytest.FixtureRequest
) -> None:
    several = [request.getfixturevalue(kind) for kind in (("pair", "moving") if kinds == "two kinds" else (kinds,))]
    dictionaries = [several[0][0], several[-1][1]]
    sources = draw(dictionaries, 40, n_channels=n_channels)
    found = fit_excitations(sources.sum(dim=0), dictionaries, replace(THOROUGH, divergence=divergence))
    assert abs(found.loss_curve[-1]) < 1e-3 * found.loss_curve[0] + 1e-3  # how near it comes depends on rounding
    errors = (found.magnitudes - sources).abs().mean(dim=(1, 2)) / sources.sum(dim=0).mean(dim=(0, 1))
    assert errors.max() < 0.05  # of the frame's level, in every frame of every source


@pytest.mark.slow
def test_the_more_an_opinion_counts_the_nearer_the_fit_comes_to_it(pair: list[Dictionary]) -> None:
    observed = draw(pair, 40).sum(dim=0)
    masks = torch.stack([torch.full_like(observed, share) for share in (0.2, 0.8)])
    distances = []
    for weight in (0.0, 0.1, 10.0):
        config = replace(THOROUGH, divergence="kl", guide_weight=weight)
        gains = fit_excitations(observed, pair, config, guide_masks=masks).gains
        distances.append(float((gains / gains.sum(dim=0) - torch.tensor([0.2, 0.8])[:, None, None]).abs().mean()))
    assert distances[0] > distances[1] > distances[2]


def test_without_weight_an_opinion_is_only_where_the_fit_starts(pair: list[Dictionary]) -> None:
    sources = draw(pair, 40)
    masks = sources / sources.sum(dim=0)
    config = replace(THOROUGH, divergence="kl", guide_weight=0.0)
    found = fit_excitations(sources.sum(dim=0), pair, config, guide_masks=masks)
    plain = fit_excitations(sources.sum(dim=0), pair, config)
    assert found.loss_curve[0] < 0.5 * plain.loss_curve[0]
    assert torch.allclose(found.gains, plain.gains, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("n_sources", [1, 2, 3, 4])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_shapes_are_those_promised(n_sources: int, n_channels: int, generator: torch.Generator) -> None:
    networks = itertools.cycle([DENSE, replace(DENSE, code_size=5), CONVOLUTIONAL])
    dictionaries = [untrained(name, network) for name, network in zip("abcd"[:n_sources], networks, strict=False)]
    found = fit(torch.rand(n_channels, SMALL.n_bins, 12, generator=generator), dictionaries, n_iterations=30)
    sizes = [dictionary.card.network.code_size for dictionary in dictionaries]
    assert [code.shape for code in found.excitations] == [(size, 12) for size in sizes]
    assert found.gains.shape == (n_sources, n_channels, 12)
    assert found.magnitudes.shape == (n_sources, n_channels, SMALL.n_bins, 12)
    assert (found.gains >= 0).all()
    assert found.loss_curve[-1] < found.loss_curve[0]


@pytest.mark.parametrize("network", [DENSE, CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_magnitudes_are_the_decoded_excitations_times_the_gains(
    network: NetworkConfig, generator: torch.Generator
) -> None:
    dictionaries = [untrained("a", network), untrained("b", network)]
    found = fit(7 * torch.rand(2, SMALL.n_bins, 12, generator=generator), dictionaries, n_iterations=20)
    for s, dictionary in enumerate(dictionaries):
        for c in range(2):
            expected = found.gains[s, c] * dictionary.decode(found.excitations[s])
            torch.testing.assert_close(found.magnitudes[s, c], expected)
    # a decoded shape averages one, so that the gain is the source's mean magnitude
    torch.testing.assert_close(found.magnitudes.mean(dim=2), found.gains, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_frames", [1, 2])
@pytest.mark.parametrize("network", [DENSE, CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_one_frame_is_enough(n_frames: int, network: NetworkConfig) -> None:
    dictionaries = [untrained("a", network), untrained("b", network)]
    found = fit(draw(dictionaries, n_frames).sum(dim=0), dictionaries)
    assert found.magnitudes.isfinite().all()
    assert found.loss_curve[-1] < found.loss_curve[0]


def test_bins_that_were_not_heard_are_drawn_as_the_dictionary_knows_them(pair: list[Dictionary]) -> None:
    whole = draw(pair[:1], 40).sum(dim=0)
    n_fitted_bins = 40
    cut = whole.clone()
    cut[:, n_fitted_bins:] = 0
    told = fit_excitations(cut, pair[:1], THOROUGH, n_fitted_bins=n_fitted_bins)
    untold = fit_excitations(cut, pair[:1], THOROUGH)
    errors = [(found.magnitudes[0] - whole).abs().mean() / whole.mean() for found in (told, untold)]
    assert told.loss_curve[-1] < 1e-4
    assert errors[0] < 0.1 < errors[1]


@pytest.mark.slow
@pytest.mark.parametrize("divergence", ["kl", "l2"])
def test_adam_reaches_about_the_same_cost(pair: list[Dictionary], divergence: str, generator: torch.Generator) -> None:
    """Where the dictionaries cannot explain everything, so that the minimum is not zero."""
    mixture = draw(pair, 20).sum(dim=0) * (0.5 + torch.rand(1, SMALL.n_bins, 20, generator=generator))
    lbfgs = fit_excitations(mixture, pair, replace(THOROUGH, divergence=divergence))
    adam = fit(mixture, pair, divergence=divergence, method="adam", n_iterations=300, tolerance=0.0, prior_weight=0.0)
    assert min(adam.loss_curve) == pytest.approx(lbfgs.loss_curve[-1], rel=0.02)
    assert adam.loss_curve[0] == pytest.approx(lbfgs.loss_curve[0])
    settings = {"step": 1e-9, "n_iterations": 5, "tolerance": 0.0, "prior_weight": 0.0}
    idle = fit(mixture, pair, divergence=divergence, method="adam", **settings)
    assert idle.loss_curve[-1] == pytest.approx(lbfgs.loss_curve[0], rel=1e-4)  # it is Adam, and its step is heeded


def test_the_prior_brings_codes_nearer_to_zero_and_with_none_the_divergence_alone_decides(
    pair: list[Dictionary],
) -> None:
    observed = draw(pair, 40).sum(dim=0)
    sizes, costs = [], []
    for weight in (0.0, 1.0, 30.0):
        found = fit_excitations(observed, pair, replace(THOROUGH, prior_weight=weight))
        sizes.append(float(torch.cat(found.excitations).square().mean()))
        costs.append(float(beta_divergence(observed, found.magnitudes.sum(dim=0), beta=1).sum()))
    assert sizes[0] > sizes[1] > sizes[2]
    assert costs[0] < costs[1] < costs[2]


# Laws


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize(("divergence", "beta"), [("is", 0.0), ("kl", 1.0), ("l2", 2.0)])
def test_a_fit_begins_where_the_encoders_are_and_costs_what_the_equation_says(
    pair: list[Dictionary], divergence: str, beta: float, guided: bool
) -> None:
    pair, config, n_fitted_bins = precise(pair), FitConfig(divergence=divergence, n_iterations=1), 100
    loudness = torch.tensor([[1.0], [0.2]])[..., None] * torch.logspace(-2, 0, 9)  # of the channels, over time
    observed = loudness * mismatched(pair, n_channels=2, n_frames=9).sum(dim=0)
    shares = torch.rand(2, *observed.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    shares = shares / shares.sum(dim=0) if guided else torch.full_like(shares, 0.5)
    masks = shares if guided else None
    found = fit_excitations(observed, pair, config, guide_masks=masks, n_fitted_bins=n_fitted_bins)

    def differ(one: Tensor, other: Tensor) -> Tensor:
        """The divergence of each frame."""
        bands = (band_sums(each[:, :n_fitted_bins], FINE) for each in (one, other))
        return beta_divergence(*bands, beta=beta).sum(dim=0)

    observed = observed / observed.mean()
    codes = [dictionary.encode((share * observed).mean(dim=0)) for dictionary, share in zip(pair, shares, strict=True)]
    gains = (shares * observed)[:, :, :n_fitted_bins].mean(dim=2, keepdim=True)
    drawn = gains * torch.stack([d.decode(code) for d, code in zip(pair, codes, strict=True)])[:, None]
    divergences = differ(observed, drawn.sum(dim=0))
    for share, each in zip(shares, drawn, strict=True):
        divergences = divergences + guided * config.guide_weight * differ(share * observed, each)
    level = observed[:, :n_fitted_bins].mean(dim=(0, 1))
    penalty = config.prior_weight / 2 * torch.cat(codes).square().sum(dim=0) / SMALL.n_bins
    costs = divergences / (level**beta * 2 * n_fitted_bins) + penalty  # one however loud, per bin and channel
    assert found.loss_curve[0] == pytest.approx(float((level.sqrt() * costs).sum() / level.sqrt().sum()), rel=1e-4)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("kind", ["pair", "moving"])
def test_the_cost_never_rises(
    divergence: str, kind: str, request: pytest.FixtureRequest, generator: torch.Generator
) -> None:
    mixture = torch.rand(2, SMALL.n_bins, 30, generator=generator) ** 3
    found = fit(mixture, request.getfixturevalue(kind), divergence=divergence, n_iterations=60, tolerance=0.0)
    rises = [after - before for before, after in itertools.pairwise(found.loss_curve)]
    assert max(rises) <= 1e-6 * found.loss_curve[0]  # blocks never rise; their float32 sum is rounded
    assert found.loss_curve[-1] < found.loss_curve[0]


@pytest.mark.parametrize("kind", ["pair", "moving"])
@pytest.mark.parametrize("factor", [2.0**-40, 2.0**30])
def test_a_louder_mixture_has_the_same_codes_and_louder_gains(
    kind: str, factor: float, request: pytest.FixtureRequest
) -> None:
    """Exactly so for powers of two, which round nothing."""
    dictionaries = request.getfixturevalue(kind)
    mixture = draw(dictionaries, 25, n_channels=2).sum(dim=0)
    plain, scaled = (fit(m, dictionaries, n_iterations=40) for m in (mixture, mixture * factor))
    assert all(torch.equal(a, b) for a, b in zip(plain.excitations, scaled.excitations, strict=True))
    assert torch.equal(plain.gains * factor, scaled.gains)
    assert torch.equal(plain.magnitudes * factor, scaled.magnitudes)
    assert plain.loss_curve == scaled.loss_curve


@pytest.mark.parametrize("factor", [1e-5, 10.0])
def test_any_level_will_do(pair: list[Dictionary], factor: float) -> None:
    pair = precise(pair)
    mixture = draw(pair, 25).sum(dim=0)
    plain, scaled = (fit(m, pair, n_iterations=15, tolerance=0.0) for m in (mixture, mixture * factor))
    torch.testing.assert_close(plain.gains * factor, scaled.gains, rtol=1e-5, atol=1e-6 * factor)
    for a, b in zip(plain.excitations, scaled.excitations, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_frames_of_dense_dictionaries_are_fitted_independently(pair: list[Dictionary]) -> None:
    pair = precise(pair)
    mixture = draw(pair, 30, n_channels=2).sum(dim=0)
    parts = [fit(part.clone(), pair, n_iterations=15, tolerance=0.0) for part in mixture.split([1, 12, 17], dim=-1)]
    whole = fit(mixture, pair, n_iterations=15, tolerance=0.0)
    joined = torch.cat([part.magnitudes for part in parts], dim=-1)
    # not to float64's precision: the parts are brought to another mean level, and the divergence's floor is not
    torch.testing.assert_close(joined, whole.magnitudes, rtol=1e-3, atol=1e-3)
    for s, code in enumerate(whole.excitations):
        torch.testing.assert_close(
            torch.cat([part.excitations[s] for part in parts], dim=-1), code, rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_long_mixture_is_fitted_in_pieces_as_it_would_be_whole(
    pair: list[Dictionary], n_channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dictionaries = precise(pair)
    mixture = draw(dictionaries, 50, n_channels=n_channels).sum(dim=0)
    whole = fit(mixture, dictionaries, n_iterations=10)  # rounding grows: later on, two ways to the minimum part
    monkeypatch.setattr("sepdict.separation.excitations.BANDS_AT_ONCE", 7 * mixture[..., 0].numel())
    pieces = fit(mixture, dictionaries, n_iterations=10)
    torch.testing.assert_close(pieces.magnitudes, whole.magnitudes, rtol=1e-6, atol=1e-9)
    assert pieces.loss_curve == pytest.approx(whole.loss_curve, rel=1e-9)


def test_a_frame_of_convolutional_dictionaries_depends_on_its_neighbors(moving: list[Dictionary]) -> None:
    mixture = draw(moving, 30).sum(dim=0)
    other = mixture.clone()
    other[..., 20:] = other[..., 20:].flip(1)
    codes = [fit(m, moving, n_iterations=15, tolerance=0.0).excitations[0][:, 18:20] for m in (mixture, other)]
    assert (codes[0] - codes[1]).abs().max() > 0.01


def test_the_order_of_the_dictionaries_does_not_matter(pair: list[Dictionary]) -> None:
    pair = precise(pair)
    mixture = draw(pair, 20).sum(dim=0)
    one, other = (fit(mixture, order, n_iterations=15, tolerance=0.0) for order in (pair, pair[::-1]))
    torch.testing.assert_close(one.magnitudes.flip(0), other.magnitudes)


def test_a_panned_source_has_one_code_and_gains_as_it_was_panned(pair: list[Dictionary]) -> None:
    sources = draw(pair, 30)  # (2, 1, n_bins, n_frames)
    panning = torch.tensor([[1.0, 0.25], [0.1, 0.8]])[..., None, None]
    found = fit_excitations((panning * sources).sum(dim=0), pair, THOROUGH)
    ratios = found.gains / found.gains.sum(dim=1, keepdim=True)  # (n_sources, n_channels, n_frames)
    expected = panning[..., 0] / panning[..., 0].sum(dim=1, keepdim=True)
    torch.testing.assert_close(ratios, expected.expand_as(ratios), atol=0.03, rtol=0)


def test_one_source_in_many_channels_has_proportional_gains(pair: list[Dictionary], generator: torch.Generator) -> None:
    panning = torch.tensor([1.0, 0.5, 0.01, 3.0])[:, None, None]
    found = fit_excitations(panning * torch.rand(1, SMALL.n_bins, 10, generator=generator), pair[:1], THOROUGH)
    torch.testing.assert_close(found.gains[0], panning[..., 0] * found.gains[0, :1], rtol=1e-2, atol=1e-5)


def test_the_same_fit_twice_is_the_same(moving: list[Dictionary]) -> None:
    mixture = draw(moving, 20).sum(dim=0)
    before = torch.get_rng_state()
    one, other = fit(mixture, moving), fit(mixture, moving)
    assert torch.equal(one.magnitudes, other.magnitudes)
    assert one.loss_curve == other.loss_curve
    assert torch.equal(torch.get_rng_state(), before)


# What is left alone


@pytest.mark.parametrize("method", ["lbfgs", "adam"])
def test_neither_mixture_nor_dictionaries_change_and_no_weight_gets_a_gradient(
    pair: list[Dictionary], method: str
) -> None:
    mixture = draw(pair, 10).sum(dim=0)
    kept = mixture.clone()
    weights = [{name: w.clone() for name, w in dictionary.network.state_dict().items()} for dictionary in pair]
    found = fit(mixture, pair, method=method, n_iterations=10)
    assert torch.equal(mixture, kept)
    for dictionary, before in zip(pair, weights, strict=True):
        for name, parameter in dictionary.network.named_parameters():
            assert not parameter.requires_grad
            assert parameter.grad is None
            assert torch.equal(parameter, before[name])
    assert not any(tensor.requires_grad for tensor in (*found.excitations, found.gains, found.magnitudes))


def test_it_also_fits_where_the_caller_has_switched_gradients_off(pair: list[Dictionary]) -> None:
    mixture = draw(pair, 10).sum(dim=0)
    with torch.no_grad():
        found = fit(mixture, pair)
    assert torch.equal(found.magnitudes, fit(mixture, pair).magnitudes)


# Silence, and how it ended


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_silent_mixture_has_silent_sources(pair: list[Dictionary], n_channels: int) -> None:
    found = fit(torch.zeros(n_channels, SMALL.n_bins, 7), pair)
    assert torch.equal(found.magnitudes, torch.zeros(2, n_channels, SMALL.n_bins, 7))
    assert torch.equal(found.gains, torch.zeros(2, n_channels, 7))
    assert found.converged
    assert "silent" in found.message


@pytest.mark.parametrize("kind", ["pair", "moving", "adding"])
@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_silent_frames_and_channels_stay_silent(kind: str, divergence: str, request: pytest.FixtureRequest) -> None:
    dictionaries = request.getfixturevalue(kind)
    mixture = draw(dictionaries, 30, n_channels=2).sum(dim=0)
    mixture[..., 10:20] = 0
    mixture[1] = 0
    found = fit(mixture, dictionaries, divergence=divergence)
    assert found.magnitudes.isfinite().all()
    assert found.magnitudes[:, 0, :, 10:20].max() < 1e-3 * mixture[0].mean()
    assert found.magnitudes[:, 1].max() < 1e-3 * mixture[0].mean()
    assert found.loss_curve[-1] < 0.1 * found.loss_curve[0]  # and what does sound is fitted nevertheless


def test_a_fit_that_converged_says_after_how_many_iterations(pair: list[Dictionary]) -> None:
    found = fit(draw(pair, 10).sum(dim=0), pair, tolerance=0.5)
    assert found.converged
    assert found.message == f"Converged after {len(found.loss_curve) - 1} iterations."
    assert len(found.loss_curve) - 1 < FitConfig().n_iterations


def test_a_fit_with_guide_masks_in_its_cost_has_a_tolerance_of_its_own(pair: list[Dictionary]) -> None:
    sources = draw(pair, 10)
    mixture, settings = sources.sum(dim=0), FitConfig(tolerance=0.0, guided_tolerance=0.5, n_iterations=40)
    masks = sources / mixture
    assert fit_excitations(mixture, pair, settings, guide_masks=masks).converged
    assert not fit_excitations(mixture, pair, replace(settings, guide_weight=0.0), guide_masks=masks).converged
    assert not fit_excitations(mixture, pair, settings).converged


def test_a_fit_that_did_not_converge_says_so_in_one_sentence_with_advice(pair: list[Dictionary]) -> None:
    found = fit(draw(pair, 10).sum(dim=0), pair, n_iterations=3, tolerance=1e-9)
    assert not found.converged
    assert found.message.startswith("Stopped after 3 iterations")
    assert "n_iterations" in found.message
    assert found.message.count(".") == 1
    assert len(found.loss_curve) == 4


def test_progress_is_reported_after_every_iteration(pair: list[Dictionary]) -> None:
    seen: list[Progress] = []
    config = FitConfig(n_iterations=5, tolerance=0.0)
    found = fit_excitations(draw(pair, 10).sum(dim=0), pair, config, on_progress=seen.append)
    assert [(progress.stage, progress.step, progress.n_steps) for progress in seen] == [
        ("fit", step, 5) for step in range(1, 6)
    ]
    assert tuple(progress.divergence for progress in seen) == found.loss_curve[1:]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("enough")])
def test_an_exception_from_the_callback_cancels(pair: list[Dictionary], error: BaseException) -> None:
    def stop(_: Progress) -> None:
        raise error

    with pytest.raises(type(error)):
        fit_excitations(torch.ones(1, SMALL.n_bins, 3), pair, on_progress=stop)


# What is refused


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e-6])
def test_magnitudes_that_cannot_be_are_refused(pair: list[Dictionary], value: float) -> None:
    mixture = torch.ones(1, SMALL.n_bins, 5)
    mixture[0, 3, 2] = value
    with pytest.raises(AudioError, match="negative, NaN or infinite"):
        fit(mixture, pair)


@pytest.mark.parametrize("shape", [(SMALL.n_bins, 5), (1, 2, SMALL.n_bins, 5), (SMALL.n_bins,)])
def test_other_axes_are_refused(pair: list[Dictionary], shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"magnitude has shape .* expected \(n_channels, n_bins, n_frames\)"):
        fit(torch.ones(shape), pair)


def test_another_number_of_bins_is_refused_with_both_numbers(pair: list[Dictionary]) -> None:
    with pytest.raises(ShapeError, match=r"257 bins but dictionary 'low' expects 129; use n_fft=256"):
        fit(torch.ones(1, 257, 5), pair)


def test_masks_of_another_shape_are_refused(pair: list[Dictionary]) -> None:
    observed = torch.ones(1, SMALL.n_bins, 5)
    with pytest.raises(ShapeError, match=r"masks have shape \(1, 1, 129, 5\); expected \(2, 1, 129, 5\)"):
        fit_excitations(observed, pair, guide_masks=observed[None])


def test_no_dictionary_is_refused() -> None:
    with pytest.raises(ConfigError, match="no dictionaries"):
        fit(torch.ones(1, SMALL.n_bins, 5), [])


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "newton"},
        {"divergence": "euclid"},
        {"n_iterations": 0},
        {"history": 0},
        {"tolerance": math.nan},
        {"tolerance": -1e-9},
        {"step": 0.0},
        {"step": math.inf},
        {"guide_weight": -1.0},
        {"guide_weight": math.inf},
        {"prior_weight": -1.0},
        {"prior_weight": math.nan},
        {"critic_weight": -1.0},
        {"critic_weight": math.inf},
    ],
)
def test_settings_out_of_range_are_refused_with_their_value(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(SepdictError, match=rf"{name}.* '?{value}.*expected"):
        FitConfig(**settings)


# Settings that were chosen by measuring: what each was chosen for


def mismatched(dictionaries: list[Dictionary], *, n_channels: int = 1, n_frames: int = 20) -> Tensor:
    """Make sources that the dictionaries draw only roughly: every bin is some 6 dB off."""
    sources = draw(dictionaries, n_frames, n_channels=n_channels)
    return sources * 10 ** (6 / 20 * torch.randn(sources.shape, generator=torch.Generator().manual_seed(1)))


def test_by_default_a_guide_helps_where_dictionaries_are_off_and_cannot_overrule_them_where_they_are_right(
    pair: list[Dictionary],
) -> None:
    rough, exact = mismatched(pair), draw(pair, 20)
    guided, alone = (
        fit_excitations(rough.sum(dim=0), pair, config, guide_masks=rough / rough.sum(dim=0)).gains
        for config in (FitConfig(), FitConfig(guide_weight=0.0))
    )
    errors = [float((gains - rough.mean(dim=2)).abs().mean()) for gains in (guided, alone)]
    assert errors[0] < 0.8 * errors[1]
    misled = fit_excitations(exact.sum(dim=0), pair, guide_masks=torch.full_like(exact, 0.5)).magnitudes
    assert float((misled - exact).abs().mean() / exact.mean()) < 0.13


def test_the_bands_of_a_fit_keep_notes_a_fifth_of_a_semitone_apart_and_are_few() -> None:
    music = StftConfig.for_sample_rate(44100)
    bins = torch.eye(music.n_bins)
    bands = band_sums(bins, FINE).argmax(dim=0)  # the band of every bin
    low = torch.arange(100, music.n_bins * 100 // 102)
    assert (bands[(low * 1.0117).ceil().long()] > bands[low]).all()
    assert int(bands[-1]) < music.n_bins / 7
