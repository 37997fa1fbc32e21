"""Settings of a wrong type are refused in one clear line, wherever they are taken."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from front_end import sound, trained

from sepdict import (
    AugmentationConfig,
    FitConfig,
    MaskEstimatorConfig,
    NetworkConfig,
    Regularization,
    SeparationConfig,
    TrainingConfig,
    regularized,
    train_dictionary,
)
from sepdict._core.settings import refuse_other_type
from sepdict.errors import ConfigError
from sepdict.separation.excitations import fit_excitations
from sepdict.spectral.stft import StftConfig


@pytest.mark.parametrize(
    ("kind", "name", "value", "expected"),
    [
        (TrainingConfig, "network", "dense", "NetworkConfig"),
        (TrainingConfig, "network", None, "NetworkConfig"),
        (TrainingConfig, "stft", 512, "StftConfig or None"),
        (TrainingConfig, "augmentation", True, "AugmentationConfig or None"),
        (TrainingConfig, "regularization", "sparse", "Regularization"),
        (TrainingConfig, "n_steps", "5", "int"),
        (TrainingConfig, "n_steps", 2.5, "int"),
        (TrainingConfig, "divergence", 2, "str"),
        (TrainingConfig, "learning_rate", NetworkConfig, "float"),
        (FitConfig, "n_iterations", "5", "int"),
        (FitConfig, "guide_weight", None, "float"),
        (MaskEstimatorConfig, "seed", None, "int"),
        (SeparationConfig, "fit", SeparationConfig(), "FitConfig"),
        (SeparationConfig, "mask_estimator", True, "MaskEstimatorConfig or None"),
        (NetworkConfig, "hidden", 256, "tuple"),
        (AugmentationConfig, "background_snr_db", 3, "tuple"),
        (Regularization, "dropout", "a", "float"),
        (StftConfig, "n_fft", 512.0, "int"),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(
    kind: Callable[..., Any], name: str, value: object, expected: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} is .*; expected {re.escape(expected)}$"):
        kind(**{name: value})


def test_numbers_of_numpy_and_whole_numbers_for_floats_are_taken() -> None:
    assert TrainingConfig(n_steps=np.int64(3), learning_rate=np.float32(0.5)).n_steps == 3
    assert FitConfig(guide_weight=0).guide_weight == 0
    assert StftConfig(n_fft=np.int32(512), hop_length=np.int64(128)) == StftConfig(512, 128)
    assert NetworkConfig(hidden=[8, np.int64(8)]) == NetworkConfig(hidden=(8, 8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (
            TrainingConfig(n_steps=np.int64(3), learning_rate=np.float64(0.5)),
            TrainingConfig(n_steps=3, learning_rate=0.5),
        ),
        (AugmentationConfig(background_snr_db=(np.float32(1), 2)), AugmentationConfig(background_snr_db=(1.0, 2.0))),
        (FitConfig(guide_weight=0, n_iterations=True), FitConfig(guide_weight=0.0, n_iterations=1)),
        (SeparationConfig(segment_s=60, residual=False), SeparationConfig(segment_s=60.0)),
    ],
    ids=lambda config: type(config).__name__,
)
def test_settings_that_are_equal_are_written_alike(given: Any, plain: Any) -> None:
    assert json.dumps(asdict(given)) == json.dumps(asdict(plain))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda config: train_dictionary(sound(n_samples=9000), config, source="x"), "TrainingConfig or None"),
        (lambda config: regularized(config, {"l2": 0.1}), "TrainingConfig"),
        (lambda config: fit_excitations(np.ones((1, 257, 3)), [trained("hiss")], config), "FitConfig"),
    ],
)
@pytest.mark.parametrize("config", ["convolutional", {"residual": True}, TrainingConfig, NetworkConfig()])
def test_what_is_no_configuration_is_refused(call: Callable[[Any], object], expected: str, config: object) -> None:
    with pytest.raises(ConfigError, match=f"^config is .*; expected {expected}$"):
        call(config)


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(ConfigError) as refusal:
        refuse_other_type("config", {f"setting {n}": list(range(n)) for n in range(1000)}, FitConfig)
    assert len(str(refusal.value)) < 200
