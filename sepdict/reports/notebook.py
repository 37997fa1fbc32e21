"""Views of a sound, a dictionary or a separation in a notebook: HTML that needs nothing but itself.

Of long sounds only the beginning is embedded, so that a notebook stays small.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.exemplars import decode_exemplars
from sepdict.reports.html import fill_fragment
from sepdict.reports.media import (
    CLIPPED,
    FAINTEST_DB,
    encode_sound,
    look,
    loudest,
    picture,
    picture_url,
    spectrogram,
)
from sepdict.separation.result import Separation

SHOWN_S = 60.0  # of a sound: about 0.6 MB for each channel
ALL_SHOWN_S = 180.0  # of all sounds of one separation together
MOST_STEMS = 12  # with players; others are named
MOST_RECORDINGS = 8  # named on a dictionary's card
N_EXEMPLAR_COLUMNS = 600


def draw(thing: Audio | Dictionary | Separation) -> str:
    """Write a sound as a player, a dictionary as a card and a separation as a player for each stem.

    Returns
    -------
    str
        HTML, in which every name is escaped, that asks for nothing over the network.

    Examples
    --------
    >>> html = draw(Audio(torch.zeros(8000), 8000, "<silence>"))
    >>> "&lt;silence&gt;" in html, "<silence>" in html
    (True, False)
    """
    if isinstance(thing, Dictionary):
        return fill_fragment("dictionary_card.html", card=thing.card, facts=_facts(thing), exemplars=_exemplars(thing))
    if isinstance(thing, Separation):
        shown = dict(list(thing.items())[:MOST_STEMS])
        return fill_fragment(
            "players.html", title=thing.summary, sounds=_players(shown), unshown=list(thing)[MOST_STEMS:]
        )
    return fill_fragment("players.html", title="", sounds=_players({thing.name: thing}), unshown=[])


def _players(sounds: Mapping[str, Audio]) -> list[dict[str, Any]]:
    """Describe sounds, with pictures and copies to play: all at one gain, so that none clips."""
    shown_s = min(SHOWN_S, ALL_SHOWN_S / max(1, len(sounds)))
    looks = {name: look(sound, shown_s=shown_s) for name, sound in sounds.items()}
    peak = max((each.peak for each in looks.values()), default=0.0)
    gain = min(1.0, CLIPPED / peak) if peak > 0 else 1.0
    reference = max((loudest(each.energy) for each in looks.values()), default=1.0)
    return [
        {
            "name": name,
            "audio": sound,
            "shown_s": looks[name].shown_s,
            "url": encode_sound(sound, gain=gain, lossless=False, shown_s=shown_s),
            "spectrogram": picture_url(spectrogram(looks[name].energy, reference)),
        }
        for name, sound in sounds.items()
    ]


def _facts(dictionary: Dictionary) -> dict[str, str]:
    """Put the most important of a dictionary's card into words."""
    card = dictionary.card
    validation = card.curves.get("validation", ())
    names = [recording["name"] for recording in card.heard]
    others = f" and {len(names) - MOST_RECORDINGS} others" if len(names) > MOST_RECORDINGS else ""
    n_weights = sum(weight.numel() for weight in dictionary.network.parameters())
    window_ms = 1000 * card.stft.n_fft / card.sample_rate
    return {
        "sample rate": f"{card.sample_rate} Hz",
        "window": f"{card.stft.n_fft} samples, {window_ms:.0f} ms",
        "network": f"{card.network.kind}, {n_weights} weights",
        "trained on": f"{card.trained_s / 60:.1f} minutes",
        "recordings": ", ".join(names[:MOST_RECORDINGS]) + others or "not named",
        "divergence": f"{validation[0]:.3g} at first, {min(validation):.3g} at best" if validation else "not measured",
    }


def _exemplars(dictionary: Dictionary) -> str | None:
    """Draw the exemplars as a spectrogram, None where there are none."""
    if not dictionary.has_exemplars:
        return None
    energy: Tensor = decode_exemplars(dictionary.exemplars).square()  # (n_bands, n_frames)
    n_columns = min(N_EXEMPLAR_COLUMNS, energy.shape[1])
    pooled = torch.nn.functional.adaptive_avg_pool1d(energy, n_columns)
    decibels = 10 * torch.log10(pooled / loudest(pooled))
    return picture_url(picture(decibels, "magma", lowest=FAINTEST_DB, highest=0))
