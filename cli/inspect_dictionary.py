"""`sepdict inspect`: pictures and sounds of what dictionaries have learned."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .console import ProgressReport, find_audio, say
from .options.common import Device, DictionaryFiles, Json, Overwrite, Quiet, Verbose

if TYPE_CHECKING:
    from sepdict.dictionaries.dictionary import Dictionary


def inspect(
    files: DictionaryFiles,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where each source gets a folder.")
    ] = Path("inspected"),
    picture_format: Annotated[Literal["png", "svg"], typer.Option("--format", help="Format of the pictures.")] = "png",
    solos: Annotated[
        str | None,
        typer.Option(
            "--learning-curve",
            metavar="SOLOS",
            help="Also train on an eighth to all of these recordings, and plot how much more of them helps.",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Draw and play what dictionaries have learned.

    Plots the decoder's spectra, the inputs that excite the encoder's units most, the codes, and the training.
    """
    from sepdict.dictionaries.library import find_dictionary

    paths = [] if solos is None else find_audio([solos])[solos]  # before torch is loaded, which takes seconds
    found = [find_dictionary(file) for file in files]
    from sepdict._core.devices import AUTO, choose_device
    from sepdict._core.fs import to_json
    from sepdict.audio.io import read_audio
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.reports.dictionary_report import inspect_dictionary

    device = AUTO if device is None else device
    choose_device(device)  # refused before the first picture, not after the last
    dictionaries = [Dictionary.load(file) for file in found]
    _refuse_together(dictionaries, solos)
    recordings = [read_audio(path) for path in paths]
    made: list[dict[str, Any]] = []
    with ProgressReport(quiet=quiet, plan={"curve": {"train": 1.0}}) as report:
        for dictionary in dictionaries:
            report.begin(f"inspecting {dictionary.source}")
            written = inspect_dictionary(
                dictionary,
                output,
                picture_format=picture_format,
                solos=recordings,
                device=device,
                overwrite=overwrite,
                on_progress=report.step,
            )
            made.append({"source": dictionary.source, "files": written})
            if not as_json:
                say("\n".join(map(str, written)))
    if as_json:
        say(to_json(made))


def _refuse_together(dictionaries: Sequence["Dictionary"], solos: str | None) -> None:
    """Refuse dictionaries that would write to the same folder, and one source's solos for several."""
    from sepdict.errors import ConfigError

    (source, n_times), *others = Counter(dictionary.source for dictionary in dictionaries).most_common()
    if n_times > 1:
        raise ConfigError(f"{n_times} dictionaries are of source {source!r}; inspect them into a folder each (-o)")
    if solos is not None and others:
        raise ConfigError(f"--learning-curve has one source's solos, but there are {len(dictionaries)} dictionaries")
