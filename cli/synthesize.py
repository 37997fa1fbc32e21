"""`sepdict synthesize`: sound from a dictionary alone."""

from pathlib import Path
from typing import Annotated

import typer

from .console import say
from .options.common import DictionaryFile, Json, Overwrite, Quiet, Verbose


def synthesize(
    file: DictionaryFile,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="[default: {source}.wav]", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Duration.")] = 5.0,
    walk: Annotated[bool, typer.Option("--walk", help="Walk along each dimension of the code in turn.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choices.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Synthesize sound from a dictionary alone.

    Listen to it to judge what the dictionary has learned.
    """
    from sepdict.dictionaries.library import find_dictionary

    found = find_dictionary(file)  # before torch is loaded, which takes seconds
    from sepdict._core.fs import refuse_existing, to_json, writable_folder
    from sepdict.audio.writing import write_audio
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.dictionaries.synthesis import synthesize

    dictionary = Dictionary.load(found)
    path = Path(f"{dictionary.source}.wav") if output is None else output
    if not overwrite:
        refuse_existing(path)
    with writable_folder(path.absolute().parent):
        sound = synthesize(dictionary, seconds, walk=walk, seed=seed)
        written = write_audio(path, sound)
    facts = {"file": written, "source": dictionary.source}
    facts |= {"duration_s": sound.duration_s, "sample_rate": sound.sample_rate}
    say(to_json(facts) if as_json else str(written))
