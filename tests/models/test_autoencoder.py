"""Networks: what goes in, what comes out, and how many frames each output has seen."""

from typing import Any

import pytest
import torch
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict.errors import ConfigError
from sepdict.models.autoencoder import AUTOENCODERS, FAINTEST_PARTIAL, Autoencoder, build_autoencoder
from sepdict.models.layers import ACTIVATIONS, Stack, initialize
from sepdict.models.network_config import KINDS as NETWORK_KINDS
from sepdict.models.network_config import MAX_LAYERS, MAX_WIDTH, NetworkConfig
from sepdict.spectral.bands import band_sums

N_BINS, N_FRAMES, CODE_SIZE = 33, 40, 5
DENSE = {"kind": "dense"}
CONVOLUTIONAL = [{"kind": "convolutional", "kernel_size": size} for size in (3, 5, 9)]
SHALLOW = [
    {"kind": "nonnegative", "hidden": (), "n_templates": CODE_SIZE, "activation": "softplus"},
    {"kind": "linear", "hidden": (), "n_templates": 0},
]
LOCAL = [DENSE, {"kind": "dense", "n_templates": 0}, *CONVOLUTIONAL, *SHALLOW]  # that see so many frames and no more
RECURRENT = [{"kind": "recurrent", "cell": cell} for cell in ("gru", "lstm")]
KINDS = [*LOCAL, *RECURRENT]


def network_of(n_bins: int = N_BINS, *, seed: int = 0, **settings: Any) -> Autoencoder:
    """A small network with drawn weights, in float64 so that "unchanged" can be told from "hardly changed"."""
    settings = {"code_size": CODE_SIZE, "hidden": (12, 16), "activation": "tanh"} | settings
    network = build_autoencoder(NetworkConfig(**settings), n_bins)
    initialize(network, seeded_generator(seed))
    return network.double().requires_grad_(False)


def codes(generator: torch.Generator, *batch: int) -> Tensor:
    return torch.randn(*batch, CODE_SIZE, N_FRAMES, generator=generator, dtype=torch.float64)


def shapes(generator: torch.Generator, *batch: int) -> Tensor:
    """Spectral shapes: positive, averaging one over the bins."""
    drawn = torch.rand(*batch, N_BINS, N_FRAMES, generator=generator, dtype=torch.float64)
    return drawn / drawn.mean(dim=-2, keepdim=True)


def frames_that_differ(one: Tensor, other: Tensor) -> list[int]:
    return [int(frame) for frame in (one != other).any(dim=-2).nonzero()]


# --- shapes


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_codes_and_shapes_have_the_documented_axes(
    generator: torch.Generator, kind: dict[str, Any], activation: str, batch: tuple[int, ...]
) -> None:
    network = network_of(**{"activation": activation} | kind)
    assert network.encode(shapes(generator, *batch)).shape == (*batch, CODE_SIZE, N_FRAMES)
    assert network.decode(codes(generator, *batch)).shape == (*batch, N_BINS, N_FRAMES)


@pytest.mark.parametrize("kind", [DENSE, *CONVOLUTIONAL, *RECURRENT], ids=str)
@pytest.mark.parametrize("hidden", [(3,), (1,), (7, 8, 9, 10)])
def test_any_number_of_hidden_layers_works(
    generator: torch.Generator, kind: dict[str, Any], hidden: tuple[int, ...]
) -> None:
    network = network_of(hidden=hidden, **kind)
    assert network.decode(network.encode(shapes(generator))).shape == (N_BINS, N_FRAMES)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_frame_is_enough(generator: torch.Generator, kind: dict[str, Any]) -> None:
    network = network_of(**kind)
    code = network.encode(shapes(generator)[:, :1])
    assert code.shape == (CODE_SIZE, 1)
    assert network.decode(code).shape == (N_BINS, 1)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_items_of_a_batch_do_not_know_of_each_other(generator: torch.Generator, kind: dict[str, Any]) -> None:
    network, code, shape = network_of(**kind), codes(generator, 3), shapes(generator, 3)
    torch.testing.assert_close(network.decode(code)[1], network.decode(code[1]))
    torch.testing.assert_close(network.encode(shape)[1], network.encode(shape[1]))


