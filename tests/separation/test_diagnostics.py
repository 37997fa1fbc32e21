"""What is kept of a separation over time: the same in columns as in frames, however it comes."""

import math
from dataclasses import replace

import pytest
import torch
from front_end import mixture, trained
from hypothesis import given
from hypothesis import strategies as st

from sepdict.separation.config import FitConfig, SeparationConfig
from sepdict.separation.diagnostics import N_COLUMNS, Frames, TimelineRecorder
from sepdict.separation.engine import separate
from sepdict.spectral.pooling import Columns

DRAFT = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)


@given(n_frames=st.integers(1, 50), n_columns=st.integers(1, 20), n_pieces=st.integers(1, 5), seed=st.integers(0, 9))
def test_columns_keep_the_sum_whatever_the_pieces_and_their_order(
    n_frames: int, n_columns: int, n_pieces: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values, times_s = torch.rand(3, n_frames, generator=generator), 2 * torch.rand(n_frames, generator=generator)
    whole, pieces = Columns(2.0, n_columns), Columns(2.0, n_columns)
    whole.add(times_s, values)
    for piece in reversed(range(n_pieces)):
        pieces.add(times_s[piece::n_pieces], values[:, piece::n_pieces])
    torch.testing.assert_close(pieces.sums, whole.sums)
    torch.testing.assert_close(whole.sums.sum(dim=1), values.double().sum(dim=1))


def test_columns_of_a_constant_are_that_constant_also_where_no_frame_fell() -> None:
    columns = Columns(1.0, 10)
    columns.add(torch.tensor([0.0, 0.35, 0.9]), torch.full((2, 3), 7.0))
    assert columns.means().eq(7).all()


@pytest.mark.parametrize("segment_s", [60.0, 3.0])
def test_the_timeline_explains_as_much_as_the_whole(segment_s: float) -> None:
    sources = [trained("hiss"), trained("hum")]
    separation = separate(mixture(n_samples=60000, n_channels=2), sources, replace(DRAFT, segment_s=segment_s))
    timeline = separation.timeline
    assert separation.n_segments == (1 if segment_s == 60 else 4)
    assert timeline.explained_energy == separation.explained_energy
    step_s, shares = timeline.explained(0.5)
    assert step_s == pytest.approx(0.5, abs=timeline.step_s)
    assert len(shares) == math.ceil(len(timeline.energy) * timeline.step_s / step_s - 1e-9)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert [code.shape for code in timeline.excitations] == [(2, len(timeline.energy))] * 2
    assert timeline.gains.shape == (2, len(timeline.energy))
    assert timeline.step_s * len(timeline.energy) == pytest.approx(7.5)


def test_silence_has_no_share_as_a_whole_either() -> None:
    silence = mixture(n_samples=8000)
    separation = separate(type(silence)(0 * silence.samples, 8000), [trained("hiss"), trained("hum")], DRAFT)
    assert math.isnan(separation.timeline.explained_energy)
    assert separation.timeline.explained(0.1)[1].isnan().all()


def test_what_sounds_in_one_place_is_there() -> None:
    sound = mixture(n_samples=16000)
    sound.samples[:, :8000] = 0
    timeline = separate(sound, [trained("hiss"), trained("hum")], DRAFT).timeline
    half = len(timeline.energy) // 2
    assert timeline.gains[:, : half - 3].amax() < 1e-3 * timeline.gains[:, half + 3 :].amax()
    assert timeline.energy[: half - 3].sum() < 1e-6 * timeline.energy.sum()


def test_hours_are_kept_in_no_more_columns_than_a_few_thousand() -> None:
    recorder = TimelineRecorder(3 * 3600.0, 0.016)
    frames = Frames(torch.ones(3000), torch.zeros(3000), torch.ones(1, 3000), (torch.ones(16, 3000),))
    recorder.add(0.0, frames)
    recorder.add(3 * 3600 - 48.0, frames)
    timeline = recorder.timeline()
    assert len(timeline.energy) == N_COLUMNS
    assert timeline.energy.sum() == 6000


def test_a_timeline_prints_as_one_line_however_long_it_is() -> None:
    timeline = separate(mixture(n_samples=16000), [trained("hiss"), trained("hum")], DRAFT).timeline
    assert "\n" not in repr(timeline)
    assert len(repr(timeline)) < 120
    assert f"2 sources, {len(timeline.energy)} columns" in repr(timeline)
