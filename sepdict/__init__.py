"""Audio source separation with one dictionary per source.

The package reads top to bottom as sound flows; a module imports only from rows above its own.

    0  errors, progress, names, times, files, ffmpeg, lengths, charts, on_demand, riff, comments
    1  schema, tensorfiles, pages, devices, folders, jobs, audio, spectrogram, bands, columns, divergences, layers
       course          how far a whole job is
       decoding        files of which all sound is read, however they count it
       context         what a recording's file says beside its sound
    2  recordings, segments, networks, masks, memory, metrics, optimizers, unheard
    3  dictionary      what one source can sound like, and its file
       augmentation    what recordings are varied by
       lessons         recordings in, frames to learn from out
       regularisers    what keeps a network from merely copying
       pretraining     beginning with one layer at a time
       previews        what a page shows of sound files
    4  library         dictionaries by name
       outputs         in which form stems are handed over
       survey          what there is to learn from
       descent         to the weights of a network
       composition     dictionaries in, a network that tells them apart out
       synthesis       what a dictionary sounds like by itself
       excitations     the heart: what makes the dictionaries sum to the mixture
    5  training        solo recordings in, a dictionary out
       unknown         a dictionary of what no dictionary knows
       inspection      what a dictionary has learned, measured
       comparison      dictionaries in, whether their sources can be told apart out
       timeline        how a fit went over time
    6  separation      a mixture in, stems out
       evaluation      stems against the true sources
       tracks          what a mixture becomes on disk
       learning        how much sound is enough
    7  manifest        how a separation went, as facts
       checking        whether stems still are what was written
       publishing      its files, moved into place together
       report          and as a page
       plots           pictures of what a dictionary has learned
    8  work            one mixture's way from its file to those of its stems
       portrait        pictures and sounds of a dictionary, in a folder
    9  batch           many mixtures in one go
       __main__        the command, as python -m sepdict starts it

Examples
--------
>>> import torch
>>> from sepdict import Audio, FitConfig, TrainingConfig, separate, train_dictionary
>>> hiss, hum = torch.randn(16000), torch.randn(16000).cumsum(0) / 100
>>> quick = TrainingConfig(n_steps=5)
>>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
>>> separation = separate(Audio(hiss + hum, 8000), dictionaries, FitConfig(composition_weight=0))
>>> {name: stem.duration_s for name, stem in separation.stems.items()}
{'hiss': 2.0, 'hum': 2.0}
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepdict.audio import Audio as Audio
    from sepdict.augmentation import AugmentationConfig as AugmentationConfig
    from sepdict.batch import separate_folder as separate_folder
    from sepdict.comparison import Comparison as Comparison
    from sepdict.comparison import compare as compare
    from sepdict.composition import Composition as Composition
    from sepdict.composition import CompositionConfig as CompositionConfig
    from sepdict.composition import compose as compose
    from sepdict.descent import TrainingConfig as TrainingConfig
    from sepdict.dictionary import Dictionary as Dictionary
    from sepdict.errors import SepdictError as SepdictError
    from sepdict.evaluation import evaluate as evaluate
    from sepdict.excitations import FitConfig as FitConfig
    from sepdict.networks import NetworkConfig as NetworkConfig
    from sepdict.outputs import OutputConfig as OutputConfig
    from sepdict.portrait import inspect_dictionary as inspect_dictionary
    from sepdict.recordings import read_audio as read_audio
    from sepdict.recordings import write_audio as write_audio
    from sepdict.regularisers import Regularisation as Regularisation
    from sepdict.separation import Separation as Separation
    from sepdict.separation import separate as separate
    from sepdict.synthesis import synthesize as synthesize
    from sepdict.training import PRESETS as PRESETS
    from sepdict.training import REGULARISERS as REGULARISERS
    from sepdict.training import regularised as regularised
    from sepdict.training import train_dictionary as train_dictionary
    from sepdict.work import BatchConfig as BatchConfig

# Threads that wait for work must sleep, not spin: on shared cores spinning costs factors. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "PRESETS": "training",
    "REGULARISERS": "training",
    "Audio": "audio",
    "AugmentationConfig": "augmentation",
    "BatchConfig": "work",
    "Comparison": "comparison",
    "Composition": "composition",
    "CompositionConfig": "composition",
    "Dictionary": "dictionary",
    "FitConfig": "excitations",
    "NetworkConfig": "networks",
    "OutputConfig": "outputs",
    "Regularisation": "regularisers",
    "Separation": "separation",
    "SepdictError": "errors",
    "TrainingConfig": "descent",
    "compare": "comparison",
    "compose": "composition",
    "evaluate": "evaluation",
    "inspect_dictionary": "portrait",
    "read_audio": "recordings",
    "regularised": "training",
    "separate": "separation",
    "separate_folder": "batch",
    "synthesize": "synthesis",
    "train_dictionary": "training",
    "write_audio": "recordings",
}
"""The public names, and the modules that they come from: loaded when first used, for torch takes seconds (PEP 562)."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    """List the public names as well, loaded or not."""
    return sorted({*globals(), *_HOMES})
