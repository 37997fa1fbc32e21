"""Augmentation: every rendition differs from its recording by what was asked for, and by nothing else."""

import functools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sepdict.audio.augmentation import AugmentationConfig, add_background, augment, color, shift_pitch, stretch
from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio, resample
from sepdict.errors import ConfigError

SOLOS = Path(__file__).parents[2] / "data" / "solos"
NAMES = ["violin/airs", "piano/dances", "speech/lincoln"]
NONE = AugmentationConfig(level_db=0, pitch_percent=0, stretch_percent=0, shift_s=0, filter_db=0)
ALL = AugmentationConfig()
RATE = 16000


@functools.cache
def solo(name: str = NAMES[0], *, n_channels: int = 1) -> Audio:
    """Eight seconds of a real recording; a second channel is a third as loud."""
    samples = read_audio(SOLOS / f"{name}.flac").samples[:, RATE : 9 * RATE]
    return Audio(torch.cat([samples, samples / 3])[:n_channels].clone(), RATE, name)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def padded(recording: Audio, n_before: int, n_after: int) -> Audio:
    return replace(recording, samples=torch.nn.functional.pad(recording.samples, (n_before, n_after)))


def level_db(samples: Tensor) -> float:
    return Audio(samples, RATE).level_db


def higher_percent(one: Audio, other: Audio) -> float:
    """By how much the other's mean spectrum lies higher: where both, over the logarithm of frequency, agree best."""
    spectra = []
    hertz = 200 * torch.exp(torch.arange(0, math.log(20), 5e-4))  # 200 to 4000 Hz in steps of 0.05 %
    for audio in (one, other):
        n_fft = 2**14
        frames = torch.stft(audio.samples[0], n_fft, n_fft // 4, window=torch.hann_window(n_fft), return_complex=True)
        mean = frames.abs().mean(dim=1).clamp(min=1e-9).log()
        at = hertz * n_fft / audio.sample_rate
        low = at.long()
        spectrum = mean[low] + (at - low) * (mean[low + 1] - mean[low])
        smooth = torch.nn.functional.avg_pool1d(spectrum[None], 801, 1, 400, count_include_pad=False)[0]
        spectra.append(spectrum - smooth)  # the harmonics, without the envelope
    n = 400  # steps, up to 20 %
    lags = list(range(-n, n + 1))
    match = [float(torch.dot(spectra[0][n:-n], spectra[1][n + lag : len(hertz) - n + lag])) for lag in lags]
    return 100 * math.expm1(5e-4 * lags[match.index(max(match))])


def response_db(gains_db: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Frequencies and what the filter makes of them, from what it makes of a click."""
    n = 2 * sample_rate
    click = torch.zeros(n)
    click[n // 2] = 1
    spectrum = torch.fft.rfft(torch.fft.ifftshift(color(Audio(click, sample_rate), gains_db).samples[0].double()))
    assert spectrum.imag.abs().max() < 1e-4  # zero phase
    assert (spectrum.real > 0).all()
    return torch.fft.rfftfreq(n, 1 / sample_rate)[1:], 20 * torch.log10(spectrum.real[1:])


# --- all together


@pytest.mark.parametrize("name", NAMES)
def test_without_amounts_a_recording_stays_as_it_is(name: str) -> None:
    recording = solo(name, n_channels=2)
    assert torch.equal(augment(recording, NONE, seeded()).samples, recording.samples)


def test_the_same_seed_gives_the_same_rendition_and_another_another() -> None:
    before = torch.random.get_rng_state()
    one, again, other = (augment(solo(), ALL, seeded(s), backgrounds=[solo(NAMES[2])]).samples for s in (0, 0, 1))
    assert torch.equal(one, again)
    n = min(one.shape[1], other.shape[1])
    assert float(torch.cosine_similarity(one[0, :n], other[0, :n], dim=0).abs()) < 0.9
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["pitch_percent", "stretch_percent", "shift_s", "filter_db", "level_db"])
def test_every_amount_alone_makes_a_difference_that_depends_on_the_seed(name: str) -> None:
    config = replace(NONE, **{name: getattr(ALL, name)})
    renditions = [solo(), *(augment(solo(), config, seeded(seed)) for seed in (0, 1))]
    for one, other in zip(renditions, [*renditions[1:], renditions[0]], strict=True):
        n = min(one.n_samples, other.n_samples)
        assert not torch.allclose(one.samples[:, :n], other.samples[:, :n], atol=1e-4)


def test_what_one_amount_draws_does_not_depend_on_the_others() -> None:
    filtered = augment(solo(), replace(NONE, filter_db=6), seeded()).samples
    and_louder = augment(solo(), replace(NONE, filter_db=6, level_db=6), seeded()).samples
    gain = and_louder.norm() / filtered.norm()
    assert abs(20 * math.log10(gain)) > 0.01
    torch.testing.assert_close(and_louder, gain * filtered)


@pytest.mark.parametrize("config", [ALL, NONE])
def test_arguments_are_not_written_into_and_rate_and_name_are_kept(config: AugmentationConfig) -> None:
    recording, background = solo(n_channels=2), solo(NAMES[2])
    digests = recording.sha256, background.sha256
    rendition = augment(recording, config, seeded(), backgrounds=[background])
    assert (recording.sha256, background.sha256) == digests
    assert (rendition.sample_rate, rendition.name, rendition.n_channels) == (RATE, recording.name, 2)


def test_channels_are_treated_alike() -> None:
    for seed in range(3):
        left, right = augment(solo(n_channels=2), replace(ALL, stretch_percent=0), seeded(seed)).samples
        torch.testing.assert_close(right, left / 3, atol=1e-5, rtol=0)
        left, right = augment(solo(n_channels=2), ALL, seeded(seed)).samples
        assert level_db(right - left / 3) < level_db(right) - 40  # which phases lead is a matter of rounding


def test_silence_stays_silence() -> None:
    silence = Audio(torch.zeros(2, 3 * RATE), RATE)
    for backgrounds in ([], [solo()], [silence]):
        assert not augment(silence, ALL, seeded(), backgrounds=backgrounds).samples.any()


def test_sound_is_never_wrapped_around() -> None:
    for n_before, n_after in ((2 * RATE, 0), (0, 2 * RATE)):
        recording = padded(solo(), n_before, n_after)
        for seed in range(3):
            rendition = augment(recording, replace(ALL, filter_db=40), seeded(seed)).samples
            quiet = rendition[:, :RATE] if n_before else rendition[:, -RATE:]
            assert level_db(quiet) < level_db(rendition) - 120


@given(
    st.integers(1, 3000),
    st.sampled_from([100, 8000, 22050, 48000]),
    st.integers(0, 99),
    st.floats(0, 50),
    st.floats(0, 50),
)
def test_any_length_at_any_rate_will_do(
    n_samples: int, rate: int, seed: int, pitch_percent: float, stretch_percent: float
) -> None:
    recording = Audio(torch.randn(2, n_samples, generator=seeded(seed)), rate)
    background = Audio(torch.randn(3000, generator=seeded(seed)), 16000)
    config = AugmentationConfig(pitch_percent=pitch_percent, stretch_percent=stretch_percent)
    rendition = augment(recording, config, seeded(seed), backgrounds=[background])
    assert (rendition.sample_rate, rendition.n_channels) == (rate, 2)
    assert n_samples / 4 - 2 <= rendition.n_samples <= 2 * n_samples + 2


# --- onset


def test_a_rendition_starts_later_by_as_much_as_said_or_less() -> None:
    n_late = set()
    for seed in range(20):
        rendition = augment(solo(), replace(NONE, shift_s=0.01), seeded(seed)).samples
        n_late.add(solo().n_samples - rendition.shape[1])
        assert torch.equal(rendition, solo().samples[:, solo().n_samples - rendition.shape[1] :])
    assert len(n_late) > 10
    assert 0 <= min(n_late) < 40
    assert 120 < max(n_late) <= 160


def test_half_of_a_short_recording_is_always_kept() -> None:
    short = Audio(torch.ones(9), RATE)
    assert min(augment(short, replace(NONE, shift_s=1), seeded(seed)).n_samples for seed in range(40)) == 5


# --- pitch


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("percent", [-10.0, -3.0, 0.5, 3.0])
def test_all_frequencies_move_by_what_pitch_was_shifted(name: str, percent: float) -> None:
    shifted = shift_pitch(solo(name), percent)
    assert higher_percent(solo(name), shifted) == pytest.approx(percent, abs=0.3)
    assert shifted.duration_s == pytest.approx(solo().duration_s / (1 + percent / 100), rel=1e-4)


def test_pitch_is_shifted_up_and_down_by_as_much_as_said_or_less() -> None:
    faster = [
        solo().n_samples / augment(solo(), replace(NONE, pitch_percent=3), seeded(seed)).n_samples for seed in range(40)
    ]
    assert 0.97 <= min(faster) < 0.98
    assert 1.02 < max(faster) <= 1.0301


# --- tempo


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("percent", [-20.0, -5.0, 5.0])
def test_a_stretch_changes_the_duration_and_not_the_pitch(name: str, percent: float) -> None:
    stretched = stretch(solo(name), percent)
    assert stretched.duration_s == pytest.approx(solo().duration_s * (1 + percent / 100), abs=1 / RATE)
    assert higher_percent(solo(name), stretched) == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("percent", [-10.0, 10.0])
def test_a_stretch_moves_everything_in_proportion_and_keeps_levels(name: str, percent: float) -> None:
    """Tenths of a stretched recording are as loud as those of the recording, in every half of the spectrum."""
    stretched = stretch(solo(name), percent)
    for high_pass in (False, True):
        levels = []
        for audio in (solo(name), stretched):
            samples = audio.samples[0].diff() if high_pass else audio.samples[0]
            levels.append(torch.tensor([level_db(part) for part in samples.tensor_split(10)]))
        assert (levels[1] - levels[0]).abs().max() < 0.5


def test_a_stretch_has_nothing_random_about_it_and_by_nothing_changes_nothing() -> None:
    assert torch.equal(stretch(solo(), 0).samples, solo().samples)
    assert torch.equal(stretch(solo(), 120).samples, stretch(solo(), 120).samples)


def test_channels_of_any_number_and_layout_are_stretched_alike() -> None:
    piece = solo().samples[:, :RATE]
    one = stretch(replace(solo(), samples=piece), 5).samples
    for samples in (piece.expand(2, -1), piece.expand(5, -1), solo().samples.repeat(3, 1)[:, :RATE]):
        stretched = stretch(replace(solo(), samples=samples), 5).samples
        assert stretched.shape == (len(samples), one.shape[1])
        assert level_db(stretched - one) < level_db(one) - 40


def test_where_there_is_stretch_it_alone_decides_on_the_duration() -> None:
    for seed in range(5):
        config = replace(NONE, stretch_percent=5)
        alone = augment(solo(), config, seeded(seed))
        both = augment(solo(), replace(config, pitch_percent=10), seeded(seed))
        assert both.n_samples == pytest.approx(alone.n_samples, rel=1e-4)
        shifted = augment(solo(), replace(NONE, pitch_percent=10), seeded(seed))
        percent = 100 * (solo().n_samples / shifted.n_samples - 1)
        assert higher_percent(solo(), both) == pytest.approx(percent, abs=0.3)


# --- background


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 20.0])
@pytest.mark.parametrize("duration_s", [5.0, 60.0])
def test_a_background_is_below_the_recording_by_what_was_said(name: str, snr_db: float, duration_s: float) -> None:
    background = resample(Audio(torch.randn(2, round(duration_s * 11025), generator=seeded()) / 9, 11025), 22050)
    mixed = add_background(solo(name, n_channels=2), background, snr_db, seeded())
    added = mixed.samples - solo(name, n_channels=2).samples
    assert torch.allclose(added[0], added[1], atol=1e-6)
    sounding = added[:, added[0].abs() > 1e-6]
    assert sounding.shape[1] / RATE == pytest.approx(min(8, duration_s), rel=1e-2)
    assert level_db(sounding) == pytest.approx(solo(name, n_channels=2).level_db - snr_db, abs=0.1)


def test_the_level_of_a_background_is_drawn_from_its_range() -> None:
    config = replace(NONE, background_snr_db=(5, 25))
    backgrounds = [solo(name) for name in NAMES[1:]]
    below_db = [
        solo().level_db - level_db(augment(solo(), config, seeded(s), backgrounds=backgrounds).samples - solo().samples)
        for s in range(30)
    ]
    assert 4.9 < min(below_db) < 8
    assert 22 < max(below_db) < 25.1


def test_every_background_is_chosen_at_times_and_a_random_piece_of_it() -> None:
    quiet = Audio(torch.full((RATE,), 1e-3), RATE)
    backgrounds = [Audio(sign * torch.linspace(1, 2, 2 * RATE), RATE) for sign in (-1, 1)]
    config = replace(NONE, background_snr_db=(0, 0))
    added = [augment(quiet, config, seeded(s), backgrounds=backgrounds).samples - quiet.samples for s in range(20)]
    assert {int(samples[0, 0].sign()) for samples in added} == {-1, 1}
    assert len({round(float(samples[0, 0] / samples[0, -1]), 4) for samples in added}) > 15


def test_a_short_background_sounds_once_anywhere() -> None:
    bark = Audio(torch.arange(1.0, 101.0), RATE)
    places = set()
    for seed in range(20):
        recording = Audio(torch.ones(1000), RATE)
        added = (add_background(recording, bark, 0, seeded(seed)).samples - recording.samples)[0]
        place = int(added.abs().gt(1e-4).nonzero()[0])
        places.add(place // 300)
        expected = torch.nn.functional.pad(bark.samples[0], (place, 900 - place))
        torch.testing.assert_close(added / added.max(), expected / 100, atol=1e-3, rtol=0)
    assert places == {0, 1, 2}


def test_of_a_background_the_mean_of_its_channels_is_heard() -> None:
    left, right = solo(NAMES[1]).samples, solo(NAMES[2]).samples
    added = [
        add_background(solo(), Audio(torch.cat(channels), RATE), 0, seeded()).samples - solo().samples
        for channels in ([left, right], [(left + right) / 2])
    ]
    torch.testing.assert_close(*added)


def test_a_silent_background_or_recording_adds_nothing() -> None:
    silence = Audio(torch.zeros(1, RATE), RATE)
    assert torch.equal(add_background(solo(), silence, 10, seeded()).samples, solo().samples)
    assert not add_background(silence, solo(), 10, seeded()).samples.any()


# --- microphone


GAINS = st.lists(st.floats(-6, 6), min_size=1, max_size=9).map(torch.tensor).filter(lambda gains: bool(gains.any()))


@given(GAINS, st.sampled_from([8000, 22050]))
def test_no_frequency_gets_more_than_the_greatest_gain_or_less_than_the_least(gains_db: Tensor, rate: int) -> None:
    _, response = response_db(gains_db, rate)
    assert float(gains_db.min()) - 0.01 < float(response.min())
    assert float(response.max()) < float(gains_db.max()) + 0.01


@given(GAINS)
def test_the_response_is_smooth(gains_db: Tensor) -> None:
    """In a twelfth of an octave it changes by no more than a twelfth of what gains an octave apart may differ by."""
    hertz, response = response_db(gains_db, RATE)
    above = hertz.log2() > math.log2(100)
    hertz, response = hertz[above], response[above]
    upper = torch.searchsorted(hertz, hertz * 2 ** (1 / 12)).clamp(max=len(hertz) - 1)
    assert float((response[upper] - response).abs().max()) < 1.1


def test_the_response_goes_through_the_gains() -> None:
    gains_db = torch.tensor([3.0, -6.0, 0.0, 6.0, -3.0, 1.0])
    hertz, response = response_db(gains_db, RATE)
    for octave, gain_db in enumerate(gains_db.flip(0)):
        assert float(response[hertz == 8000 / 2**octave]) == pytest.approx(float(gain_db), abs=0.8)
    assert float(response[hertz == 50]) == pytest.approx(3, abs=0.8)  # flat below the lowest


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_changes_a_recordings_spectrum_by_its_response_and_not_its_length(name: str) -> None:
    gains_db = torch.tensor([-6.0, 6.0, -6.0, 6.0, -6.0, 6.0])
    colored = color(solo(name), gains_db)
    assert colored.n_samples == solo().n_samples
    hertz, response = response_db(gains_db, RATE)
    for center in (500, 1000, 2000):
        band = (hertz > 0.9 * center) & (hertz < 1.1 * center)
        energies = [
            torch.fft.rfft(audio.samples[0], 8 * RATE)[1:].abs().square().unflatten(0, (-1, 4)).sum(dim=1)
            for audio in (solo(name), colored)
        ]
        change_db = 10 * math.log10(energies[1][band].sum() / energies[0][band].sum())
        assert float(response[band].min()) - 0.1 <= change_db <= float(response[band].max()) + 0.1


def test_the_gains_of_a_filter_reach_as_far_as_said_and_no_further() -> None:
    click = torch.zeros(2 * RATE)
    click[RATE] = 1
    peaks = []
    for seed in range(20):
        filtered = augment(Audio(click, RATE), replace(NONE, filter_db=6), seeded(seed)).samples[0]
        peaks.append(20 * float(torch.fft.rfft(filtered).abs().log10().abs().max()))
    assert 5 < max(peaks) <= 6.01


# --- level


def test_a_level_goes_up_and_down_by_as_much_as_said_or_less() -> None:
    louder_db = []
    for seed in range(40):
        rendition = augment(solo(n_channels=2), replace(NONE, level_db=6), seeded(seed)).samples
        gain = rendition.norm() / solo(n_channels=2).samples.norm()
        torch.testing.assert_close(rendition, gain * solo(n_channels=2).samples)
        louder_db.append(20 * math.log10(gain))
    assert -6.001 < min(louder_db) < -4
    assert 4 < max(louder_db) < 6.001


# --- settings


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"level_db": -1}, "level_db is -1.0; expected 0 to 60"),
        ({"pitch_percent": 51}, "pitch_percent is 51.0; expected 0 to 50"),
        ({"stretch_percent": math.nan}, "stretch_percent is nan; expected 0 to 50"),
        ({"shift_s": math.inf}, "shift_s is inf; expected 0 to 10"),
        ({"filter_db": -0.1}, "filter_db is -0.1; expected 0 to 40"),
        ({"background_snr_db": (20, 10)}, r"background_snr_db is \(20.0, 10.0\); expected lowest and highest"),
        ({"background_snr_db": (0, math.nan)}, r"background_snr_db is \(0.0, nan\)"),
        ({"background_snr_db": (10,)}, r"background_snr_db is \(10.0,\)"),
    ],
)
def test_amounts_that_cannot_be_are_refused(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AugmentationConfig(**setting)