# --- spectral shapes


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loudness", [0.0, 1.0, 30.0])
def test_decoded_shapes_are_positive_and_average_one(
    generator: torch.Generator, kind: dict[str, Any], activation: str, loudness: float
) -> None:
    drawn = network_of(**{"activation": activation} | kind).decode(loudness * codes(generator, 2))
    assert (drawn > 0).all()
    torch.testing.assert_close(drawn.mean(dim=-2), torch.ones(2, N_FRAMES, dtype=torch.float64))


@pytest.mark.parametrize("n_fitted_bins", [None, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_in_bands_draws_the_sums_of_what_the_decoder_draws(
    generator: torch.Generator, kind: dict[str, Any], n_fitted_bins: int | None
) -> None:
    network, code = network_of(300, **kind), codes(generator, 2)
    summed = band_sums(network.decode(code)[:, :n_fitted_bins], 1.01)
    torch.testing.assert_close(network.band_decoder(n_fitted_bins, 1.01)(code), summed)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_silent_frame_is_encoded_without_nan(kind: dict[str, Any]) -> None:
    assert network_of(**kind).encode(torch.zeros(N_BINS, N_FRAMES, dtype=torch.float64)).isfinite().all()


# --- how far a network sees


def test_dense_networks_treat_frames_independently(generator: torch.Generator) -> None:
    network, code, shape = network_of(**DENSE), codes(generator), shapes(generator)
    order = torch.randperm(N_FRAMES, generator=generator)
    torch.testing.assert_close(network.decode(code[:, order]), network.decode(code)[:, order])
    torch.testing.assert_close(network.encode(shape[:, order]), network.encode(shape)[:, order])


@pytest.mark.parametrize("kind", LOCAL, ids=str)
@pytest.mark.parametrize("frame", [0, 1, 20, N_FRAMES - 1])
def test_a_code_reaches_exactly_the_frames_around_it(
    generator: torch.Generator, kind: dict[str, Any], frame: int
) -> None:
    network, code = network_of(**kind), codes(generator)
    moved = code.clone()
    moved[:, frame] += 1
    reach = kind.get("kernel_size", 1) // 2
    reached = range(max(0, frame - reach), min(N_FRAMES, frame + reach + 1))
    assert frames_that_differ(network.decode(code), network.decode(moved)) == list(reached)


@pytest.mark.parametrize("kind", LOCAL, ids=str)
def test_a_frame_reaches_exactly_the_codes_around_it(generator: torch.Generator, kind: dict[str, Any]) -> None:
    network, shape = network_of(**kind), shapes(generator)
    moved = shape.clone()
    moved[:, 20] = moved[:, 20].flip(0)
    reach = kind.get("kernel_size", 1) // 2
    assert frames_that_differ(network.encode(shape), network.encode(moved)) == list(range(20 - reach, 21 + reach))


@pytest.mark.parametrize("kind", LOCAL, ids=str)
def test_drawing_later_is_drawing_the_same_later(generator: torch.Generator, kind: dict[str, Any]) -> None:
    network, code = network_of(**kind), codes(generator)
    inner = slice(kind.get("kernel_size", 1), -kind.get("kernel_size", 1))  # where the ends are not seen
    later = network.decode(code.roll(1, dims=-1))[:, 1:]
    torch.testing.assert_close(later[:, inner], network.decode(code)[:, :-1][:, inner])


@pytest.mark.parametrize("kind", RECURRENT, ids=str)
def test_a_recurrent_network_remembers_the_past_and_does_not_know_the_future(
    generator: torch.Generator, kind: dict[str, Any]
) -> None:
    network, code, shape = network_of(**kind), codes(generator), shapes(generator)
    moved_code, moved_shape = code.clone(), shape.clone()
    moved_code[:, 20] += 1
    moved_shape[:, 20] = moved_shape[:, 20].flip(0)
    assert frames_that_differ(network.decode(code), network.decode(moved_code)) == list(range(20, N_FRAMES))
    assert frames_that_differ(network.encode(shape), network.encode(moved_shape)) == list(range(20, N_FRAMES))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_reach_every_weight_and_the_code(generator: torch.Generator, kind: dict[str, Any]) -> None:
    network, shape = network_of(**kind).requires_grad_(True), shapes(generator)
    code = network.encode(shape)
    gradients = torch.autograd.grad((network.decode(code) - shape).square().sum(), [code, *network.parameters()])
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients)


# --- weights


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(kind: dict[str, Any]) -> None:
    first, again, other = (network_of(seed=seed, **kind).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith("weight"))


@pytest.mark.parametrize("kind", [DENSE, *CONVOLUTIONAL], ids=str)
def test_initial_weights_have_hes_scale(kind: dict[str, Any]) -> None:
    for name, weight in network_of(513, hidden=(256, 256), code_size=64, **kind).state_dict().items():
        if "bias" in name or name == "code_mean":
            assert not weight.any()
        elif name != "code_deviation":
            # the deviation of n draws is known to 1 / sqrt(2 n): below 1% for the smallest layer, 64 x 256
            assert float(weight.std()) == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.03)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_standardizing_codes_changes_no_drawing(generator: torch.Generator, kind: dict[str, Any]) -> None:
    network, shape = network_of(**kind), shapes(generator)
    list(network.encoder.parameters())[-1].add_(3.0)  # codes far from mean zero
    before = network.decode(network.encode(shape))
    for _ in range(2):
        network.standardize_codes(network.encode(shape))
        torch.testing.assert_close(network.decode(network.encode(shape)), before)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_standardized_codes_have_mean_zero_and_deviation_one(generator: torch.Generator, kind: dict[str, Any]) -> None:
    network, shape = network_of(**kind), shapes(generator)
    network.standardize_codes(network.encode(shape))
    code = network.encode(shape)
    torch.testing.assert_close(code.mean(dim=1), torch.zeros(CODE_SIZE).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(code.std(dim=1, correction=0), torch.ones(CODE_SIZE).double())


# --- kinds


def test_every_kind_has_a_class_of_its_own() -> None:
    assert tuple(AUTOENCODERS) == NETWORK_KINDS
    assert len(set(AUTOENCODERS.values())) == len(AUTOENCODERS)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_weights_have_the_names_that_dictionary_files_have(kind: dict[str, Any]) -> None:
    network = network_of(**{"n_templates": 7, "hidden": (12,), "prior_weight": 1.0, "critic": (4,)} | kind)
    stack = ["cells.0.weight_ih_l0", "last.weight"] if kind["kind"] == "recurrent" else ["layers.0.weight"]
    expected = {f"encoder.{name}" for name in stack} | {"critic.layers.1.bias", "code_mean", "code_deviation"}
    expected |= {f"decoder.{name}" for name in stack if kind not in SHALLOW}
    expected |= {"decoder_bias"} if kind["kind"] == "linear" else set()
    expected |= {"templates"} if network.config.n_templates else set()
    assert expected <= network.state_dict().keys()


# --- settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "recurrent?"}, "network kind is 'recurrent\\?'; expected one of dense"),
        ({"kind": ""}, "network kind is ''"),
        ({"activation": "gelu?"}, "activation is 'gelu\\?'; expected one of relu"),
        ({"kind": "nonnegative", "hidden": (), "n_templates": 16, "activation": "tanh"}, "'tanh'; .* needs relu"),
        ({"kind": "nonnegative", "hidden": ()}, "n_templates is 256; expected 16"),
        ({"kind": "linear", "hidden": ()}, "n_templates is 256; expected 0"),
        ({"kind": "linear"}, "linear networks have no hidden layers"),
        ({"kind": "recurrent", "hidden": ()}, "expected one or more"),
        ({"kind": "recurrent", "cell": "elman"}, "cell is 'elman'; expected one of gru, lstm"),
        ({"prior_weight": -1.0}, "prior_weight is -1.0"),
        ({"critic": (0,)}, "0"),
        ({"code_size": 0}, "0"),
        ({"code_size": -1}, "-1"),
        ({"code_size": MAX_WIDTH + 1}, str(MAX_WIDTH + 1)),
        ({"hidden": (8, 0)}, "0"),
        ({"hidden": (MAX_WIDTH + 1,)}, str(MAX_WIDTH + 1)),
        ({"hidden": (8,) * MAX_LAYERS}, f"{MAX_LAYERS} hidden layers"),
        ({"n_templates": -1}, "n_templates is -1"),
        ({"n_templates": MAX_WIDTH + 1}, str(MAX_WIDTH + 1)),
        ({"kind": "dense", "kernel_size": 3}, "kernel_size is 3; dense networks see 1 frame"),
        ({"kind": "convolutional", "kernel_size": 1}, "kernel_size is 1"),
        ({"kind": "convolutional", "kernel_size": 4}, "kernel_size is 4"),
        ({"kind": "convolutional", "kernel_size": -3}, "kernel_size is -3"),
        ({"kind": "convolutional", "kernel_size": 65}, "kernel_size is 65"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        NetworkConfig(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"code_size": 4.0},
        {"code_size": "4"},
        {"hidden": (8.0,)},
        {"n_templates": 8.0},
        {"kind": "convolutional", "kernel_size": 3.0},
    ],
    ids=str,
)
def test_settings_of_the_wrong_type_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        NetworkConfig(**settings)


