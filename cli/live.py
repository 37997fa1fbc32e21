"""`sepdict live`: separate what comes from a microphone, or through a pipe, as it comes."""

import contextlib
import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .console import ProgressReport, note, say
from .learning import telling_apart
from .options.common import Json, Quiet, Verbose
from .options.live import Channels, Dictionaries, Input, KeptSources, Output, Raw

if TYPE_CHECKING:
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.progress import Progress
    from sepdict.separation.live import LiveSeparator

    from .live_streams import Devices, Encoding


def live(
    dictionaries: Dictionaries,
    keep: KeptSources,
    raw: Raw = None,
    source: Input = None,
    sink: Output = None,
    channels: Channels = 1,
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

    if raw is not None:
        _refuse_unfit_pipes(has_devices=bool(source or sink), as_json=as_json)
    found = [find_dictionary(file) for file in dictionaries]  # before torch is loaded, which takes seconds
    from sepdict.dictionaries.dictionary import Dictionary

    from .live_streams import Devices

    loaded = [Dictionary.load(file) for file in found]
    devices = Devices(source, sink, channels, loaded[0].card.sample_rate)
    if raw is None:
        devices.refuse_unfit()  # before a training of minutes
    separator = _open(loaded, keep, channels, quiet=quiet)
    if raw is None:
        _through_devices(separator, devices, as_json=as_json, quiet=quiet)
    else:
        _through_pipes(separator, raw)
    if separator.n_not_finite:
        note(f"{separator.n_not_finite} samples were NaN or infinite, and were taken for silence")


def _refuse_unfit_pipes(*, has_devices: bool, as_json: bool) -> None:
    """Refuse options that do not go with raw samples, and a stdin or stdout that cannot carry them."""
    from sepdict.errors import ConfigError

    if has_devices:
        raise ConfigError("--raw is given with --input or --output; expected pipes or audio devices")
    if as_json:
        raise ConfigError("--json prints to stdout, where --raw writes samples; expected one of them")
    if sys.stdin is None or sys.stdin.isatty():
        what = "closed" if sys.stdin is None else "a terminal"
        raise ConfigError(f"stdin is {what}; expected raw samples from a file or another program")
    if sys.stdout is None or sys.stdout.isatty():
        what = "closed" if sys.stdout is None else "a terminal"
        raise ConfigError(f"stdout is {what}; expected a file or another program that takes raw samples")


def _open(
    dictionaries: Sequence["Dictionary"], keep: Sequence[str], n_channels: int, *, quiet: bool
) -> "LiveSeparator":
    """Prepare the separation, and say what is expected and how late it comes out."""
    from sepdict.separation.live import open_live

    with ProgressReport(quiet=quiet, plan={"all": {"estimate": 1.0}}) as report:
        begin = functools.cache(lambda: report.begin(telling_apart([each.source for each in dictionaries])))

        def step(event: "Progress") -> None:
            begin()  # where there is no training, there are no steps
            report.step(event)

        separator = open_live(dictionaries, keep=keep, n_channels=n_channels, on_progress=step)
    if not quiet:
        late_ms = 1000 * separator.n_delayed / separator.sample_rate
        shape = f"{separator.sample_rate} Hz, {'mono' if n_channels == 1 else f'{n_channels} channels'}"
        note(f"keeping {', '.join(keep)} at {shape}, {late_ms:.0f} ms late (Ctrl-C ends it)")
    return separator


def _through_pipes(separator: "LiveSeparator", encoding: "Encoding") -> None:
    """Separate from stdin to stdout, and say what was wrong with what came."""
    from .live_streams import separate_pipe

    piped = separate_pipe(separator, sys.stdin.buffer, sys.stdout.buffer, encoding=encoding)
    if not piped.n_samples:
        note("stdin ended before the first sample")
    if piped.n_broken:
        note(f"the last bytes ({piped.n_broken}) are no whole sample of every channel, and were left out")


def _through_devices(separator: "LiveSeparator", devices: "Devices", *, as_json: bool, quiet: bool) -> None:
    """Separate from an input to an output until Ctrl-C, and say how it went."""
    from sepdict._core.fs import to_json

    from .live_streams import DeviceStream

    stream = DeviceStream(separator, devices)
    with contextlib.suppress(KeyboardInterrupt):
        stream.run()
    duration_s = stream.n_blocks * separator.hop_length / separator.sample_rate
    if as_json:
        say(to_json({"duration_s": duration_s, "n_dropouts": stream.n_dropouts}))
    elif not quiet:
        note(f"{duration_s:.0f} s, {stream.n_dropouts} dropouts")
