"""`sepdict list`: the dictionaries in the user's library."""

from .console import print_table, report_error, report_failures, say
from .options.common import Json, Quiet, Verbose


def list_dictionaries(as_json: Json = False, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """List the installed dictionaries, which -d finds by name.

    The variable SEPDICT_LIBRARY names their folder; the default is ~/.local/share/sepdict.
    """
    from sepdict._core.fs import to_json
    from sepdict.dictionaries.dictionary import Dictionary
    from sepdict.dictionaries.library import installed, library_folder
    from sepdict.errors import DictionaryFileError

    found, n_failed = {}, 0
    for name, path in installed().items():
        try:
            found[name] = Dictionary.load(path).card
        except DictionaryFileError as error:
            report_error(str(error))
            n_failed += 1
    if as_json:
        facts = {
            name: {
                "sample_rate": card.sample_rate,
                "n_fft": card.stft.n_fft,
                "trained_s": card.trained_s,
                "network": card.network.kind,
            }
            for name, card in found.items()
        }
        say(to_json({"folder": library_folder(), "dictionaries": facts}))
    elif found:
        cells = [
            [name, f"{card.sample_rate}", f"{card.stft.n_fft}", f"{card.trained_s / 60:.1f}", card.network.kind]
            for name, card in found.items()
        ]
        print_table(str(library_folder()), ["name", "rate in Hz", "window", "minutes of sound", "network"], cells)
    else:
        say(f"{library_folder()}: no dictionaries yet; sepdict train-dictionary without -o puts them there")
    report_failures(n_failed, n_failed + len(found))
