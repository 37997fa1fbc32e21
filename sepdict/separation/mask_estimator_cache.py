"""Trained mask estimators on disk, so that no set of dictionaries needs the training twice."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import safetensors.torch

from sepdict._core.cache import cache_folder, keep_latest
from sepdict._core.devices import AUTO
from sepdict._core.fs import write_atomically
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit
from sepdict.dictionaries.tensor_file import TensorFileError, open_tensors
from sepdict.errors import ConfigError
from sepdict.models.mask_network import MaskNetwork
from sepdict.progress import OnProgress, ignore_progress
from sepdict.separation.config import MaskEstimatorConfig
from sepdict.separation.mask_estimator import MaskEstimator, gives_masks, train_mask_estimator
from sepdict.spectral.bands import n_bands

log = logging.getLogger(__name__)

CACHE_VERSION = 2  # rises when training on the same dictionaries gives other weights
MOST_CACHED = 64  # files, of some 2 MiB each; the least recently used are deleted first
PREFIX = "mask_estimator"


def cached_mask_estimator(
    dictionaries: Sequence[Dictionary],
    config: MaskEstimatorConfig | None = None,
    *,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> MaskEstimator:
    """Load the mask estimator of these dictionaries and settings from the cache, or train it and save it there.

    The cache is the folder that the environment variable ``SEPDICT_CACHE`` names, by default the user's cache folder;
    it can be deleted at any time.

    Parameters and exceptions are those of :func:`train_mask_estimator`.
    """
    config = MaskEstimatorConfig() if config is None else config
    refuse_unfit(dictionaries)
    key = _key_of(dictionaries, config)
    sources = tuple(sorted(dictionary.source for dictionary in dictionaries))
    network = MaskNetwork(len(sources), n_bands(dictionaries[0].card.stft.n_bins), config.width)
    if _load_weights(network, key):
        log.debug("the mask estimator was trained before; loaded from %s", cache_folder())
        return MaskEstimator(sources, network)
    mask_estimator = train_mask_estimator(dictionaries, config, device=device, on_progress=on_progress)
    try:
        _save(mask_estimator, key)
    except OSError as error:
        why = f"{cache_folder()}: {error.strerror}; have SEPDICT_CACHE name a folder that can be written to"
        log.warning("the mask estimator cannot be kept, it will be trained again (%s)", why)
    except ConfigError as error:
        log.warning("the mask estimator cannot be kept, it will be trained again (%s)", error)
    return mask_estimator


def _key_of(dictionaries: Sequence[Dictionary], config: MaskEstimatorConfig) -> str:
    """Compute a checksum of everything on which the trained weights depend."""
    checksums = sorted(dictionary.sha256 for dictionary in dictionaries)
    settings = asdict(config)
    del settings["n_adaptation_steps"]  # adaptation comes after training
    facts = json.dumps([CACHE_VERSION, settings, checksums])
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _load_weights(network: MaskNetwork, key: str) -> bool:
    """Load weights of this key into a network, and return whether there were any that are sound and whole."""
    try:
        folder = cache_folder()
    except ConfigError:  # reported when the trained network cannot be saved
        return False
    expected = {name: (weight.dtype, tuple(weight.shape)) for name, weight in network.state_dict().items()}
    for path in folder.glob(f"{PREFIX}-{key}-*.safetensors"):
        with contextlib.suppress(OSError, TensorFileError):  # damaged or foreign: train anew
            with open_tensors(path) as file:
                weights = file.read(expected)
            network.load_state_dict(weights)
            if path == _path_of(key, safetensors.torch.save(weights)) and gives_masks(network):
                with contextlib.suppress(OSError):  # a read-only folder will do
                    path.touch()
                return True
    return False


def _save(mask_estimator: MaskEstimator, key: str) -> None:
    """Write a mask estimator to the cache, and delete the least recently used ones beyond `MOST_CACHED`."""
    content = safetensors.torch.save(mask_estimator.network.state_dict())
    cache_folder().mkdir(parents=True, exist_ok=True)
    write_atomically(_path_of(key, content), content)
    keep_latest(f"{PREFIX}-*.safetensors", MOST_CACHED)


def _path_of(key: str, content: bytes) -> Path:
    """Return a file name with the key and a checksum of the content, by which a flipped bit is noticed."""
    return cache_folder() / f"{PREFIX}-{key}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
