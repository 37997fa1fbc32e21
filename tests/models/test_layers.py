"""Layers: what dropout leaves, what recurrent layers remember, and how both begin."""

import pytest
import torch

from sepdict._core.devices import seeded_generator
from sepdict.models.layers import CELLS, RecurrentStack, Stack, initialize


def stack_of(*widths: int, activation: str = "relu", seed: int = 0) -> Stack:
    stack = Stack(widths, (1,) * (len(widths) - 1), activation)
    initialize(stack, seeded_generator(seed))
    return stack


@pytest.mark.parametrize("dropout", [0.2, 0.7])
def test_dropout_leaves_the_mean_of_what_a_layer_says(dropout: float, generator: torch.Generator) -> None:
    """Where what follows the dropped units is affine, as in a stack of one hidden layer."""
    stack, features = stack_of(9, 40, 3), torch.randn(9, 5, generator=generator)
    whole = stack.eval()(features)
    stack.dropout.p = dropout
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        draws = torch.stack([stack.train()(features) for _ in range(4000)])
    error = draws.std(dim=0) / 4000**0.5
    assert ((draws.mean(dim=0) - whole).abs() < 5 * error).all()
    assert float(error.min()) > 0
    assert torch.equal(stack.eval()(features), whole)


@pytest.mark.parametrize("make", [lambda: stack_of(9, 8, 3), lambda: RecurrentStack((9, 8, 3), "gru")])
def test_all_hidden_units_may_be_dropped_and_nothing_else(make: object) -> None:
    """With (nearly) all of them dropped only the last bias is said."""
    stack = make()  # type: ignore[operator]
    initialize(stack, seeded_generator(0))
    last = stack.last if isinstance(stack, RecurrentStack) else stack.layers[-1]
    last.bias.data += torch.arange(3.0)[:, None]
    stack.dropout.p = 1.0
    said = stack.train()(torch.ones(9, 4))
    torch.testing.assert_close(said, torch.arange(3.0)[:, None].expand(3, 4))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_activities_are_what_excites_the_hidden_units(activation: str, generator: torch.Generator) -> None:
    stack, features = stack_of(9, 8, 7, 3, activation=activation), torch.randn(9, 5, generator=generator)
    activities = stack.activities(features)
    assert [len(each) for each in activities] == [8, 7]
    torch.testing.assert_close(stack.layers[-1](stack.activation(activities[-1])), stack(features))


@pytest.mark.parametrize("cell", CELLS)
def test_every_item_of_a_batch_begins_without_memory(cell: str, generator: torch.Generator) -> None:
    """Neither of the item before it nor of what was heard before."""
    stack = RecurrentStack((5, 6, 4, 3), cell)
    initialize(stack, seeded_generator(0))
    pieces = torch.randn(3, 2, 5, 12, generator=generator)  # (..., n_in, n_frames)
    together = stack(pieces)
    assert together.shape == (3, 2, 3, 12)
    for index in [(0, 0), (1, 1), (2, 0)]:
        torch.testing.assert_close(together[index], stack(pieces[index]))
    torch.testing.assert_close(stack(pieces.flip(0)), together.flip(0))


@pytest.mark.parametrize("cell", CELLS)
def test_a_recurrent_stack_hears_frame_after_frame_as_torchs_does(cell: str, generator: torch.Generator) -> None:
    stack = RecurrentStack((5, 6, 3), cell)
    initialize(stack, seeded_generator(0))
    features = torch.randn(5, 12, generator=generator)
    heard, _ = stack.cells[0](features.T)  # unbatched: (n_frames, n_in)
    torch.testing.assert_close(stack.activities(features)[0], heard.T)
    torch.testing.assert_close(stack(features), stack.last(heard.T))


@pytest.mark.parametrize("cell", CELLS)
def test_what_a_recurrent_stack_heard_once_dies_away(cell: str) -> None:
    """A click, and then nothing: no loop rings on."""
    stack = RecurrentStack((5, 64, 64, 3), cell)
    initialize(stack, seeded_generator(0))
    features = torch.zeros(5, 400)
    features[:, 0] = 10
    said = stack(features).detach().abs().amax(dim=0)
    assert float(said[-1]) < 1e-3 * float(said.max())


@pytest.mark.parametrize("cell", CELLS)
def test_making_a_recurrent_stack_draws_no_random_number(cell: str) -> None:
    before = torch.get_rng_state()
    stack = RecurrentStack((5, 6, 3), cell)
    assert torch.equal(torch.get_rng_state(), before)
    assert {weight.device.type for weight in stack.parameters()} == {"cpu"}
    with torch.device("meta"):
        assert all(weight.is_meta for weight in RecurrentStack((5, 6, 3), cell).parameters())
