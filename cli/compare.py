"""`sepdict compare`: whether sources can be told apart."""

from typing import TYPE_CHECKING, Annotated

import typer

from .console import ProgressReport, print_table, say
from .options.common import DictionaryFiles, Json, Quiet, Verbose

if TYPE_CHECKING:
    from sepdict.evaluation.separability import Comparison


def compare(
    files: DictionaryFiles,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random sums that are separated.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Measure whether sources can be told apart.

    It needs at least two dictionaries and no recordings, and takes about five seconds for each pair.
    """
    from sepdict.dictionaries.library import find_dictionary

    found = [find_dictionary(file) for file in files]  # before torch is loaded, which takes seconds
    from sepdict._core.fs import to_json
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.evaluation.separability import compare

    dictionaries = [Dictionary.load(file) for file in found]
    with ProgressReport(quiet=quiet, plan={"all": {"compare": 1.0}}) as report:
        report.begin(f"comparing {', '.join(dictionary.source for dictionary in dictionaries)}")
        comparison = compare(dictionaries, seed=seed, on_progress=report.step)
    if as_json:
        say(to_json(comparison.as_dict()))
        return
    rows = [
        [source, *(f"{100 * share:.0f}" for share in shares)]
        for source, shares in zip(comparison.sources, comparison.explained, strict=True)
    ]
    print_table(
        "share of each source that each dictionary alone explains, in %", ["dictionary", *comparison.sources], rows
    )
    say(_about(comparison))
    for forecast in comparison.forecasts:
        say(forecast.sentence)


def _about(comparison: "Comparison") -> str:
    """Describe the scale of the table and the sound that it was measured on."""
    known = [source for source, is_new in zip(comparison.sources, comparison.held_out, strict=True) if not is_new]
    if not known:
        return "100: all of it, 0: as much as a flat spectrum; measured on sound that no dictionary was trained on"
    return f"100: all of it, 0: as much as a flat spectrum; measured on the training sound of {', '.join(known)}"
