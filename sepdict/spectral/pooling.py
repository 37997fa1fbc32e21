"""Pooling of frames into a few columns of time, for pictures and records."""

import torch
from torch import Tensor


class Columns:
    """Sums and means of frames in equal columns of time; frames may be added in any order.

    Parameters
    ----------
    duration_s : float
        Duration of all columns together, in seconds.
    n_columns : int

    Examples
    --------
    >>> columns = Columns(2.0, 2)
    >>> columns.add(torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]), torch.tensor([[1.0, 3.0, 5.0, 5.0, 5.0]]))
    >>> columns.means(), columns.sums
    (tensor([[2., 5.]], dtype=torch.float64), tensor([[ 4., 15.]], dtype=torch.float64))
    """

    def __init__(self, duration_s: float, n_columns: int) -> None:
        self.duration_s, self.n_columns = duration_s, n_columns
        self.sums = torch.zeros(0, n_columns, dtype=torch.float64)
        self.counts = torch.zeros(n_columns, dtype=torch.float64)

    @property
    def step_s(self) -> float:
        """Duration of a column, in seconds."""
        return self.duration_s / self.n_columns

    def add(self, times_s: Tensor, values: Tensor) -> None:
        """Add values (n_values, n_frames) of frames at times (n_frames,); frames outside count at the edges."""
        index = (times_s.double() / self.step_s).long().clamp(0, self.n_columns - 1)
        if not len(self.sums):
            self.sums = self.sums.new_zeros(len(values), self.n_columns)
        self.sums.index_add_(1, index, values.double().cpu())
        self.counts += torch.bincount(index, minlength=self.n_columns)

    def means(self) -> Tensor:
        """Return the mean of every column, shape (n_values, n_columns); an empty column repeats the one before."""
        filled = torch.where(self.counts > 0, torch.arange(self.n_columns), 0).cummax(dim=0).values
        return (self.sums / self.counts.clamp(min=1))[:, filled]
