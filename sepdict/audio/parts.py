"""Parts of recordings, as the command line names them: ``concert.wav@0:12-0:22,1:05.5-1:08``."""

import glob
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sepdict._core.times import format_time, parse_time
from sepdict.errors import AudioFileError, ConfigError

BEYOND_S = 0.05  # of an end after a file's last sample; programs round, and people drag to the end
FORM = "concert.wav@0:12-0:22,1:05.5-1:08"


@dataclass(frozen=True)
class Part:
    """A file of sound, or a part of one.

    Attributes
    ----------
    path : Path
    start_s, end_s : float
        In seconds; an infinite end stands for the file's.
    """

    path: Path
    start_s: float = 0.0
    end_s: float = math.inf

    @property
    def is_whole(self) -> bool:
        """True for a whole file."""
        return math.isinf(self.end_s)

    @property
    def span(self) -> str:
        """From when to when, as in ``0:12-0:22``."""
        return f"{format_time(self.start_s)}-{format_time(self.end_s)}"

    @property
    def name(self) -> str:
        """The file's name, with the part behind it if it is one."""
        return str(replace(self, path=Path(self.path.name)))

    def __str__(self) -> str:
        return str(self.path) if self.is_whole else f"{self.path}@{self.span}"


def find_parts(argument: str) -> list[Part]:
    """Find the parts that an argument names; none if it is the name of a file, a folder or files that match a pattern.

    A name that exists is never taken apart, even if it has an ``@``.

    Raises
    ------
    AudioFileError
        If something stands behind an ``@`` that is no parts, the file is missing, or parts overlap.

    Examples
    --------
    >>> find_parts("concert.wav")
    []
    """
    if "@" not in argument or os.path.exists(argument) or glob.glob(argument):
        return []
    file, _, spans = argument.rpartition("@")
    try:
        parts = [_part(Path(file), span) for span in spans.split(",")]
    except ConfigError as error:
        what = f"no such file or folder, and what is behind the @ is no parts ({error})"
        raise AudioFileError(f"{argument}: {what}; expected as in {FORM}") from error
    if not os.path.isfile(file):
        raise AudioFileError(f"{file}: no such file; expected a recording before @{spans}")
    return parts


def refuse_overlaps(parts: Sequence[Part]) -> None:
    """Refuse parts of one file that overlap, for what sounds twice would count twice.

    Raises
    ------
    AudioFileError
    """
    for first, second in itertools.pairwise(sorted(parts, key=lambda part: part.start_s)):
        if second.start_s < first.end_s:
            what = f"the parts {first.span} and {second.span} overlap"
            raise AudioFileError(f"{first.path}: {what}; name each moment once")


def _part(path: Path, span: str) -> Part:
    """Read one part's times."""
    start, dash, end = span.partition("-")
    if not dash:
        raise ConfigError(f"{span!r} has no start and end")
    part = Part(path, parse_time(start), parse_time(end))
    if not part.start_s < part.end_s < math.inf:
        raise ConfigError(f"{span!r} does not end after its start")
    return part
