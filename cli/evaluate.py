"""`sepdict evaluate`: scores of stems against the true sources."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .console import find_audio, print_table, say
from .options.common import Json, Overwrite, Quiet, Verbose
from .scores import SCORE_COLUMNS, bss_eval, score_cells, standard


def evaluate(
    estimates: Annotated[Path, typer.Argument(metavar="ESTIMATES", help="Folder of stems, {source}.*.")],
    references: Annotated[Path, typer.Argument(metavar="REFERENCES", help="Folder of the true sources.")],
    mixture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The separated mixture; by default the sum of the references.", show_default=False
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the scores as a page, FILE.html.", show_default=False),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score stems against the true sources.

    The scores are SI-SDR, its improvement over the mixture, SDR, SIR and SAR.
    """
    from sepdict._core.fs import refuse_existing, write_atomically
    from sepdict.errors import ConfigError

    if report is not None and not overwrite:
        refuse_existing(report, option="--report")
    if report is not None and report.suffix != ".html":
        raise ConfigError(f"{report}: a page's name ends in .html; add that")
    if report is not None and not report.absolute().parent.is_dir():
        raise ConfigError(f"{report.absolute().parent}: is no folder; make it first, or choose another")
    find_audio([str(path) for path in (estimates, references, mixture) if path is not None])
    from sepdict.evaluation.scoring import evaluate  # here, because torch takes seconds to load
    from sepdict.reports.separation_report import evaluation_page

    evaluation = evaluate(estimates, references, mixture=mixture)
    if report is not None:
        paths = {"stems": estimates.absolute(), "references": references.absolute()}
        paths |= {} if mixture is None else {"mixture": mixture.absolute()}
        title = f"{estimates.resolve().name} against {references.resolve().name}"
        page = evaluation_page(evaluation, title=title, paths=paths, command=["sepdict", *sys.argv[1:]])
        write_atomically(report.absolute(), page.encode(errors="surrogateescape"))
    if as_json:
        metrics = {"si_sdr_db": "SI-SDR, dB", "sdr_db, sir_db, sar_db": f"{bss_eval()}, dB"}
        say(json.dumps(evaluation.as_dict() | {"metrics": metrics}, indent=1, allow_nan=False))
        return
    rows = [[score.source, *score_cells(score)] for score in (*evaluation.scores, evaluation.mean)]
    print_table(f"{estimates} against {references}", ["source", *SCORE_COLUMNS], rows)
    if not quiet:
        say(standard())
