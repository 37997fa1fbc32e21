"""Output to the user: results on stdout; progress, notes and errors on stderr."""

import contextlib
import functools
import io
import logging
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec

import typer

if TYPE_CHECKING:
    from sepdict.progress import Plan, Progress

Parameters = ParamSpec("Parameters")
FAILED = 1
PARTLY_DONE = 3
INTERRUPTED = 130  # what a shell reports for a program ended by Ctrl-C
TERMINATED = 143  # and for one that was told to end
SELDOM_S = 30.0  # between two lines of progress in a pipe
PACE_KNOWN_S = 30.0  # after the start


def say(text: str, *, end: str = "\n") -> None:
    """Print a result; control characters become escapes."""
    print(shown(text), end=end)


def _cell(text: str) -> str:
    """Return a table's cell in one line."""
    return shown(text).replace("\n", "\\n")


def shown(text: str) -> str:
    """Replace control characters in text from files by escapes; keep line ends."""
    if text.replace("\n", "").isprintable():  # such as help, which must load nothing
        return text
    from sepdict._core.names import visible

    return visible(text, lines=True)


def note(text: str) -> None:
    """Print a note to stderr, so that stdout holds results only."""
    try:
        print(shown(text), file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError:  # a log on a full disk must not end a separation of hours
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def report_error(text: str) -> None:
    """Print an error in exactly one line."""
    note("sepdict: " + " ".join(shown(text).split()))


def one_line_errors(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Make a command report an error in one line and exit with 1; with 130 after Ctrl-C.

    Its parameters ``verbose`` and ``quiet``, if it has them, choose how much of the log is shown.
    """

    @functools.wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        verbose = bool(kwargs.get("verbose"))
        if isinstance(sys.stdout, io.TextIOWrapper):  # file names need not be valid Unicode
            sys.stdout.reconfigure(errors="surrogateescape")
        try:
            with _termination_heard(), _log_shown(verbose=verbose, quiet=bool(kwargs.get("quiet"))):
                command(*args, **kwargs)
        except (typer.Exit, typer.BadParameter, BrokenPipeError):
            raise
        except KeyboardInterrupt as interruption:
            terminated = isinstance(interruption, _Terminated)
            report_error("terminated" if terminated else "interrupted")
            raise typer.Exit(TERMINATED if terminated else INTERRUPTED) from None
        except Exception as error:
            if verbose:
                note(traceback.format_exc())
            report_error(explain(error))
            raise typer.Exit(1) from None

    return run


def report_failures(n_failed: int, n_files: int, *, stops: bool = False) -> None:
    """Exit with 1 if all files failed and with 3 if some did, after a summary where there were several files.

    With ``stops``, a single failure ended the whole command, so that nothing is partly done.
    """
    if n_failed and n_files > 1:
        report_error(f"{n_failed} of {n_files} files failed")
    if n_failed:
        raise typer.Exit(FAILED if stops or n_failed == n_files else PARTLY_DONE)


class NothingFoundError(typer.Exit):
    """Ends a command, for arguments stand for no recordings; ``errors`` says of each why."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(FAILED)
        self.errors = errors


def find_audio(
    arguments: Sequence[str], *, find: Callable[[str], Any] | None = None, option: str | None = None
) -> dict[str, Any]:
    """Expand files, folders and patterns; report every argument without a recording, and exit if there is one.

    A mistyped command must do nothing. Errors inside recordings show later, and fail only these.

    Parameters
    ----------
    arguments : sequence of str
    find : callable, optional
        Called with an argument; by default `find_audio_files`.
    option : str, optional
        The option of dictionaries, to suggest it where it may have been forgotten before an argument.

    Returns
    -------
    mapping of str to what ``find`` returned
    """
    from sepdict.audio.discovery import find_audio_files
    from sepdict.dictionaries.library import EXTENSION
    from sepdict.errors import AudioFileError

    found: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for argument in dict.fromkeys(arguments):
        try:
            if argument.endswith(EXTENSION):
                raise AudioFileError(f"{argument}: is a dictionary's name; expected recordings")
            found[argument] = find(argument) if find else find_audio_files([argument])
        except (AudioFileError, OSError) as error:  # OSError: a name too long, a folder that may not be read
            meant = option is not None and (argument.endswith(EXTENSION) or _is_installed(argument))
            failed[argument] = explain(error) + (f"; did you mean {option} {argument}?" if meant else "")
            report_error(failed[argument])
    if failed:
        raise NothingFoundError(failed)
    return found


def _is_installed(name: str) -> bool:
    """Return True if a dictionary of that name is installed."""
    from sepdict.dictionaries.library import installed
    from sepdict.errors import SepdictError

    with contextlib.suppress(SepdictError):
        return name in installed()
    return False


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, folder: str | None = None
) -> None:
    """Print a table: fitted to a terminal, or in a file or pipe aligned and never cut.

    The first column is text, the others are numbers. A folder that paths in the first column are in is printed once on
    a terminal, and whole, before the table of their names.
    """
    title, columns = shown(title), [*map(_cell, columns)]
    rows = [[*map(_cell, row)] for row in rows]
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not (console.is_terminal and sys.stdout.isatty()):  # FORCE_COLOR makes rich take a pipe for a terminal
        _print_plain(title, columns, rows)
        return
    # Text, not str: rich would take what is in [brackets] for its markup
    console.print(Text(title, style="bold"), soft_wrap=True)
    if folder is not None:
        console.print(Text(folder), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(Text(column), justify="right" if index else "left", no_wrap=index > 0, overflow="fold")
    for first, *others in rows:
        name = first if folder is None else first.removeprefix(f"{folder}{os.sep}")
        table.add_row(*map(Text, [name, *others]))
    console.print(table)


def _print_plain(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Align with spaces; a heading is needed only where there are numbers below it."""
    say(title)
    lines = [columns, *rows] if len(columns) > 1 else rows
    first_width, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    for first, *others in lines:
        cells = [cell.rjust(width) for cell, width in zip(others, widths, strict=True)]
        say("  ".join([first.ljust(first_width), *cells]).rstrip())


class ProgressReport:
    """Progress of a whole job, as a context manager: a bar on a terminal, few lines in a pipe, nothing when quiet.

    Parameters
    ----------
    quiet : bool
    plan : Plan, optional
        Of the job; where it is not known yet, call `follow` later.
    clock : callable
        In seconds.
    """

    def __init__(self, *, quiet: bool, plan: "Plan | None" = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(stderr=True)
        on_terminal = console.is_terminal and sys.stderr.isatty()
        self.quiet, self.clock = quiet, clock
        self.due: float | None = None  # when the job is likely to end
        self.bar = Progress(
            # the first to shrink: the bar and the time left are seen on any terminal
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            TextColumn("{task.fields[phase]}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:.0f} %", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True)),
            console=console,
            transient=True,
            expand=True,
            disable=quiet or not on_terminal,
        )
        self.task = self.bar.add_task("", visible=False, total=None, phase="", left=_TimeLeft(self))
        self.follow({} if plan is None else plan)

    def __enter__(self) -> "ProgressReport":
        """Show the bar."""
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self.bar.stop()

    def follow(self, plan: "Plan") -> None:
        """Begin a job with a plan."""
        from sepdict.progress import JobProgress

        self.job_progress = JobProgress(plan)
        self.began = self.told = self.clock()
        self.n_failed, self.audio_s = 0, 0.0

    def count(self, part: object, duration_s: float | None) -> None:
        """End a part of the job that has sound of a duration; None if it failed."""
        self.job_progress.end(part, well=duration_s is not None)
        self.n_failed += duration_s is None
        self.audio_s += duration_s or 0.0

    def begin(self, what: str) -> None:
        """Show which part of the job starts."""
        if self.quiet:
            return
        if self.bar.disable:
            note(what)
            self.told = self.clock()
        self.bar.update(self.task, description=_cell(what), visible=True, phase="")

    def step(self, event: "Progress") -> None:
        """Show one step: an `OnProgress`."""
        self.job_progress.advance(event)
        now = self.clock()
        left_s = self.job_progress.left_s(now - self.began)
        self.due = None if left_s is None else now + left_s
        phase = _phase(event) + (self._tally(now - self.began) if event.stage == "tracks" else "")
        self.bar.update(self.task, completed=self.job_progress.fraction, total=1, phase=phase)
        if self.bar.disable and not self.quiet and now - self.told >= SELDOM_S:
            self.told = now
            left = "" if left_s is None else f", about {_roughly(left_s)} left"
            note(f"{100 * self.job_progress.fraction:.0f} %: {phase}{left}")

    def _tally(self, elapsed_s: float) -> str:
        """Describe what became of many files, and at what pace once that is known."""
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        hourly = self.audio_s / elapsed_s if elapsed_s >= PACE_KNOWN_S else 0.0
        return failed + (f", {hourly:.3g} hours of audio an hour" if hourly else "")


class _TimeLeft:
    """Time left for the bar, which converts it to text whenever it is drawn."""

    def __init__(self, report: ProgressReport) -> None:
        self.report = report

    def __str__(self) -> str:
        if self.report.due is None:
            return "-:--:--"
        minutes, seconds = divmod(math.ceil(max(0.0, self.report.due - self.report.clock())), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _phase(event: "Progress") -> str:
    """Return the name of the stage, with its cost or count."""
    from sepdict.progress import PHASES

    if event.stage == "tracks":
        return f"{event.step} of {event.n_steps} done"
    return PHASES[event.stage] + (f", divergence {event.divergence:.4g}" if event.stage == "train" else "")


def _roughly(duration_s: float) -> str:
    """Format an estimated duration, rounded."""
    if duration_s < 90:
        return f"{math.ceil(duration_s)} s"
    return f"{duration_s / 60:.0f} min" if duration_s < 5400 else f"{duration_s / 3600:.1f} h"


class _Terminated(KeyboardInterrupt):
    """SIGTERM: handled like Ctrl-C, so that nothing half-written stays."""


@contextlib.contextmanager
def _termination_heard() -> Iterator[None]:
    """Turn SIGTERM into an exception during a command."""

    def stop(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _log_shown(*, verbose: bool, quiet: bool) -> Iterator[None]:
    """Show the library's log on stderr during a command: all of it, warnings, or errors only."""
    log = logging.getLogger("sepdict")
    level_before, handler = log.level, _StderrHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbose else "sepdict: %(message)s"))
    log.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level_before)


class _StderrHandler(logging.Handler):
    """Prints to the current stderr, which a progress bar may replace; repeated warnings are printed once."""

    def __init__(self) -> None:
        super().__init__()
        self._said = set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if record.levelno < logging.WARNING or text not in self._said:
            self._said.add(text)
            note(text)


def explain(error: Exception) -> str:
    """Return an error in words; an unexpected one says so."""
    errors = sys.modules.get("sepdict.errors")  # not imported here: its import may be what failed
    if errors is not None and isinstance(error, errors.SepdictError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error} (unexpected; --verbose shows where it came from)"
