"""Audio source separation with one dictionary per source.

The way of a mixture goes from bottom to top, and a package imports only from those below it (a contract in
pyproject.toml holds that); each package's docstring says in one sentence what lives there.

    web             the page that a browser shows            (the command line, sepdict_cli, stands beside it)
    batch           files of mixtures in, files of stems out; `track` is one mixture's way, `publishing` its last step
    reports         pages and pictures of what was done
    evaluation      stems against references
    separation      a mixture in, masks and stems out: `engine`, whose heart is `excitations`
    training        solo recordings in, a dictionary out
    dictionaries    what one source can sound like, and its file, checked in `dictionary` and `schema`
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

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepdict.audio.augmentation import AugmentationConfig as AugmentationConfig
    from sepdict.audio.io import read_audio as read_audio
    from sepdict.audio.io import write_audio as write_audio
    from sepdict.audio.signal import Audio as Audio
    from sepdict.batch.export import OutputConfig as OutputConfig
    from sepdict.batch.run import separate_folder as separate_folder
    from sepdict.batch.track import BatchConfig as BatchConfig
    from sepdict.dictionaries.dictionary import Dictionary as Dictionary
    from sepdict.dictionaries.synthesis import synthesize as synthesize
    from sepdict.errors import SepdictError as SepdictError
    from sepdict.evaluation.scoring import evaluate as evaluate
    from sepdict.evaluation.separability import Comparison as Comparison
    from sepdict.evaluation.separability import compare as compare
    from sepdict.models.network_config import NetworkConfig as NetworkConfig
    from sepdict.reports.dictionary_report import inspect_dictionary as inspect_dictionary
    from sepdict.separation.config import SeparationConfig as SeparationConfig
    from sepdict.separation.engine import separate as separate
    from sepdict.separation.excitations import FitConfig as FitConfig
    from sepdict.separation.mask_estimator import MaskEstimator as MaskEstimator
    from sepdict.separation.mask_estimator import MaskEstimatorConfig as MaskEstimatorConfig
    from sepdict.separation.mask_estimator import train_mask_estimator as train_mask_estimator
    from sepdict.separation.result import Separation as Separation
    from sepdict.training.regularization import Regularization as Regularization
    from sepdict.training.train import PRESETS as PRESETS
    from sepdict.training.train import REGULARIZERS as REGULARIZERS
    from sepdict.training.train import regularized as regularized
    from sepdict.training.train import train_dictionary as train_dictionary
    from sepdict.training.trainer import TrainingConfig as TrainingConfig

# Threads that wait for work must sleep, not spin: on shared cores spinning costs factors. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {
    "PRESETS": "training.train",
    "REGULARIZERS": "training.train",
    "Audio": "audio.signal",
    "AugmentationConfig": "audio.augmentation",
    "BatchConfig": "batch.track",
    "Comparison": "evaluation.separability",
    "MaskEstimator": "separation.mask_estimator",
    "MaskEstimatorConfig": "separation.mask_estimator",
    "Dictionary": "dictionaries.dictionary",
    "FitConfig": "separation.excitations",
    "NetworkConfig": "models.network_config",
    "OutputConfig": "batch.export",
    "Regularization": "training.regularization",
    "Separation": "separation.result",
    "SeparationConfig": "separation.config",
    "SepdictError": "errors",
    "TrainingConfig": "training.trainer",
    "compare": "evaluation.separability",
    "train_mask_estimator": "separation.mask_estimator",
    "evaluate": "evaluation.scoring",
    "inspect_dictionary": "reports.dictionary_report",
    "read_audio": "audio.io",
    "regularized": "training.train",
    "separate": "separation.engine",
    "separate_folder": "batch.run",
    "synthesize": "dictionaries.synthesis",
    "train_dictionary": "training.train",
    "write_audio": "audio.io",
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