# --- templates


def test_templates_begin_as_shapes_that_were_heard(generator: torch.Generator) -> None:
    network, heard = network_of(n_templates=7), shapes(generator).T  # (n_frames, n_bins)
    weights = torch.ones(N_FRAMES)
    weights[:30] = 0
    network.start_from(heard, weights, generator)
    certain = torch.zeros_like(network.decoder.layers[-1].bias)
    for template in range(7):
        network.decoder.layers[-1].bias.copy_(certain)
        network.decoder.layers[-1].bias[template] = 1e6
        alone = network.decode(codes(generator))[:, 0]
        assert (alone - heard[30:]).abs().mean(dim=1).min() < 2 * FAINTEST_PARTIAL
        assert (alone - heard[:30]).abs().mean(dim=1).min() > 0.1


def test_what_no_template_has_is_never_drawn(generator: torch.Generator) -> None:
    network = network_of(n_templates=7)
    network.templates[10:] = -100.0
    drawn = network.decode(10 * codes(generator))
    assert drawn[10:].max() < 1e-12
    assert drawn[:10].min() > 0


def test_a_network_without_templates_begins_from_nothing(generator: torch.Generator) -> None:
    network = network_of(n_templates=0)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    network.start_from(shapes(generator).T, torch.ones(N_FRAMES), generator)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


