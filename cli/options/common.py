"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .completion import complete_device, complete_dictionary


def dictionary_option(help: str) -> Any:
    """Make the option that names dictionaries."""
    return typer.Option(
        "--dictionary",
        "-d",
        metavar="FILE|NAME",
        autocompletion=complete_dictionary,
        readable=False,
        help=help,
        show_default=False,
    )


DictionaryFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE|NAME",
        help="A dictionary, or the name of an installed one.",
        autocompletion=complete_dictionary,
        readable=False,  # whether it is, the library says, as it says that a file is missing
    ),
]
DictionaryFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE|NAME",
        help="Dictionaries, or the names of installed ones.",
        autocompletion=complete_dictionary,
        readable=False,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto, cpu, cuda, cuda:1 or mps.",
        autocompletion=complete_device,
        show_default=False,
    ),
]
Recursive = Annotated[bool, typer.Option("--recursive", help="Search folders with their subfolders.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors only, no progress and no notes.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the log, and where an error came from.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS|FILE|auto",
        help="Work on the machines of a Dask cluster: its scheduler's address, such as tcp://host:8786, a scheduler "
        "file, or auto for what Dask's configuration names.",
        show_default=False,
    ),
]
