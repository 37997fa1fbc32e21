"""Damaged and forged files give a result or one line, the same few in every run; `fuzz.py` explores many more."""

import random

import pytest
from fuzz_targets import AUDIO, DICTIONARIES, LABELS, MANIFESTS, MASK_ESTIMATORS, REFERENCES, UPLOADS, Target, laid_out
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHORT = settings(max_examples=12, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**32 - 1)


def hold(target: Target, chosen: int) -> None:
    """Damage one of the target's files, and try it out."""
    rng, whole = random.Random(chosen), target.seeds()
    name = rng.choice(sorted(whole))
    with laid_out(name, target.mutate(whole[name], rng, list(whole.values()))) as path:
        target.try_out(path)


@pytest.mark.parametrize("name", sorted(AUDIO.seeds()))
def test_whole_recordings_of_every_kind_are_read(name: str) -> None:
    with laid_out(name, AUDIO.seeds()[name]) as path:
        assert AUDIO.try_out(path) == "read"


@SHORT
@given(SEEDS)
def test_a_damaged_recording_is_read_or_refused_in_one_line(chosen: int) -> None:
    hold(AUDIO, chosen)


@SHORT
@given(SEEDS)
def test_a_forged_dictionary_is_loaded_or_refused_in_one_line(chosen: int) -> None:
    hold(DICTIONARIES, chosen)


@SHORT
@given(SEEDS)
def test_an_odd_manifest_moves_nothing_and_keeps_only_what_is_finished(chosen: int) -> None:
    hold(MANIFESTS, chosen)


@SHORT
@given(SEEDS)
def test_an_odd_mask_estimator_is_taken_from_the_cache_only_if_it_shares_out_what_sounds(chosen: int) -> None:
    hold(MASK_ESTIMATORS, chosen)


@pytest.mark.parametrize("name", sorted(LABELS.seeds()))
def test_whole_files_of_labels_are_read(name: str) -> None:
    with laid_out(name, LABELS.seeds()[name]) as path:
        assert LABELS.try_out(path) == "read"


@settings(SHORT, max_examples=60)
@given(SEEDS)
def test_an_odd_file_of_labels_is_read_or_refused_in_one_line(chosen: int) -> None:
    hold(LABELS, chosen)


@settings(SHORT, max_examples=6)  # each takes longer
@given(SEEDS)
def test_a_damaged_reference_is_scored_or_refused_in_one_line(chosen: int) -> None:
    hold(REFERENCES, chosen)


@SHORT
@given(SEEDS)
def test_what_is_brought_to_the_page_is_taken_or_refused_in_one_line_and_leaves_nothing(chosen: int) -> None:
    hold(UPLOADS, chosen)
