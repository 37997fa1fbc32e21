"""Dictionary files that a wrong or wicked writer would write: well signed, and not what they should be."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import sepdict.dictionaries.dictionary_file
from sepdict._core.devices import seeded_generator
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.dictionary_file import FORMAT
from sepdict.errors import SepdictError
from sepdict.models.autoencoder import build_autoencoder
from sepdict.models.layers import initialize
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.stft import StftConfig

RECORDING = {
    "name": "a.wav",
    "duration_s": 1.5,
    "silence_s": 0.5,
    "held_out_s": 0.25,
    "level_db": -20.0,
    "sample_rate": 16000,
    "n_channels": 1,
    "sha256": "5" * 64,
}
CARD = Card(
    source="violin, 1st [solo] 🎻",
    sample_rate=16000,
    stft=StftConfig(n_fft=64, hop_length=16, window="hann"),
    network=NetworkConfig(kind="dense", code_size=4, hidden=(8,), activation="relu"),
    training={
        "seed": 7,
        "divergence": "kl",
        "learning_rate": 0.1,
        "stopped": "early",
        "regularisation": {"noise": 0.5},
    },
    heard=(RECORDING, RECORDING | {"name": "b.wav", "duration_s": 0.25, "level_db": None}),
    curves={"training": (3.0, 0.1 + 0.2), "validation": (4.0, 1e-300)},
)

Edit = Callable[[dict[str, Any]], object]


def dictionary_of(card: Card = CARD, *, seed: int = 0) -> Dictionary:
    """Make a dictionary that has learned nothing."""
    network = build_autoencoder(card.network, card.stft.n_bins)
    initialize(network, seeded_generator(seed))
    return Dictionary(card, network)


def forge(path: Path, edit: Edit = dict, *, tensors: Mapping[str, torch.Tensor] | None = None, **said: object) -> Path:
    """Write a file that is right in all but what is asked for, its checksum included."""
    card, dictionary = json.loads(json.dumps(asdict(CARD))), dictionary_of()
    edit(card)
    content = dictionary.network.state_dict() | dict(tensors or {})
    try:
        signed = asdict(Card(**card))
    except (SepdictError, TypeError):
        signed = {}  # no checksum will help it
    text = {"format_version": sepdict.dictionaries.dictionary_file.FORMAT_VERSION, "card": card}
    text |= {"sha256": sepdict.dictionaries.dictionary_file.checksum(signed, content)} | said
    path.write_bytes(safetensors.torch.save(content, {FORMAT: json.dumps(text)}))
    return path


def at(*keys: str | int, value: object) -> Edit:
    """Put something else in a place of a card."""

    def edit(card: Any) -> None:
        for key in keys[:-1]:
            card = card[key]
        card[keys[-1]] = value

    return edit


def nested(n_levels: int) -> Any:
    """Make a list in a list in a list."""
    value: list[Any] = []
    for _ in range(n_levels):
        value = [value]
    return value
