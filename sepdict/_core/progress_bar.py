"""A progress bar to give to any function of the library: ``separate(..., on_progress=sepdict.progress_bar)``.

The bar is tqdm's: a line on a terminal, a widget in a notebook, and nothing where the output goes to a pipe or a file.
"""

from typing import Any

from sepdict.progress import PHASES, Progress


class ProgressBar:
    """A bar for each stage of a task in turn, which leaves the screen when the stage or the task has ended.

    Examples
    --------
    >>> from sepdict.progress import Progress
    >>> bar = ProgressBar()
    >>> bar(Progress("fit", 1, 200, 0.5))
    >>> bar.close()
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._last = Progress("", 0, 0, 0.0)

    def __repr__(self) -> str:
        return "progress_bar"

    def __call__(self, progress: Progress) -> None:
        """Show one step."""
        if self._bar is None or progress.stage != self._last.stage or progress.step < self._last.step:
            self._begin(progress)
        self._bar.update(progress.step - self._last.step)
        self._last = progress

    def _begin(self, progress: Progress) -> None:
        """Show a new bar in the place of the one before."""
        from tqdm.auto import tqdm  # loads slowly in notebooks, and most programs show no bar

        self.close()
        self._bar = tqdm(desc=PHASES[progress.stage], total=progress.n_steps, leave=False, disable=None)
        self._last = Progress(progress.stage, 0, progress.n_steps, progress.divergence)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


progress_bar = ProgressBar()
"""Shows how far a task is: ``separate("mix.wav", ["violin", "piano"], on_progress=progress_bar)``."""
