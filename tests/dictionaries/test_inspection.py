"""Inspection: what is said to excite a unit most does, orders rise, projections shorten, pitches are those played."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sepdict.audio.io import read_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.exemplars import decode_exemplars
from sepdict.dictionaries.inspection import (
    PITCH_RANGE_HZ,
    Atoms,
    ExcitingInputs,
    _frame_by_frame,
    _on_sphere,
    atoms,
    exciting_inputs,
    frequency_order,
    manifold,
    pitches,
    principal_axes,
)
from sepdict.errors import ConfigError
from sepdict.models.autoencoder import build_autoencoder
from sepdict.models.layers import Stack, initialize
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.bands import to_bands, to_bins
from sepdict.spectral.stft import magnitude, spectral_shape, stft

DATA = Path(__file__).parents[2] / "data"
SOURCES = ("violin", "piano", "speech")


@pytest.fixture(scope="module")
def violin() -> Dictionary:
    return Dictionary.load(DATA / "violin.safetensors")


@pytest.fixture(scope="module")
def excited(violin: Dictionary) -> tuple[ExcitingInputs, ...]:
    return exciting_inputs(violin)


def activities(dictionary: Dictionary, layer: int, features: Tensor) -> Tensor:
    return dictionary.network.encoder.activities(features)[layer]


def unordered(layer: ExcitingInputs, values: Tensor) -> Tensor:
    """Put columns back to where their units are in the network."""
    return values[..., layer.units.argsort()]


def test_no_input_of_the_same_norm_excites_a_first_layer_more(
    violin: Dictionary, excited: tuple[ExcitingInputs, ...], generator: torch.Generator
) -> None:
    best = unordered(excited[0], excited[0].activities)
    weight, bias = (parameter.squeeze(-1) for parameter in violin.network.encoder.layers[0].parameters())
    closed_form = _on_sphere(weight.T)  # (n_bins, n_units)
    expected = (weight * closed_form.T).sum(dim=1) + bias
    torch.testing.assert_close(best, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        unordered(excited[0], excited[0].shapes).sqrt(), closed_form, rtol=0, atol=0.05
    )  # flat near the top
    nudged = (closed_form[:, :, None] + 0.3 * torch.randn(513, 256, 5, generator=generator)).flatten(1)
    for others in (nudged, torch.rand(513, 2000, generator=generator)):
        assert (activities(violin, 0, _on_sphere(others)) <= best[:, None] + 1e-3).all()


@pytest.mark.parametrize("layer", [0, 1])
def test_no_exemplar_and_no_noise_excites_more(
    violin: Dictionary, excited: tuple[ExcitingInputs, ...], layer: int, generator: torch.Generator
) -> None:
    best = unordered(excited[layer], excited[layer].activities)
    remembered = spectral_shape(
        to_bins(decode_exemplars(violin.exemplars), 513)
    ).sqrt()  # all of it, not only where climbs begin
    for others in (remembered, torch.rand(513, 2000, generator=generator) ** 8):
        assert (activities(violin, layer, _on_sphere(others)) <= best[:, None] + 1e-4).all()


def test_what_is_said_of_activities_holds_for_the_shapes(
    violin: Dictionary, excited: tuple[ExcitingInputs, ...]
) -> None:
    for index, layer in enumerate(excited):
        assert (layer.shapes >= 0).all()
        torch.testing.assert_close(layer.shapes.mean(dim=0), torch.ones(256), rtol=1e-4, atol=0)
        reached = activities(violin, index, layer.shapes.sqrt())[layer.units].diagonal()
        torch.testing.assert_close(reached, layer.activities, rtol=1e-4, atol=1e-4)


def test_climbing_longer_never_lowers_a_unit(violin: Dictionary) -> None:
    climbs = [exciting_inputs(violin, n_steps=n_steps) for n_steps in (0, 3, 10)]
    deep = torch.stack([unordered(layers[1], layers[1].activities) for layers in climbs])
    assert (deep.diff(dim=0) >= -1e-4).all()
    assert deep[-1].mean() > deep[0].mean() + 0.5


def test_the_global_generator_and_the_network_are_left_alone(violin: Dictionary) -> None:
    before, checksum = torch.random.get_rng_state(), violin.sha256
    with torch.no_grad():  # callers may well have switched gradients off
        one, again = exciting_inputs(violin, n_steps=2), exciting_inputs(violin, n_steps=2)
    assert torch.equal(one[1].shapes, again[1].shapes)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert violin.sha256 == checksum
    assert not any(parameter.requires_grad for parameter in violin.network.parameters())


def test_units_that_nothing_excites_stay_blank(violin: Dictionary) -> None:
    network = build_autoencoder(violin.card.network, 513)
    network.load_state_dict(violin.network.state_dict())
    with torch.no_grad():
        network.encoder.layers[0].weight[3].abs_().neg_()
        network.encoder.layers[1].weight[5] = 0
    layers = exciting_inputs(Dictionary(violin.card, network), n_steps=3)
    for layer, dead in zip(layers, (3, 5), strict=True):
        shapes = unordered(layer, layer.shapes)
        assert not shapes[:, dead].any()
        n_alive = int((shapes.sum(dim=0) > 0).sum())
        assert n_alive >= 250
        assert dead in layer.units[n_alive:]  # behind all others


def tiny(config: NetworkConfig) -> Dictionary:
    violin = Dictionary.load(DATA / "violin.safetensors")
    network = build_autoencoder(config, 513)
    initialize(network, torch.Generator().manual_seed(0))
    return Dictionary(replace(violin.card, network=config), network)


CONTEXT = NetworkConfig("convolutional", 3, (8,), kernel_size=5, n_templates=4)


@pytest.mark.parametrize(
    "config", [CONTEXT, NetworkConfig(code_size=1, hidden=(4,), n_templates=0), NetworkConfig(code_size=2, hidden=())]
)
def test_networks_of_every_kind_are_inspected_without_exemplars(config: NetworkConfig) -> None:
    dictionary = tiny(config)
    found = atoms(dictionary)
    assert found.high.shape == found.low.shape == (513, config.code_size)
    assert found.templates.shape == (513, config.n_templates)
    assert [layer.shapes.shape for layer in exciting_inputs(dictionary, n_steps=2)] == [(513, n) for n in config.hidden]
    with pytest.raises(ConfigError, match="'violin' has no exemplars; train it again with exemplars_s above 0"):
        manifold(dictionary)


def test_a_network_that_sees_its_neighbors_is_given_a_frame_for_as_long_as_it_looks(
    generator: torch.Generator,
) -> None:
    looking, single = Stack((6, 5, 4), (5, 1), "tanh"), Stack((6, 5, 4), (1, 1), "tanh")
    for stack in (looking, single):
        initialize(stack, generator)
        stack.requires_grad_(False)
    frames = torch.rand(6, 3, generator=generator)
    for index in range(3):
        steady = looking(frames[:, index : index + 1].expand(-1, 40))[:, 20]
        torch.testing.assert_close(_frame_by_frame(looking, 6)(frames)[:, index], steady)
    assert _frame_by_frame(single, 6) is single


def test_atoms_are_what_the_decoder_draws_at_the_ends_of_each_dimension(violin: Dictionary) -> None:
    found = atoms(violin)
    for column, dimension in enumerate(found.dimensions):
        code = torch.zeros(16, 1)
        code[dimension] = 2.0
        torch.testing.assert_close(found.high[:, column], violin.decode(code)[:, 0])
        torch.testing.assert_close(found.low[:, column], violin.decode(-code)[:, 0])
    assert sorted(found.dimensions.tolist()) == list(range(16))


@pytest.mark.parametrize("source", SOURCES)
def test_templates_come_in_frequency_order_and_the_level_ones_last(source: str) -> None:
    found: Atoms = atoms(Dictionary.load(DATA / f"{source}.safetensors"))
    n_peaked = found.templates.shape[1] - found.n_flat
    assert 0 < n_peaked < 256
    lower, upper = found.templates.quantile(torch.tensor([0.25, 0.75]), dim=0).log10() * 20
    assert (upper - lower)[:n_peaked].min() > 2.9  # dB
    assert (upper - lower)[n_peaked:].max() < 3.1
    for sort in (found.templates[:, :n_peaked], found.templates[:, n_peaked:], found.high):
        assert (sort.argmax(dim=0).diff() >= 0).all()


def test_units_come_in_frequency_order(excited: tuple[ExcitingInputs, ...]) -> None:
    for layer in excited:
        assert (layer.shapes.argmax(dim=0).diff() >= 0).all()
        assert sorted(layer.units.tolist()) == list(range(256))


def test_silent_shapes_are_ordered_last_and_equal_ones_as_they_were() -> None:
    shapes = torch.tensor([[0.0, 0.0, 2.0, 0.0], [0.0, 1.0, 1.0, 3.0]])
    assert frequency_order(shapes).tolist() == [2, 1, 3, 0]


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_two_dimensions_bring_codes_nearer_never_farther(source: str, generator: torch.Generator) -> None:
    dictionary = Dictionary.load(DATA / f"{source}.safetensors")
    seen = manifold(dictionary)
    codes = dictionary.encode(to_bins(decode_exemplars(dictionary.exemplars), 513))
    n_frames = codes.shape[1]
    shown = torch.linspace(0, n_frames - 1, min(n_frames, 3000)).round().long()
    codes = codes[:, shown]
    one, other = (torch.randint(codes.shape[1], (5000,), generator=generator) for _ in range(2))
    apart = (codes[:, one] - codes[:, other]).norm(dim=0)
    assert ((seen.points[:, one] - seen.points[:, other]).norm(dim=0) <= apart + 1e-3).all()
    assert 1 >= seen.shares[0] >= seen.shares[1] > 0
    assert seen.level_db.max() <= 0
    assert seen.level_db.shape == seen.pitch_hz.shape == (len(shown),)


def test_no_other_plane_shows_more_of_the_variance(generator: torch.Generator) -> None:
    codes = torch.randn(6, 400, generator=generator) * torch.tensor([1.0, 3.0, 0.5, 2.0, 1.0, 0.1])[:, None] + 7
    points, shares = principal_axes(codes)
    total = codes.var(dim=1, correction=0).sum()
    torch.testing.assert_close(points.var(dim=1, correction=0) / total, torch.tensor(shares))
    torch.testing.assert_close(points.mean(dim=1), torch.zeros(2), rtol=0, atol=1e-5)
    for _ in range(50):
        plane = torch.linalg.qr(torch.randn(6, 2, generator=generator)).Q
        assert (plane.T @ codes).var(dim=1, correction=0).sum() / total <= sum(shares) + 1e-5


@pytest.mark.parametrize("shape", [(1, 50), (2, 50), (3, 1), (4, 50)])
def test_codes_of_few_numbers_and_codes_that_never_move_have_finite_places(shape: tuple[int, int]) -> None:
    for codes in (torch.ones(shape), torch.arange(float(np.prod(shape))).reshape(shape)):
        points, shares = principal_axes(codes)
        assert points.shape == (2, shape[1])
        assert points.isfinite().all()
        assert all(0 <= share <= 1 + 1e-5 for share in shares)


def heard(make: Callable[[Tensor], Tensor], dictionary: Dictionary) -> Tensor:
    """Pitches of a sound of two seconds, made from the time in seconds."""
    time_s = torch.arange(32000) / 16000
    spectra = magnitude(stft(make(time_s).float(), dictionary.card.stft))[:, 4:-4]
    return pitches(to_bands(spectra), dictionary.card)


@pytest.mark.slow
@pytest.mark.parametrize("pitch_hz", [98.0, 147.0, 220.0, 440.0, 932.0])
@pytest.mark.parametrize("falls", [0.5, 0.8])
def test_the_pitch_of_harmonics_is_their_fundamental(violin: Dictionary, pitch_hz: float, falls: float) -> None:
    found = heard(
        lambda t: sum((falls**n * torch.cos(2 * torch.pi * n * pitch_hz * t + n) for n in range(1, 9)), torch.zeros(1)),
        violin,
    )
    assert ((found - pitch_hz).abs() <= 16).all()  # a bin


def test_a_fundamental_that_is_weaker_than_its_harmonics_still_is_the_pitch(violin: Dictionary) -> None:
    strengths = [0.5, 1.0, 0.9, 0.6, 0.4, 0.2]  # a voice near its first formant
    found = heard(
        lambda t: sum((a * torch.cos(2 * torch.pi * n * 200 * t + n) for n, a in enumerate(strengths, 1)), t * 0),
        violin,
    )
    assert ((found - 200).abs() <= 16).all()


def test_noise_and_silence_have_no_pitch(violin: Dictionary, generator: torch.Generator) -> None:
    found = heard(lambda t: torch.randn(len(t), generator=generator), violin)
    assert found.isnan().float().mean() > 0.9
    assert heard(torch.zeros_like, violin).isnan().all()


def test_a_played_scale_goes_up_and_a_violin_is_pitched(violin: Dictionary) -> None:
    scale = read_audio(DATA / "solos/violin/scale.flac")
    spectra = magnitude(stft(scale.samples[0], violin.card.stft))
    loud = spectra.mean(dim=0) > 0.1 * spectra.mean(dim=0).max()
    found = pitches(to_bands(spectra[:, loud]), violin.card)
    pitched = found[~found.isnan()]
    assert len(pitched) > 0.9 * len(found)
    assert ((pitched >= PITCH_RANGE_HZ[0]) & (pitched <= PITCH_RANGE_HZ[1])).all()
    assert (pitched > 180).float().mean() > 0.95  # a violin's lowest string is 196 Hz


def test_a_dictionary_too_deep_for_any_pitch_has_none(violin: Dictionary) -> None:
    card = replace(violin.card, sample_rate=100)
    assert pitches(torch.rand(194, 5), card).isnan().all()


def test_fewer_steps_than_none_are_refused(violin: Dictionary) -> None:
    with pytest.raises(ConfigError, match="n_steps is -1; expected 0 or more"):
        exciting_inputs(violin, n_steps=-1)
