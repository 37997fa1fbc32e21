"""`sepdict info`: the card of a dictionary file."""

import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .console import print_table, say
from .options.common import DictionaryFile, Json, Quiet, Verbose

if TYPE_CHECKING:
    from sepdict.dictionaries.card import Card
    from sepdict.dictionaries.dictionary import Dictionary

LINE = 100  # characters


def info(
    file: DictionaryFile,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show the card of a dictionary.

    It names the source, the settings of the training and the recordings.
    """
    from sepdict.dictionaries.library import find_dictionary

    file = find_dictionary(file)  # before torch is loaded, which takes seconds
    from sepdict._core.fs import to_json
    from sepdict.dictionaries.dictionary import Dictionary

    dictionary = Dictionary.load(file)
    card = dictionary.card
    if as_json:
        counts = {"n_weights": _n_weights(dictionary), "trained_s": card.trained_s}
        say(to_json({"file": file.absolute(), **asdict(card), **counts}))
        return
    say(str(file.absolute()))
    for name, text in _facts(dictionary).items():
        say(
            textwrap.fill(
                text, LINE, initial_indent=f"{name + ':':<12}", subsequent_indent=" " * 12, break_long_words=False
            )
        )
    if card.heard:
        say("")
        columns = ["recording", "seconds", "silence", "held out", "level dB"]
        rows = [_heard_cells(recording) for recording in card.heard]
        print_table(f"heard {card.trained_s / 60:.1f} minutes", columns, rows)


def _n_weights(dictionary: "Dictionary") -> int:
    """Count the weights of the network."""
    return sum(weight.numel() for weight in dictionary.network.parameters())


def _facts(dictionary: "Dictionary") -> dict[str, str]:
    """Describe the card in words."""
    card = dictionary.card
    stft, network = card.stft, card.network
    window, hop = (f"{n} samples ({1000 * n / card.sample_rate:.1f} ms)" for n in (stft.n_fft, stft.hop_length))
    templates = (network.n_templates,) if network.n_templates else ()
    sizes = " - ".join(map(str, (network.code_size, *network.hidden, *templates, stft.n_bins)))
    context = f"sees {network.kernel_size} frames, " if network.kernel_size > 1 else ""
    extras = [network.cell] if network.kind == "recurrent" else []
    extras += [f"variational with prior {network.prior_weight:g}"] if network.prior_weight else []
    extras += [f"critic {' - '.join(map(str, network.critic))}"] if network.critic else []
    return {
        "source": card.source,
        "rate": f"{card.sample_rate} Hz",
        "STFT": f"{stft.window} window of {window}, hop of {hop}",
        "network": ", ".join([f"{network.kind}, {context}{network.activation}, decoder {sizes}", *extras]),
        "weights": f"{_n_weights(dictionary)}",
        "exemplars": f"{dictionary.exemplars.shape[1] * stft.hop_length / card.sample_rate:.1f} s",
        "trained": ", ".join(_settings(card.training)) or "not at all",
        "divergence": _divergence(card),
    }


def _settings(training: Mapping[str, Any]) -> list[str]:
    """List the settings of a training, without the regularizers that are not in use."""
    settings = list[str]()
    for name, value in training.items():
        if name == "backgrounds":
            settings.append(f"{len(value)} backgrounds")
        elif isinstance(value, Mapping):
            settings += [f"{inner} {amount}" for inner, amount in value.items() if amount and "target" not in inner]
        elif value is not None:
            settings.append(f"{name} {value}")
    return settings


def _divergence(card: "Card") -> str:
    """Describe how far the validation divergence fell."""
    curve = card.curves.get("validation", ())
    return f"validation, first {curve[0]:.4g}, best {min(curve):.4g}" if curve else "not measured"


def _heard_cells(heard: Mapping[str, Any]) -> list[str]:
    """Format one recording."""
    numbers = [heard[name] for name in ("duration_s", "silence_s", "held_out_s", "level_db")]
    return [heard["name"], *("-" if number is None else f"{number:.1f}" for number in numbers)]
