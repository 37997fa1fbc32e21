"""How loud sums of tracks are, found while stems are written."""

import pytest
import torch

from sepdict._core.devices import seeded_generator
from sepdict.web.loudness import AT_ONCE, Products


def test_products_give_the_power_of_every_sum_of_tracks() -> None:
    stems = torch.randn(3, 2, AT_ONCE + 5000, generator=seeded_generator(0), dtype=torch.float64)
    products, written = Products(len(stems)), list[torch.Tensor]()
    write = products.listening(written.append)
    for block in stems.float().split(AT_ONCE + 100, dim=2):
        write(block)
    torch.testing.assert_close(torch.cat(written, dim=2), stems.float())  # they are passed on as they are
    tracks = torch.cat([stems.sum(0, keepdim=True), stems])
    for levels in ([0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 2, 0], [0, 0.5, 0, 4], [1, -1, -1, -1]):
        weights = torch.tensor(levels, dtype=torch.float64)
        power = float(torch.einsum("t,tcn->cn", weights, tracks).square().sum())
        assert float(weights @ products.values @ weights) == pytest.approx(power, rel=1e-6, abs=1e-3)
