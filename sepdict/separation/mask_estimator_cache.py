"""Trained mask estimators on disk, so that no set of dictionaries needs the training twice."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict

from sepdict._core.cache import cache_folder, made_and_kept
from sepdict._core.devices import AUTO
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit
from sepdict.dictionaries.tensor_cache import cached_tensors, keep_tensors
from sepdict.models.mask_network import MaskNetwork
from sepdict.progress import OnProgress, ignore_progress
from sepdict.separation import everyday
from sepdict.separation.config import MaskEstimatorConfig
from sepdict.separation.mask_estimator import MaskEstimator, gives_masks, sources_of, train_mask_estimator
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
    sources = sources_of(dictionaries)
    network = MaskNetwork(len(sources), n_bands(dictionaries[0].card.stft.n_bins), config.width, n_ahead=config.n_ahead)
    weights = cached_tensors(PREFIX, key, network.state_dict())
    if weights is not None:
        network.load_state_dict(weights)
        if gives_masks(network):
            log.debug("the mask estimator was trained before; loaded from %s", cache_folder())
            return MaskEstimator(sources, network)
    return made_and_kept(
        lambda: train_mask_estimator(dictionaries, config, device=device, on_progress=on_progress),
        lambda made: keep_tensors(PREFIX, key, made.network.state_dict(), n_most=MOST_CACHED),
        otherwise="the mask estimator cannot be kept, it will be trained again",
    )


def _key_of(dictionaries: Sequence[Dictionary], config: MaskEstimatorConfig) -> str:
    """Compute a checksum of everything on which the trained weights depend."""
    checksums = sorted(dictionary.sha256 for dictionary in dictionaries)
    settings = asdict(config)
    del settings["n_adaptation_steps"], settings["n_adaptation_cuts"]  # adaptation comes after training
    versions = [CACHE_VERSION, everyday.VERSION] if len(checksums) == 1 else CACHE_VERSION
    facts = json.dumps([versions, settings, checksums])
    return hashlib.sha256(facts.encode()).hexdigest()[:32]
