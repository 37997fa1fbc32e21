"""The settings of a separation, and how they act."""

import contextlib
import math

import pytest
from front_end import mixture, trained

from sepdict.audio.overlap_add import OVERLAP_S
from sepdict.errors import ConfigError
from sepdict.separation.config import SHORTEST_SEGMENT_S, FitConfig, MaskEstimatorConfig, SeparationConfig
from sepdict.separation.engine import separate
from sepdict.separation.mask_estimator import MaskEstimator


def test_a_draft_has_no_mask_estimator_and_the_standard_quality_changes_nothing() -> None:
    config = SeparationConfig(FitConfig(n_iterations=3), residual=True)
    assert config.at_quality("standard") == config
    assert config.at_quality("draft") == SeparationConfig(FitConfig(n_iterations=3), None, residual=True)


def test_quick_trains_the_mask_estimator_for_less_and_never_for_more() -> None:
    config = SeparationConfig(mask_estimator=MaskEstimatorConfig(n_steps=2500, n_cuts=6, seed=3))
    assert config.at_quality("quick").mask_estimator == MaskEstimatorConfig(n_steps=2000, n_cuts=4, seed=3)
    few = SeparationConfig(mask_estimator=MaskEstimatorConfig(n_steps=600, n_cuts=2))
    assert few.at_quality("quick") == few
    alone = SeparationConfig(mask_estimator=None)
    assert alone.at_quality("quick") == alone


def test_an_unknown_quality_is_refused() -> None:
    with pytest.raises(ConfigError, match="quality is 'best'; expected one of draft, quick, standard"):
        SeparationConfig().at_quality("best")  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"residual": True}, {"background_model": True}])
def test_beside_a_residual_guide_masks_have_no_weight_and_are_not_adapted(settings: dict[str, bool]) -> None:
    config = SeparationConfig(mask_estimator=MaskEstimatorConfig(n_steps=7), **settings)
    acting = config.in_effect(has_mask_estimator=True, n_dictionaries=2)
    assert acting.fit == FitConfig(guide_weight=0.0)
    assert acting.mask_estimator == MaskEstimatorConfig(n_steps=7, n_adaptation_steps=0)


def test_settings_say_when_no_mask_estimator_could_be_trained() -> None:
    acting = SeparationConfig().in_effect(has_mask_estimator=False, n_dictionaries=2)
    assert (acting.mask_estimator, acting.fit.guide_weight) == (None, 0.0)
    assert SeparationConfig().in_effect(has_mask_estimator=True, n_dictionaries=2) == SeparationConfig()


def test_one_dictionary_has_a_residual() -> None:
    assert SeparationConfig().has_residual(1)
    assert not SeparationConfig().has_residual(2)


def test_the_mask_estimator_of_one_dictionary_is_trained_briefly_and_follows_the_background_model() -> None:
    settings = MaskEstimatorConfig(n_steps=3000)
    assert settings.for_dictionaries(1).n_steps < settings.for_dictionaries(2).n_steps == 3000
    assert MaskEstimatorConfig(n_steps=7).for_dictionaries(1).n_steps == 7
    acting = SeparationConfig().in_effect(has_mask_estimator=True, n_dictionaries=1)
    assert acting.background_model
    assert acting.in_effect(has_mask_estimator=True, n_dictionaries=1) == acting
    assert not SeparationConfig().in_effect(has_mask_estimator=False, n_dictionaries=1).background_model


def test_a_trained_mask_estimator_and_settings_without_one_contradict_each_other() -> None:
    pair = [trained("hiss"), trained("hum")]
    estimator = object.__new__(MaskEstimator)
    with pytest.raises(ConfigError, match="trained_mask_estimator is given, but mask_estimator is None"):
        separate(mixture(), pair, SeparationConfig(mask_estimator=None), trained_mask_estimator=estimator)


@pytest.mark.parametrize(("segment_s", "is_sound"), [(3.0, True), (2.99, False), (math.nan, False)])
def test_a_segment_lasts_three_overlaps_at_least(segment_s: float, is_sound: bool) -> None:
    assert SHORTEST_SEGMENT_S == 3 * OVERLAP_S
    with contextlib.nullcontext() if is_sound else pytest.raises(ConfigError, match="expected 3 s or more"):
        SeparationConfig(segment_s=segment_s)
