"""Audio source separation with one dictionary per source.

The package reads top to bottom as sound flows; a module imports only from rows above its own.

    0  errors, progress, files, ffmpeg, charts, pages
    1  devices, folders, jobs, audio, spectrogram, bands, columns, divergences, layers
    2  recordings, segments, networks, masks, memory, metrics, optimizers
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
       report          and as a page
       plots           pictures of what a dictionary has learned
    8  work            one mixture's way from its file to those of its stems
       portrait        pictures and sounds of a dictionary, in a folder
    9  batch           many mixtures in one go

Examples
--------
>>> import torch
>>> hiss, hum = torch.randn(16000), torch.randn(16000).cumsum(0) / 100
>>> quick = TrainingConfig(n_steps=5)
>>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
>>> separation = separate(Audio(hiss + hum, 8000), dictionaries, FitConfig(composition_weight=0))
>>> {name: stem.duration_s for name, stem in separation.stems.items()}
{'hiss': 2.0, 'hum': 2.0}
"""

import os

# Threads that wait for work must sleep, not spin: on shared cores spinning costs factors. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sepdict.audio import Audio
from sepdict.augmentation import AugmentationConfig
from sepdict.batch import separate_folder
from sepdict.comparison import Comparison, compare
from sepdict.composition import Composition, CompositionConfig, compose
from sepdict.descent import TrainingConfig
from sepdict.dictionary import Dictionary
from sepdict.errors import SepdictError
from sepdict.evaluation import evaluate
from sepdict.excitations import FitConfig
from sepdict.networks import NetworkConfig
from sepdict.outputs import OutputConfig
from sepdict.portrait import inspect_dictionary
from sepdict.recordings import read_audio, write_audio
from sepdict.regularisers import Regularisation
from sepdict.separation import Separation, separate
from sepdict.synthesis import synthesize
from sepdict.training import PRESETS, REGULARISERS, regularised, train_dictionary
from sepdict.work import BatchConfig

__all__ = [
    "PRESETS",
    "REGULARISERS",
    "Audio",
    "AugmentationConfig",
    "BatchConfig",
    "Comparison",
    "Composition",
    "CompositionConfig",
    "Dictionary",
    "FitConfig",
    "NetworkConfig",
    "OutputConfig",
    "Regularisation",
    "Separation",
    "SepdictError",
    "TrainingConfig",
    "compare",
    "compose",
    "evaluate",
    "inspect_dictionary",
    "read_audio",
    "regularised",
    "separate",
    "separate_folder",
    "synthesize",
    "train_dictionary",
    "write_audio",
]
