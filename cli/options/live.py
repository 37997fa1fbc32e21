"""The options of `sepdict live`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .common import dictionary_option

Dictionaries = Annotated[
    list[Path], dictionary_option("A dictionary, or the name of an installed one; one for each source.")
]
KeptSources = Annotated[
    list[str],
    typer.Option(
        "--keep", metavar="NAME", help="A source to be heard; may be given several times.", show_default=False
    ),
]
Raw = Annotated[
    Literal["s16", "f32"] | None,
    typer.Option(
        "--raw",
        help="Read raw samples from stdin and write them to stdout, instead of using audio devices: little-endian "
        "16-bit integers or 32-bit floats, channels interleaved, at the dictionaries' rate.",
        show_default=False,
    ),
]
Input = Annotated[
    str | None,
    typer.Option("--input", metavar="DEVICE", help="Number or part of the name of an audio input.", show_default=False),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="DEVICE", help="Number or part of the name of an audio output.", show_default=False
    ),
]
Channels = Annotated[int, typer.Option("--channels", min=1, max=64, help="Channels of the sound.")]
