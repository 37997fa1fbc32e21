"""`sepdict live`: separate what comes from a microphone, or through a pipe, as it comes."""

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from .console import ProgressReport, note, say
from .options.common import Json, Quiet, Verbose, dictionary_option

Raw = Annotated[
    Literal["s16", "f32"] | None,
    typer.Option(
        "--raw",
        help="Read raw samples from stdin and write them to stdout, instead of using audio devices: little-endian "
        "16-bit integers or 32-bit floats, channels interleaved, at the dictionaries' rate.",
        show_default=False,
    ),
]


def live(
    dictionary: Annotated[
        list[Path], dictionary_option("A dictionary, or the name of an installed one; one for each source.")
    ],
    keep: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="A source to be heard; may be given several times.", show_default=False),
    ],
    raw: Raw = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="DEVICE", help="Number or part of the name of an audio input.", show_default=False
        ),
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="DEVICE", help="Number or part of the name of an audio output.", show_default=False
        ),
    ] = None,
    channels: Annotated[int, typer.Option(min=1, max=64, help="Channels of the sound.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Separate sound as it comes, from a device or a pipe.

    It goes from an audio input to an output, or from stdin to stdout; Ctrl-C ends it. What is kept comes out a window
    and a hop late (80 ms at 16 kHz, 232 ms at 44.1 kHz), beside what audio devices take. With one dictionary, the other
    source is named residual.
    """
    from sepdict.dictionaries.library import find_dictionary
    from sepdict.errors import ConfigError

    if raw is not None and (source or sink):
        raise ConfigError("--raw is given with --input or --output; expected pipes or audio devices")
    if raw is not None and as_json:
        raise ConfigError("--json prints to stdout, where --raw writes samples; expected one of them")
    if raw is not None and sys.stdin.isatty():
        raise ConfigError("stdin is a terminal; expected raw samples from a file or another program")
    found = [find_dictionary(file) for file in dictionary]  # before torch is loaded, which takes seconds
    from sepdict._core.fs import to_json
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.separation.live import open_live

    from .live_streams import DeviceStream, load_sounddevice, separate_pipe

    if raw is None:
        load_sounddevice()
    loaded = [Dictionary.load(file) for file in found]
    with ProgressReport(quiet=quiet, plan={"all": {"estimate": 1.0}}) as report:
        separator = open_live(loaded, keep=keep, n_channels=channels, on_progress=report.step)
    if not quiet:
        late_ms = 1000 * separator.n_delayed / separator.sample_rate
        note(f"keeping {', '.join(keep)} at {separator.sample_rate} Hz, {late_ms:.0f} ms late (Ctrl-C ends it)")
    if raw is not None:
        n_broken = separate_pipe(separator, sys.stdin.buffer, sys.stdout.buffer, encoding=raw)
        if n_broken:
            note(f"the last {n_broken} bytes are no whole sample of every channel, and were left out")
    else:
        stream = DeviceStream(separator, source=source, sink=sink)
        with contextlib.suppress(KeyboardInterrupt):
            stream.run()
        duration_s = stream.n_blocks * separator.hop_length / separator.sample_rate
        if as_json:
            say(to_json({"duration_s": duration_s, "n_dropouts": stream.n_dropouts}))
        elif not quiet:
            note(f"{duration_s:.0f} s, {stream.n_dropouts} dropouts")
    if separator.n_not_finite:
        note(f"{separator.n_not_finite} samples were NaN or infinite, and were taken for silence")
