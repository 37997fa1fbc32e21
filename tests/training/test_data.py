"""Lessons: every frame is counted once, and what is held out is held out everywhere."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from real_audio import RATE, SMALL, shapes, solo

from sepdict._core.devices import seeded_generator
from sepdict.audio.signal import Audio, resample
from sepdict.dictionaries.exemplars import decode_exemplars, encode_exemplars
from sepdict.training.config import TrainingConfig
from sepdict.training.data import (
    FrameConfig,
    RecordingFrames,
    batches,
    build_training_set,
    collect_exemplars,
    cut_held_out,
    extract_frames,
    hold_out,
    patches,
)

FRAMES = FrameConfig(RATE, SMALL, -60.0, 2)
CPU = torch.device("cpu")


def stereo(name: str = "speech") -> Audio:
    """Two different stretches of a solo, one in each channel."""
    one, other = solo(name), solo(name, start_s=4.0)
    n_samples = min(one.n_samples, other.n_samples)
    return replace(one, samples=torch.cat([one.samples[:, :n_samples], other.samples[:, :n_samples]]))


def held_out(*recordings: Audio, share: float = 0.2) -> list[RecordingFrames]:
    return hold_out([extract_frames(recording, FRAMES) for recording in recordings], share, seeded_generator(0))


# Batches


def drawn(weights: torch.Tensor, n_patch: int, n_batch: int, n_batches: int) -> list[torch.Tensor]:
    """Frame numbers of the first batches."""
    return list(itertools.islice(batches(weights, n_patch, n_batch, seeded_generator(0)), n_batches))


def weights_of(n_frames: int) -> torch.Tensor:
    """Two frames of three count; some are silent or held out."""
    return (torch.arange(n_frames) % 3 > 0).float() * (1 + torch.arange(n_frames))


@given(n_frames=st.integers(3, 200), n_batch=st.integers(0, 70))
def test_a_pass_takes_every_frame_that_counts_once_and_no_other(n_frames: int, n_batch: int) -> None:
    weights = weights_of(n_frames)
    counted = weights.nonzero().flatten().tolist()
    n_batches = -(-len(counted) // n_batch) if n_batch else 1
    both = drawn(weights, 1, n_batch, 2 * n_batches)
    for one_pass in (both[:n_batches], both[n_batches:]):
        assert sorted(torch.cat(one_pass).flatten().tolist()) == counted
        assert all(len(batch) <= (n_batch or len(counted)) for batch in one_pass)


@given(n_frames=st.integers(1, 200), n_patch=st.integers(2, 40), n_batch=st.integers(0, 100))
def test_a_pass_of_pieces_leaves_out_no_frame_that_counts(n_frames: int, n_patch: int, n_batch: int) -> None:
    weights = weights_of(n_frames) + 1e-3 * (torch.arange(n_frames) == 0)
    pieces = patches(weights, n_patch, first=n_batch)
    assert set(weights.nonzero().flatten().tolist()) <= set(pieces.flatten().tolist())
    assert (pieces.diff(dim=1) == 1).all()
    assert pieces.unique(return_counts=True)[1].max() <= 3  # at the ends pieces overlap
    for batch in drawn(weights, n_patch, n_batch, 3):
        assert batch.numel() <= max(n_batch, min(n_patch, n_frames)) if n_batch else len(batch) >= len(pieces) - 1


def test_passes_come_in_other_orders_and_the_same_seed_draws_the_same() -> None:
    first, second = drawn(torch.ones(100), 1, 0, 2)
    assert not torch.equal(first, second)
    assert torch.equal(first, drawn(torch.ones(100), 1, 0, 1)[0])


# Holding out


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_of_both_channels_the_same_time_is_held_out(share: float) -> None:
    (sound,) = held_out(stereo(), share=share)
    training_set = build_training_set([sound], 0.5, CPU)
    learned, validated = (
        weights.reshape(sound.active.shape) > 0
        for weights in (training_set.training_weights, training_set.validation_weights)
    )
    assert not (learned.any(dim=0) & validated.any(dim=0)).any()
    assert torch.equal(learned | validated, sound.active)
    assert (learned.any(dim=1) & validated.any(dim=1)).all()
    assert float(validated.sum() / sound.active.sum()) == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_a_frame_counts_by_its_level_and_silence_not_at_all(exponent: float) -> None:
    sound = extract_frames(solo("speech"), FRAMES)
    level, weights = sound.magnitude.mean(dim=0), build_training_set([sound], exponent, CPU).training_weights
    active = sound.active.flatten()
    assert not weights[~active].any()
    expected = level[active] ** exponent
    torch.testing.assert_close(weights[active], expected / expected.mean())


def test_shapes_of_a_lesson_average_one_or_are_silent() -> None:
    training_set = build_training_set([extract_frames(stereo(), FRAMES)], 0.5, CPU)
    means = training_set.shapes.mean(dim=1)
    torch.testing.assert_close(means[means > 0], torch.ones(int((means > 0).sum())))
    assert (means[training_set.training_weights > 0] > 0).all()
    torch.testing.assert_close(shapes("speech").mean(dim=0), torch.ones(shapes("speech").shape[1]))


@pytest.mark.parametrize("rate", [RATE, 11025, 44100])
@pytest.mark.parametrize("recording", ["mono", "stereo"])
def test_beginnings_end_where_what_is_held_out_begins(rate: int, recording: str) -> None:
    audio = resample(solo("speech") if recording == "mono" else stereo(), rate)
    sounds = held_out(audio)
    first_s = int(sounds[0].held_out.nonzero()[0]) * FRAMES.frame_s  # the middle of the first frame held out
    (kept,) = cut_held_out([audio], sounds, FRAMES)
    assert kept.duration_s == pytest.approx(first_s, abs=1 / rate)
    assert torch.equal(kept.samples, audio.samples[:, : kept.n_samples])
    assert kept.sample_rate == rate


def test_recordings_that_are_wholly_held_out_or_silent_have_no_beginning() -> None:
    recordings = [solo("speech", start_s=start_s, duration_s=1.5) for start_s in range(8)]
    recordings.append(Audio(torch.zeros(1, RATE), RATE))
    sounds = held_out(*recordings, share=0.1)
    whole = [bool(sound.held_out.all()) for sound in sounds]
    assert sum(whole[:-1]) == 1
    kept = cut_held_out(recordings, sounds, FRAMES)
    expected = [recording for recording, held in zip(recordings[:-1], whole[:-1], strict=True) if not held]
    assert len(kept) == len(expected) == 7
    assert all(torch.equal(one.samples, other.samples) for one, other in zip(kept, expected, strict=True))


# Exemplars


def test_exemplars_end_with_what_was_held_out() -> None:
    sounds = held_out(stereo(), solo("piano"))
    exemplars, n_held_out = collect_exemplars(sounds, FRAMES, exemplars_s=600)
    marked = [(sound, sound.held_out.repeat(len(sound.active)), sound.active.flatten()) for sound in sounds]
    learned, validated = (
        torch.cat([sound.magnitude[:, active & (held == last)] for sound, held, active in marked], dim=1)
        for last in (False, True)
    )
    assert n_held_out == validated.shape[1]
    assert torch.equal(exemplars, encode_exemplars(torch.cat([learned, validated], dim=1), n_most_frames=10**6))


@pytest.mark.parametrize("exemplars_s", [0.0, 2.0, 3.1, 5.0, 9.0])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_how_many_frames_of_short_exemplars_were_held_out_is_known(exemplars_s: float, share: float) -> None:
    """What is held out is heard in the highest bin alone, so that it can be told in the exemplars."""
    sounds = held_out(solo("speech", duration_s=7.0), solo("piano", duration_s=5.0), share=share)
    n_bins = SMALL.n_bins
    low, high = torch.eye(n_bins)[:, :1], torch.eye(n_bins)[:, -1:]
    sounds = [replace(each, magnitude=torch.where(each.held_out, high, low)) for each in sounds]
    exemplars, n_held_out = collect_exemplars(sounds, FRAMES, exemplars_s=exemplars_s)
    told = decode_exemplars(exemplars)[-1] > 0.01
    assert n_held_out == int(told.sum())
    assert told[len(told) - n_held_out :].all()


# Settings that were chosen by measuring: what each was chosen for


def test_by_default_soft_notes_are_learned_and_hiss_does_not_take_over() -> None:
    """What frames of a note, of one 20 dB softer and of hiss 55 dB down count, all of them as many."""
    config = TrainingConfig()
    frames = FrameConfig(RATE, SMALL, config.silence_db, 0)
    tone = torch.sin(torch.arange(RATE) * 0.6)
    levels_db = torch.tensor([0.0, -20.0, -55.0, -62.0]).repeat_interleave(RATE)
    sound = extract_frames(Audio(tone.repeat(4) * 10 ** (levels_db / 20), RATE), frames)
    weights = build_training_set([sound], config.level_exponent, CPU).training_weights
    per_s = RATE // SMALL.hop_length
    loud, soft, hiss, below = (float(weights[i * per_s + 5 : (i + 1) * per_s - 5].mean()) for i in range(4))
    assert 0.2 < soft / loud < 0.5
    assert 0 < hiss / loud < 0.1
    assert below == 0  # what is 60 dB down is silence


def test_an_offset_does_not_click_at_the_ends_of_what_is_learned() -> None:
    speech = solo("speech")
    plain = replace(speech, samples=speech.samples - speech.samples.mean())
    shifted = replace(plain, samples=plain.samples + 0.3)
    one, other = (extract_frames(each, FRAMES).magnitude for each in (plain, shifted))
    torch.testing.assert_close(other, one, rtol=0, atol=1e-3)
