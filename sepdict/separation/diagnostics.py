"""The course of a separation over time, coarse enough to be kept for hours of sound."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepdict.separation.excitations import ExcitationFit
from sepdict.spectral.pooling import Columns

N_COLUMNS = 3000  # at most: more than a screen is wide; of three hours a column lasts four seconds


@dataclass(frozen=True, eq=False)
class Frames:
    """The result of a fit in every frame of one segment.

    Attributes
    ----------
    energy, error : Tensor, shape (n_frames,), >= 0
        Energy of the mixture's magnitudes, and of the difference between them and the dictionaries' sum.
    gains : Tensor, shape (n_sources, n_frames), >= 0
        The mean magnitude of each source, averaged over the channels.
    excitations : tuple of Tensor, each of shape (code_size, n_frames), one per source
    """

    energy: Tensor
    error: Tensor
    gains: Tensor
    excitations: tuple[Tensor, ...]

    @classmethod
    def of(
        cls, fit: ExcitationFit, observed: Tensor, explained: Tensor, *, n_sources: int, scale: float = 1.0
    ) -> "Frames":
        """Summarize a fit of the first ``n_sources`` to magnitudes (n_channels, n_bins, n_frames), times a scale."""
        return cls(
            energy=scale**2 * observed.double().square().sum(dim=(0, 1)).cpu(),
            error=scale**2 * (observed - explained).double().square().sum(dim=(0, 1)).cpu(),
            gains=scale * fit.gains[:n_sources].mean(dim=1).cpu().double(),
            excitations=tuple(code.cpu() for code in fit.excitations[:n_sources]),
        )


@dataclass(frozen=True, eq=False)
class Timeline:
    """The course of a separation over time, in columns of equal length.

    Attributes
    ----------
    step_s : float
        Length of a column, in seconds.
    energy, error : Tensor, shape (n_columns,), >= 0
        As in `Frames`, summed.
    gains : Tensor, shape (n_sources, n_columns), >= 0
        As in `Frames`, averaged.
    excitations : tuple of Tensor, each of shape (code_size, n_columns), one per source
        As in `Frames`, averaged.
    """

    step_s: float
    energy: Tensor
    error: Tensor
    gains: Tensor
    excitations: tuple[Tensor, ...]

    def __repr__(self) -> str:
        """Summarize the timeline in one line, instead of thousands of numbers."""
        return (
            f"Timeline({len(self.gains)} sources, {len(self.energy)} columns of {self.step_s:.4g} s, "
            f"explained_energy={self.explained_energy:.3f})"
        )

    @property
    def explained_energy(self) -> float:
        """Share of all energy that the dictionaries account for, 0 to 1; nan for silence."""
        energy, error = float(self.energy.sum()), float(self.error.sum())
        return max(0.0, 1 - error / energy) if energy > 0 else math.nan

    def explained(self, step_s: float) -> tuple[float, Tensor]:
        """Return the share of energy that the dictionaries account for over time.

        Parameters
        ----------
        step_s : float
            The wanted length of a step, in seconds.

        Returns
        -------
        float
            The length of a step: a whole number of columns, in seconds.
        Tensor, shape (n_steps,), 0 to 1, nan where the mixture is silent
        """
        n_joined = max(1, round(step_s / self.step_s))
        missing = -len(self.energy) % n_joined
        energy, error = (
            torch.nn.functional.pad(values, (0, missing)).unflatten(0, (-1, n_joined)).sum(dim=1)
            for values in (self.energy, self.error)
        )
        return n_joined * self.step_s, torch.where(energy > 0, 1 - error / energy, torch.nan).clamp(min=0)


class TimelineRecorder:
    """Collects a timeline segment by segment.

    Parameters
    ----------
    duration_s : float
        Length of the whole mixture, in seconds.
    hop_s : float
        Time from one frame to the next, in seconds; no column is shorter.

    Examples
    --------
    >>> recorder = TimelineRecorder(1.0, 0.25)
    >>> recorder.add(0.0, Frames(torch.ones(5), torch.full((5,), 0.1), torch.ones(1, 5), (torch.zeros(3, 5),)))
    >>> timeline = recorder.timeline()
    >>> round(timeline.explained_energy, 3), timeline.excitations[0].shape
    (0.9, torch.Size([3, 4]))
    """

    def __init__(self, duration_s: float, hop_s: float) -> None:
        self.hop_s = hop_s
        self.columns = Columns(duration_s, min(N_COLUMNS, max(1, int(duration_s / hop_s))))
        self.sizes: Sequence[int] = ()

    def add(self, start_s: float, frames: Frames) -> None:
        """Add the frames of a segment that starts at ``start_s``."""
        parts = [frames.energy[None], frames.error[None], frames.gains, *frames.excitations]
        self.sizes = [len(part) for part in parts]
        times_s = start_s + self.hop_s * torch.arange(len(frames.energy))
        self.columns.add(times_s, torch.cat([part.double() for part in parts]))

    def timeline(self) -> Timeline:
        """Return the timeline of all segments added so far."""
        energy, error = self.columns.sums[:2]
        _, _, gains, *excitations = self.columns.means().split(list(self.sizes))
        return Timeline(self.columns.step_s, energy, error, gains, tuple(excitations))
