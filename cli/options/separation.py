"""The arguments and options of `sepdict separate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .common import dictionary_option

Mixtures = Annotated[list[str], typer.Argument(metavar="MIX", help="Recordings to separate: files, folders, patterns.")]
Dictionaries = Annotated[
    list[Path] | None,
    dictionary_option("A dictionary, or the name of an installed one; give one for each source that no label teaches."),
]
Labels = Annotated[
    list[Path] | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        readable=False,
        help="Learn the sources from moments of the mixture itself in which each is alone, marked in Audacity, Raven, "
        "Praat or a CSV table; may be given several times.",
        show_default=False,
    ),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Put the dictionaries that --labels taught into the library, see sepdict list.")
]
Corrections = Annotated[
    list[Path] | None,
    typer.Option(
        "--corrections",
        metavar="FILE",
        readable=False,
        help="Labels, with frequency limits or without, of what belongs to which stem: they overrule the separation "
        "there, and it learns from them elsewhere; may be given several times.",
        show_default=False,
    ),
]
Guides = Annotated[
    list[str] | None,
    typer.Option(
        "--guide",
        metavar="NAME=FILE",
        help="What another tool takes for the stem NAME of this mixture; may be given several times.",
        show_default=False,
    ),
]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the stems go.")]


def _name(value: str | None) -> str | None:
    """Refuse an option where a name is missing before it."""
    if value is not None and value.startswith("-"):
        raise typer.BadParameter(f"{value!r} stands where a name was expected, such as rest")
    return value


def _time(value: str | float) -> float:
    """Read a time; a default is one already."""
    from sepdict._core.times import parse_time
    from sepdict.errors import ConfigError

    try:
        return value if isinstance(value, float) else parse_time(value)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from None


Residual = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=_name,
        help="Also write what no dictionary explains, under this name; alone with one dictionary it is always written, "
        "as residual.",
        show_default=False,
    ),
]
TwoStems = Annotated[
    str | None,
    typer.Option(
        "--two-stems",
        metavar="NAME",
        callback=_name,
        help="Write only this stem, and all the rest as no_NAME.",
        show_default=False,
    ),
]
Format = Annotated[Literal["wav", "flac", "mp3", "ogg"], typer.Option("--format", help="Of the stems.")]
BitDepth = Annotated[
    Literal["16", "24", "float"] | None,
    typer.Option(
        help="Of the stems; float is 32 bits and WAV's alone.  [default: the most that the format holds]",
        show_default=False,
    ),
]
ClipMode = Annotated[
    Literal["rescale", "clamp", "none"],
    typer.Option(
        help="Where a stem passes full scale and its format would clip it, which float does not: make all stems of the "
        "track softer by one gain, cut off what is too loud, or fail.",
    ),
]
Filename = Annotated[
    str,
    typer.Option(
        metavar="TEMPLATE",
        help="Where files go below DIR. Manifest, report and labels are of the sources manifest, report and labels; a "
        "field {mixture_ext} tells take.wav from take.mp3.",
    ),
]
Start = Annotated[
    float,
    typer.Option(
        "--start",
        metavar="TIME",
        parser=_time,
        help="Separate from here on: seconds, m:ss or h:mm:ss.",
        show_default=False,
    ),
]
Duration = Annotated[
    float | None,
    typer.Option(
        "--duration",
        metavar="TIME",
        parser=_time,
        help="Separate so much of each mixture.  [default: all]",
        show_default=False,
    ),
]
Unknown = Annotated[
    bool,
    typer.Option(
        "--background-model",
        help="The same, with a dictionary of it made on the spot: slower; with one source in drafts only.",
    ),
]
References = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        readable=False,
        help="Score the stems against the true sources, DIR/{track}/{source}.* (or DIR/{source}.*).",
        show_default=False,
    ),
]
Report = Annotated[
    bool,
    typer.Option(
        "--report", help="Also write DIR/{track}/report.html: a page with a player and pictures of how it went."
    ),
]
WriteLabels = Annotated[
    Literal["audacity", "raven"] | None,
    typer.Option(
        "--write-labels",
        help="Also write DIR/{track}/labels.txt: when each stem sounds, as an Audacity label track or as a Raven "
        "selection table with limits of frequency. A stem sounds where it is less than 30 dB below the loudest 20 ms "
        "of all stems.",
        show_default=False,
    ),
]
Quality = Annotated[
    Literal["draft", "quick", "standard"],
    typer.Option(
        help="standard: first train a network to tell the sources apart, which takes a minute once for each set of "
        "dictionaries and makes the stems far better; quick: train it in two fifths of that; draft: do without it.",
    ),
]
Segment = Annotated[
    float | None,
    typer.Option(
        "--segment",
        metavar="SECONDS",
        min=3,
        help="Separate long mixtures in pieces of this length: shorter ones take less memory and more "
        "time.  [default: 60]",
        show_default=False,
    ),
]
Replace = Annotated[
    bool, typer.Option("--overwrite", help="Replace what an earlier run left of a track; other files stay.")
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Continue an interrupted run: keep tracks whose stems are all there, made with the same settings.",
    ),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, help="So many files at a time; pays on many cores.")]
