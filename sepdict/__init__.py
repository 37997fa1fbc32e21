"""Audio source separation with one dictionary per source.

The way of a mixture goes from bottom to top, and a package imports only from those below it (a contract in
pyproject.toml holds that); each package's docstring says in one sentence what lives there.

    web             the page that a browser shows            (the command line, sepdict_cli, stands beside it)
    batch           files of mixtures in, files of stems out; `track` is one mixture's way, `publishing` its last step
    reports         pages and pictures of what was done
    evaluation      stems against references
    marking         a recording with marked moments in, dictionaries of its own sources out
    separation      a mixture in, masks and stems out: `engine`, `segment` and their heart, `excitations`
    training        solo recordings in, a dictionary out
    dictionaries    what one source can sound like; its file is checked in `dictionary_file`, its card in `card`
    models          networks
    spectral        spectrograms, divergences, masks
    audio           signals and their files
    _core           files, processes, checks of settings
    errors, progress

Examples
--------
>>> import torch
>>> from sepdict import Audio, SeparationConfig, TrainingConfig, separate, train_dictionary
>>> hiss, hum = torch.randn(16000), torch.randn(16000).cumsum(0) / 100
>>> quick = TrainingConfig(n_steps=5)
>>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
>>> separation = separate(Audio(hiss + hum, 8000), dictionaries, SeparationConfig().at_quality("draft"))
>>> {name: stem.duration_s for name, stem in separation.stems.items()}
{'hiss': 2.0, 'hum': 2.0}
"""

import os
from typing import Any

import lazy_loader

from sepdict._core import notebook

# Threads that wait for work must sleep, not spin: on shared cores spinning costs factors. Those that sleep at once are
# slow to wake, though: some microseconds of spinning train a third faster, and no slower on cores that are shared.
# Read when torch loads.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# The public names stand in __init__.pyi. Each is loaded when first used, because torch takes seconds to load.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _draw(thing: Any) -> str:
    """Write what a notebook shows of an object, which is drawn high above the object's own package."""
    from sepdict.reports.notebook import draw

    return draw(thing)


notebook.draw = _draw