def test_a_stacks_activities_are_what_its_last_layer_is_given_before_the_activation(generator: torch.Generator) -> None:
    stack = Stack((6, 5, 4, 3), (1, 1, 3), "tanh")
    initialize(stack, generator)
    features = torch.randn(2, 6, 9, generator=generator)
    first, last = stack.activities(features)
    assert (first.shape, last.shape) == ((2, 5, 9), (2, 4, 9))
    assert torch.equal(first, stack.layers[0](features))
    assert torch.equal(stack.layers[2](torch.tanh(last)), stack(features))
    assert Stack((6, 3), (1,), "relu").activities(features) == []


# --- settings that were chosen by measuring: what each was chosen for


def test_templates_can_move_as_far_as_they_must_in_a_hundred_steps_and_do_not_jump() -> None:
    """Adam moves every parameter by its rate, here 1e-3, or less: from -40 dB to the mean and not far beyond."""
    network = build_autoencoder(NetworkConfig(code_size=1, hidden=(), n_templates=1), N_BINS)
    network.set_templates(torch.cat([torch.full((N_BINS - 1, 1), 0.0), torch.full((1, 1), float(N_BINS))]))
    assert network.templates is not None
    before = network.template_shapes().log()
    with torch.no_grad():
        network.templates[0] += 300 * 1e-3
    moved = float((network.template_shapes().log() - before)[0].detach())
    assert 3 < moved < 6  # nepers: 26 to 52 dB within a tenth of a usual training's 3000 steps


def test_templates_begin_40_db_below_the_mean_where_a_frame_has_nothing() -> None:
    network = build_autoencoder(NetworkConfig(code_size=1, hidden=(), n_templates=1), N_BINS)
    network.set_templates(torch.cat([torch.zeros(N_BINS - 1, 1), torch.full((1, 1), float(N_BINS))]))
    assert -44 < 20 * float(network.template_shapes()[0].log10().detach()) < -36


def test_a_linear_network_bends_only_what_is_near_zero_and_below() -> None:
    drawn = torch.tensor([-0.5, -0.02, 0.0, 0.2, 1.0, 5.0])[:, None]
    linear = build_autoencoder(NetworkConfig(kind="linear", code_size=1, hidden=(), n_templates=0), len(drawn))
    for parameter in linear.requires_grad_(False).parameters():
        parameter.zero_()
    linear.decoder_bias.copy_(drawn)  # type: ignore[operator]
    shape = linear.decode(torch.zeros(1, 1))
    assert (shape > 0).all()
    assert (shape.diff(dim=0) > 0).all()
    relative = shape / shape[-1] * 5
    torch.testing.assert_close(relative[-3:], drawn[-3:], rtol=0.01, atol=0)  # what is loud enough stays as it is
    assert -46 < 20 * float(relative[2].log10()) < -34  # and nothing becomes soft, but not so soft that slopes vanish
