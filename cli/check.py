"""`sepdict check`: compare stems with their manifests."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .console import note, print_table, report_error, say
from .options.common import Json, Quiet, Verbose


def check(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders that stems were written to.")],
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Compare stems with what their manifests say.

    Reads them again: checksums, lengths, and whether they still sum to the mixture. Exits with 1 if any is damaged.
    """
    from sepdict._core.fs import to_json
    from sepdict.batch.verification import check_folder

    tracks = [track for folder in folders for track in check_folder(folder)]
    if as_json:
        say(to_json([asdict(track) | {"is_whole": track.is_whole} for track in tracks]))
    elif not quiet:
        rows = [
            [str(track.manifest), f"{track.n_stems}", _decibels(track.null_test_db), _state(track.is_whole)]
            for track in tracks
        ]
        print_table("checked", ["track", "stems", "null test dB", "state"], rows)
    for track in tracks:
        for damage in track.damage:
            report_error(damage)
        for remark in () if quiet else track.notes:
            note(f"note: {remark}")
    if n_damaged := sum(not track.is_whole for track in tracks):
        report_error(f"{n_damaged} of {len(tracks)} tracks are damaged")
        raise typer.Exit(1)


def _decibels(value: float) -> str:
    """Format a level; a dash where there is none."""
    return "-" if value != value else f"{value:.0f}"


def _state(is_whole: bool) -> str:
    """Return the verdict in a word."""
    return "whole" if is_whole else "DAMAGED"
