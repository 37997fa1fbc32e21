"""The report of a separation: made when it is asked for, of its stems and of what it has left for that."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sepdict._core.fs import write_atomically
from sepdict.dictionaries.card import Card
from sepdict.reports.separation_report import separation_page
from sepdict.separation.diagnostics import Timeline

LEFT = "report.pickle"
REPORT = "report.html"


@dataclass(frozen=True)
class ReportFacts:
    """What a report says beside the sounds, as `separation_page` takes it; paths of the server are not in it."""

    manifest: Mapping[str, Any]
    cards: tuple[Card, ...]
    timeline: Timeline

    def leave(self, output: Path) -> None:
        """Leave it in the folder of a job."""
        write_atomically(output / LEFT, pickle.dumps(self))


def write_report(output: Path, mixture: Path) -> Path:
    """Make the report in the folder of a job, unless it is there, and return its path.

    Raises
    ------
    AudioFileError
        If a sound cannot be read.
    """
    path = output / REPORT
    if not path.exists():
        facts: ReportFacts = pickle.loads((output / LEFT).read_bytes())  # which the job's own process has written
        stems = {name: output / file for name, file in facts.manifest["stems"].items()}
        page = separation_page(facts.manifest, stems, facts.cards, facts.timeline, mixture=mixture)
        write_atomically(path, page.encode())
    return path
