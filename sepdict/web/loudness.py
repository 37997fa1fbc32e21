"""The loudness of the tracks of a separation and of any sums of them, for the player, which never has them whole."""

from collections.abc import Callable

import torch
from torch import Tensor

AT_ONCE = 2**16  # samples, so that little is copied


class Products:
    """Inner products of the mixture and its stems, which give the loudness of all sums of them.

    The power of a sum with the levels ``w`` is ``w @ values @ w``.

    Attributes
    ----------
    values : Tensor, shape (1 + n_stems, 1 + n_stems), float64
        First the mixture, which is the sum of all stems.
    """

    def __init__(self, n_stems: int) -> None:
        self.values = torch.zeros(1 + n_stems, 1 + n_stems, dtype=torch.float64)

    def listening(self, write: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
        """Pass blocks of stems, shape (n_stems, n_channels, n_samples), on, and add their products."""

        def listen_and_write(stems: Tensor) -> None:
            for some in stems.split(AT_ONCE, dim=2):
                parts = some.flatten(1).double()  # (n_stems, n_channels * n_samples)
                tracks = torch.cat([parts.sum(0, keepdim=True), parts])
                self.values += (tracks @ tracks.T).cpu()
            write(stems)

        return listen_and_write
