"""The bar that any long-running function can be given: seen on a terminal, silent in a pipe, gone at the end."""

import contextlib
import io

import pytest
from front_end import TINY, sound

from sepdict import Progress, progress_bar, train_dictionary
from sepdict._core.progress_bar import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def cleared(terminal: Terminal) -> bool:
    """Whether the last thing that was written to a line is blanks."""
    *_, last, end = terminal.getvalue().split("\r")
    return not last.strip() and not end


def test_a_training_shows_a_bar_on_a_terminal_and_clears_it_at_the_end() -> None:
    with contextlib.redirect_stderr(Terminal()) as terminal:
        train_dictionary(sound(n_samples=16000), TINY, source="hiss", on_progress=progress_bar)
    assert "learning" in terminal.getvalue()
    assert cleared(terminal)


def test_a_task_that_fails_clears_its_bar_too() -> None:
    class Failing(ProgressBar):
        def __call__(self, progress: Progress) -> None:
            super().__call__(progress)
            raise KeyError

    with contextlib.redirect_stderr(Terminal()) as terminal, pytest.raises(KeyError):
        train_dictionary(sound(n_samples=16000), TINY, source="hiss", on_progress=Failing())
    assert "learning" in terminal.getvalue()
    assert cleared(terminal)


def test_each_stage_gets_a_bar_of_its_own() -> None:
    with contextlib.redirect_stderr(Terminal()) as terminal:
        for step in range(1, 4):
            progress_bar(Progress("fit", step, 200, 0.5))
        progress_bar(Progress("adapt", 100, 100, 0.5))
        progress_bar.close()
    assert "finding the sources" in terminal.getvalue()
    assert "adapting to the mixture:   0%|          | 0/100" in terminal.getvalue()
    assert cleared(terminal)


def test_a_pipe_gets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    train_dictionary(sound(n_samples=16000), TINY, source="hiss", on_progress=progress_bar)
    assert capsys.readouterr() == ("", "")
