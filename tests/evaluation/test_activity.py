"""When stems sound: sounds that were put at known times and levels are found there."""

import math
from pathlib import Path

import pytest
import torch

from sepdict import ActivityConfig, ConfigError, Label, sounding_labels, write_audio
from sepdict.audio.signal import Audio
from sepdict.evaluation import activity

RATE = 16_000
Burst = tuple[float, float, float, float]  # start and end in s, Hz, dB


def bursts(*sounds: Burst, duration_s: float = 5.0, n_channels: int = 1, sample_rate: int = RATE) -> Audio:
    """Put tones into silence."""
    samples = torch.zeros(n_channels, round(duration_s * sample_rate))
    for start_s, end_s, frequency_hz, level_db in sounds:
        span = slice(round(start_s * sample_rate), round(end_s * sample_rate))
        times_s = torch.arange(span.stop - span.start) / sample_rate
        samples[:, span] += 10 ** (level_db / 20) * torch.sin(2 * math.pi * frequency_hz * times_s)
    return Audio(samples, sample_rate)


def times(labels: list[Label]) -> list[tuple[float, float, str]]:
    return [(label.start_s, label.end_s, label.name) for label in labels]


def test_sounds_are_found_where_they_are_in_the_order_of_their_starts() -> None:
    stems = {"b": bursts((1, 2, 500, -20), (3, 3.5, 500, -40)), "a": bursts((0.5, 1.5, 900, -20), n_channels=2)}
    assert times(sounding_labels(stems)) == [(0.5, 1.5, "a"), (1, 2, "b"), (3, 3.5, "b")]


@pytest.mark.parametrize("gain_db", [-60, 0, 40])
def test_what_is_too_far_below_the_loudest_does_not_sound_whatever_the_level_of_all(gain_db: float) -> None:
    least_db = gain_db - ActivityConfig().below_db
    stems = {
        "voice": bursts((0, 1, 500, gain_db), (2, 3, 500, least_db + 1), (4, 5, 500, least_db - 1)),
        "traces": bursts((0, 1, 500, least_db - 1)),
        "soft": bursts((1, 2, 500, least_db + 1)),
    }
    assert times(sounding_labels(stems)) == [(0, 1, "voice"), (1, 2, "soft"), (2, 3, "voice")]


def test_pauses_under_200_ms_are_closed_and_sounds_under_50_ms_left_out() -> None:
    stem = bursts((0, 1, 500, 0), (1.18, 2, 500, 0), (2.22, 3, 500, 0), (3.5, 3.54, 500, 0), (4, 4.06, 500, 0))
    assert times(sounding_labels({"a": stem})) == [(0, 2, "a"), (2.22, 3, "a"), (4, 4.06, "a")]


def test_shorter_steps_and_pauses_find_fast_calls() -> None:
    bat = bursts(*((0.1 * n, 0.1 * n + 0.005, 40_000, 0) for n in range(3)), duration_s=0.4, sample_rate=192_000)
    assert sounding_labels({"bat": bat}) == [Label(0, 0.22, "bat")]
    quick = ActivityConfig(step_s=0.001, pause_s=0.02, shortest_s=0.003)
    assert times(sounding_labels({"bat": bat}, quick)) == [(0, 0.005, "bat"), (0.1, 0.105, "bat"), (0.2, 0.205, "bat")]


@pytest.mark.parametrize("frequency_hz", [60.0, 1000.0, 7900.0])
def test_the_band_of_a_raven_row_holds_a_tone_and_little_else(frequency_hz: float) -> None:
    (label,) = sounding_labels({"a": bursts((1, 2, frequency_hz, 0))}, ActivityConfig("raven"))
    assert label.low_hz is not None
    assert label.high_hz is not None
    assert label.low_hz <= frequency_hz <= label.high_hz
    assert label.high_hz - label.low_hz < 150


def test_the_band_of_noise_holds_95_percent_of_its_energy() -> None:
    noise = torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(0))
    (label,) = sounding_labels({"a": Audio(noise, RATE)}, ActivityConfig("raven"))
    assert (label.low_hz, label.high_hz) == pytest.approx((0.025 * RATE / 2, 0.975 * RATE / 2), abs=60)


@pytest.mark.parametrize("sample_rate", [800, 11_025, 384_000])
def test_files_are_read_block_by_block_at_any_rate(
    tmp_path: Path, sample_rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = bursts((0.5, 2.7, 90, 0), (3, 3.3, 90, 0), duration_s=3.305, sample_rate=sample_rate)
    path, config = write_audio(tmp_path / "a.wav", stem), ActivityConfig("raven")
    whole = sounding_labels({"a": stem}, config)
    assert [(each.start_s, each.end_s) for each in whole] == [
        (pytest.approx(0.5, abs=0.02), pytest.approx(2.7, abs=0.02)),
        (pytest.approx(3, abs=0.02), pytest.approx(3.3, abs=0.02)),
    ]
    monkeypatch.setattr(activity, "BLOCK_S", 1.0)
    in_blocks = sounding_labels({"a": path}, config)
    assert times(in_blocks) == times(whole)
    assert all(label.low_hz is not None and label.low_hz <= 90 for label in in_blocks)


def test_silence_has_no_labels() -> None:
    assert sounding_labels({"a": bursts(), "b": bursts()}) == []
    assert sounding_labels({}) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "praat"}, "format of the labels is 'praat'; expected one of audacity, raven"),
        ({"below_db": -1}, "below_db is -1.0; expected 0 to 200"),
        ({"below_db": math.nan}, "below_db is nan; expected 0 to 200"),
        ({"step_s": 0}, "step_s is 0.0; expected 0.0001 to 10"),
        ({"pause_s": -1}, "pause_s is -1.0; expected 0 to 3600"),
        ({"shortest_s": -1}, "shortest_s is -1.0; expected 0 to 3600"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}$"):
        ActivityConfig(**settings)  # type: ignore[arg-type]
