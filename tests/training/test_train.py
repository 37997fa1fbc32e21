"""Training: what a dictionary learns depends on the sound and the seed, and its card tells what was heard."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sepdict.audio.augmentation import AugmentationConfig
from sepdict.audio.signal import Audio
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import AudioError, ConfigError
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import Progress
from sepdict.spectral.betas import beta_of
from sepdict.spectral.divergences import beta_divergence
from sepdict.spectral.stft import StftConfig, audible, magnitude, spectral_shape, stft
from sepdict.training.config import PRESETS, TrainingConfig
from sepdict.training.train import is_trained_alike, train_dictionary
from sepdict.training.trainer import VALIDATION_FRAMES, Trainer

RATE = 8000
SMALL = StftConfig(n_fft=256, hop_length=64)
TINY = TrainingConfig(network=NetworkConfig(code_size=2, hidden=(16, 16)), stft=SMALL, n_steps=40, n_checks=8)
QUICK = replace(TINY, n_steps=4, n_checks=2)
CONVOLUTIONAL = NetworkConfig(kind="convolutional", code_size=2, hidden=(16,), kernel_size=5, n_templates=0)
SAME = 1e-3  # of a spectral shape, which averages one: float32 rounding, carried through some tens of steps of Adam


def warble(seconds: float, *, rate: int = RATE, seed: int = 0, n_channels: int = 1) -> torch.Tensor:
    """Noise between two gliding tones, from silence to silence: frames differ, and no frame is cut off."""
    generator = torch.Generator().manual_seed(seed)
    time_s = torch.arange(round(seconds * rate)) / rate
    tones = (6000 * time_s + 300 * (2 * time_s).sin()).sin() + (9000 * time_s).sin() * (3 * time_s).sin()
    noise = torch.randn(n_channels, len(time_s), generator=generator)
    edge = min(len(time_s) // 4, rate // 10)
    sound = (tones + 0.3 * noise) * 0.2
    sound[:, :edge] = sound[:, len(time_s) - edge :] = 0
    return sound


def train(samples: torch.Tensor | list[Audio], config: TrainingConfig = TINY, **settings: Any) -> Dictionary:
    recordings = Audio(samples, RATE, "warble.wav") if isinstance(samples, torch.Tensor) else samples
    return train_dictionary(recordings, config, **{"source": "warble", "device": "cpu"} | settings)


def drawn(dictionary: Dictionary, samples: torch.Tensor | None = None) -> torch.Tensor:
    """What the dictionary makes of a sound: all its weights at work."""
    heard = magnitude(stft(warble(1.0, seed=9) if samples is None else samples, dictionary.card.stft))
    return dictionary.decode(dictionary.encode(heard))


def check_equal(one: Dictionary, other: Dictionary) -> None:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def interrupt_at(step: int, error: BaseException) -> Callable[[Progress], None]:
    def on_progress(progress: Progress) -> None:
        if progress.step >= step:
            raise error

    return on_progress


@pytest.fixture(scope="module")
def tiny() -> Dictionary:
    """A dictionary trained as all others here unless a test says otherwise."""
    return train(warble(3.0))


# Laws: what the result depends on, and what not


def test_same_seed_same_dictionary(tiny: Dictionary) -> None:
    again = train(warble(3.0))
    check_equal(tiny, again)
    assert again.card == tiny.card


def test_another_seed_another_dictionary(tiny: Dictionary) -> None:
    assert (drawn(train(warble(3.0), replace(TINY, seed=1))) - drawn(tiny)).abs().max() > 10 * SAME


def test_the_global_random_state_is_neither_used_nor_moved(tiny: Dictionary) -> None:
    before = torch.get_rng_state()
    train(warble(3.0), QUICK)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(), torch.no_grad():  # the caller's gradient mode does not matter either
        torch.manual_seed(12345)
        check_equal(train(warble(3.0)), tiny)


@pytest.mark.parametrize("factor", [1e-6, 0.1, 1e4])
def test_level_does_not_matter(factor: float, tiny: Dictionary) -> None:
    torch.testing.assert_close(drawn(train(warble(3.0) * factor)), drawn(tiny), atol=SAME, rtol=SAME)


def test_recordings_are_not_written_into() -> None:
    samples = 100 * warble(2.0)
    train(samples, QUICK)
    assert torch.equal(samples, 100 * warble(2.0))


def test_silence_around_the_sound_is_not_learned(tiny: Dictionary) -> None:
    silence = torch.zeros(1, 50 * SMALL.hop_length)
    padded = train(torch.cat([silence, warble(3.0), silence], dim=1))
    (heard,), (plain,) = padded.card.heard, tiny.card.heard
    assert heard["duration_s"] - heard["silence_s"] == pytest.approx(plain["duration_s"] - plain["silence_s"])
    assert heard["silence_s"] == pytest.approx(plain["silence_s"] + 2 * silence.shape[1] / RATE)
    assert heard["held_out_s"] == pytest.approx(plain["held_out_s"])
    assert padded.card.curves["validation"][-1] == pytest.approx(tiny.card.curves["validation"][-1], rel=0.1)


def test_where_silence_begins_can_be_chosen() -> None:
    soft_half = warble(3.0) * torch.where(torch.arange(3 * RATE) >= RATE, 1.0, 10 ** (-40 / 20))
    cards = [train(soft_half, replace(QUICK, silence_db=level)).card for level in (-60.0, -30.0)]
    assert cards[1].heard[0]["silence_s"] - cards[0].heard[0]["silence_s"] == pytest.approx(
        1.0, abs=0.15
    )  # the soft second, without its silent edge


def test_training_reaches_below_an_average_of_what_it_heard() -> None:
    """A dictionary that drew the same mean shape for every frame would not know its source."""
    samples = warble(3.0)
    dictionary = train(samples, replace(TINY, n_steps=300, learning_rate=5e-3))
    observed = spectral_shape(magnitude(stft(samples[:, 2000:-2000], SMALL)))
    average = observed.mean(dim=-1, keepdim=True)
    error = (drawn(dictionary, samples[:, 2000:-2000]) - observed).abs().mean()
    assert error < 0.9 * (average - observed).abs().mean()


@pytest.mark.parametrize("divergence", ["kl", "is", "l2", "beta=0.5"])
@pytest.mark.parametrize("network", [TINY.network, CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_every_divergence_falls_in_validation(divergence: str, network: NetworkConfig) -> None:
    dictionary = train(warble(3.0), replace(TINY, network=network, divergence=divergence))
    curve = dictionary.card.curves["validation"]
    assert min(curve) < 0.96 * curve[0]
    assert all(map(math.isfinite, (*curve, *dictionary.card.curves["training"])))
    assert drawn(dictionary).isfinite().all()


@pytest.mark.parametrize("divergence", ["kl", "is", "l2", "beta=0.5"])
def test_validation_is_the_divergence_of_shapes_per_bin(divergence: str) -> None:
    recordings = [Audio(warble(1.0, seed=seed), RATE) for seed in range(8)]
    config = replace(QUICK, divergence=divergence, learning_rate=0.0, level_exponent=0.0)
    dictionary = train(recordings, config)
    (held_out,) = (r for r, facts in zip(recordings, dictionary.card.heard, strict=True) if facts["held_out_s"])
    heard = audible(magnitude(stft(held_out.samples, SMALL))[0], SMALL, RATE)
    shape = spectral_shape(heard[:, heard.mean(dim=0) > heard.mean(dim=0).max() / 1000])
    shapes = dictionary.decode(dictionary.encode(shape))
    beta = beta_of(divergence)
    expected = beta_divergence(shape, shapes, beta=beta).mean() / SMALL.n_bins
    assert dictionary.card.curves["validation"][-1] == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset: str) -> None:
    config = replace(PRESETS[preset], n_steps=6, n_checks=2)
    dictionary = train(warble(2.0), config)
    assert dictionary.card.network == PRESETS[preset].network
    assert dictionary.card.curves["validation"][-1] < dictionary.card.curves["validation"][0]
    assert drawn(dictionary).isfinite().all()


def test_without_a_config_the_default_preset_is_trained() -> None:
    stop = interrupt_at(1, KeyboardInterrupt())
    card = train_dictionary(Audio(warble(1.5), RATE), source="warble", device="cpu", on_progress=stop).card
    assert (card.network, card.stft) == (PRESETS["default"].network, StftConfig.for_sample_rate(RATE))


def test_weight_decay_shrinks_the_weights() -> None:
    norms = [
        sum(float(weight.square().sum()) for weight in train(warble(2.0), config).network.decoder.parameters())
        for config in (replace(TINY, weight_decay=decay, learning_rate=0.01, n_steps=200) for decay in (0.0, 1.0))
    ]
    assert norms[1] < 0.7 * norms[0]


def test_codes_have_mean_zero_and_variance_one_over_the_recording(tiny: Dictionary) -> None:
    heard = magnitude(stft(warble(3.0), SMALL))[0]
    level = heard.mean(dim=0)
    codes = tiny.encode(heard[:, level > level.max() / 1000])
    # not exactly: the held-out tenth is not counted
    assert codes.mean(dim=1).abs().max() < 0.2
    assert (codes.std(dim=1) - 1).abs().max() < 0.2


# What is held out, and when training ends


def test_of_many_recordings_some_are_held_out_whole() -> None:
    heard = train([Audio(warble(1.0, seed=seed), RATE, f"{seed}.wav") for seed in range(8)], QUICK).card.heard
    held_out = [recording for recording in heard if recording["held_out_s"] > 0]
    assert len(held_out) == 1
    assert held_out[0]["held_out_s"] == pytest.approx(held_out[0]["duration_s"] - held_out[0]["silence_s"], abs=2e-3)


@pytest.mark.parametrize("n_recordings", [1, 2])
def test_of_few_recordings_the_end_of_each_is_held_out(n_recordings: int) -> None:
    recordings = [Audio(warble(3.0, seed=seed), RATE) for seed in range(n_recordings)]
    for recording in train(recordings, replace(QUICK, validation_share=0.2)).card.heard:
        sound_s = recording["duration_s"] - recording["silence_s"]
        assert recording["held_out_s"] == pytest.approx(0.2 * sound_s, abs=2 * SMALL.hop_length / RATE)


def test_held_out_sound_is_not_trained_on() -> None:
    """Only the frames that reach into the held-out end may differ in what is learned from them."""
    one, other = warble(3.0), warble(3.0)
    other[:, -2400:-800] = torch.randn(1, 1600, generator=torch.Generator().manual_seed(5)) * 0.2
    config = replace(QUICK, validation_share=0.2, level_exponent=0.0)
    curves = [train(samples, config).card.curves for samples in (one, other)]
    assert curves[0]["training"] == pytest.approx(curves[1]["training"], rel=1e-4)
    assert curves[0]["validation"] != pytest.approx(curves[1]["validation"], rel=1e-2)


def test_with_nothing_held_out_the_training_curve_decides() -> None:
    card = train(warble(2.0), replace(QUICK, validation_share=0.0)).card
    assert card.heard[0]["held_out_s"] == 0
    assert card.curves["validation"] == card.curves["training"]


@pytest.mark.parametrize("seconds", [20.0, 60.0])
def test_however_much_is_held_out_a_validation_draws_a_bounded_part_of_it(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    divergence, n_drawn = Trainer._mean_divergence, []

    def count(trainer: Trainer, shape: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        n_drawn.append(shape.shape[-1])
        return divergence(trainer, shape, *others)

    monkeypatch.setattr(Trainer, "_mean_divergence", count)
    train(warble(seconds), replace(TINY, n_steps=1, n_checks=1, validation_share=0.5))
    (n_frames,) = n_drawn
    assert VALIDATION_FRAMES / 2 <= n_frames <= VALIDATION_FRAMES


def unlike_its_end() -> torch.Tensor:
    """Low noise whose held-out end is high noise: once the common is learned, training more makes validation worse."""
    noise = torch.randn(1, 5 * RATE // 2, generator=torch.Generator().manual_seed(0))
    high, low = noise.diff(append=noise[:, :1]), noise + noise.roll(1)
    return torch.where(torch.arange(noise.shape[1]) < 2 * RATE, low, high)


OVERFIT = replace(TINY, n_steps=400, n_checks=20, patience=3, learning_rate=0.02, validation_share=0.2)


@pytest.mark.parametrize("n_good", [0, 3])
def test_a_training_that_diverges_says_so_and_keeps_what_was_good(
    n_good: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    plain, checks = Trainer._validate, iter(range(99))

    def validate(trainer: Trainer) -> float | None:
        if next(checks) == n_good:
            trainer.network.decoder.layers[0].bias.data.fill_(torch.nan)
        return plain(trainer)

    monkeypatch.setattr(Trainer, "_validate", validate)
    if not n_good:
        with pytest.raises(ConfigError, match="training diverged at once, to weights that are not finite; train at a"):
            train(warble(3.0))
        return
    dictionary = train(warble(3.0))
    assert dictionary.card.training["stopped"] == "diverged"
    assert [len(curve) for curve in dictionary.card.curves.values()] == [n_good, n_good]
    assert "training diverged; keeping the best weights before that" in caplog.text
    assert Dictionary.load(dictionary.save(tmp_path / "saved.safetensors")).sha256 == dictionary.sha256


def test_training_stops_early_once_validation_no_longer_improves() -> None:
    card = train(unlike_its_end(), OVERFIT).card
    curve = card.curves["validation"]
    assert card.training["stopped"] == "early"
    assert len(curve) == curve.index(min(curve)) + 1 + OVERFIT.patience < OVERFIT.n_checks


@pytest.mark.slow
def test_the_best_weights_are_kept_and_not_the_last() -> None:
    early = train(unlike_its_end(), OVERFIT)
    curve = early.card.curves["validation"]
    best_step = OVERFIT.n_steps * (curve.index(min(curve)) + 1) // OVERFIT.n_checks
    check_equal(train(unlike_its_end(), OVERFIT, on_progress=interrupt_at(best_step, KeyboardInterrupt())), early)


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_ctrl_c_keeps_the_best_weights_so_far(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    config = TINY if kind == "dense" else replace(TINY, network=CONVOLUTIONAL)
    cut = train(warble(3.0), config, on_progress=interrupt_at(20, KeyboardInterrupt()))
    assert cut.card.training["stopped"] == "interrupted"
    assert "interrupted" in caplog.text
    assert len(cut.card.curves["validation"]) == 4
    whole = train(warble(3.0), config).card.curves["validation"]
    assert cut.card.curves["validation"] == whole[:4]


def test_ctrl_c_before_anything_was_learned_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("sepdict.training.trainer.Trainer._take_steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(warble(2.0), QUICK)


def test_any_other_exception_from_the_callback_cancels_and_reaches_the_caller() -> None:
    with pytest.raises(RuntimeError, match="enough"):
        train(warble(2.0), on_progress=interrupt_at(10, RuntimeError("enough")))


@pytest.mark.parametrize(("n_steps", "warned"), [(1, True), (300, False)])
def test_a_source_drawn_no_better_than_a_flat_spectrum_is_reported(
    n_steps: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    network = replace(TINY.network, n_templates=0)  # templates begin as what was heard: better than flat at once
    train(warble(3.0), replace(TINY, network=network, n_steps=n_steps, learning_rate=5e-3))
    assert ("warble was not learned" in caplog.text) is warned


@pytest.mark.parametrize(("n_steps", "n_checks"), [(40, 8), (7, 3), (2, 40), (1, 1)])
def test_progress_counts_up_to_the_number_of_steps(n_steps: int, n_checks: int) -> None:
    seen: list[Progress] = []
    config = replace(TINY, n_steps=n_steps, n_checks=n_checks)
    card = train(warble(2.0), config, on_progress=seen.append).card
    steps = [progress.step for progress in seen]
    assert steps == sorted(set(steps))
    assert steps[-1] == n_steps
    assert len(steps) == min(n_steps, n_checks)
    assert {(progress.stage, progress.n_steps) for progress in seen} == {("train", n_steps)}
    assert tuple(progress.divergence for progress in seen) == card.curves["validation"]


# What the card says


def test_the_card_says_what_was_heard() -> None:
    recordings = [
        Audio(warble(1.5, n_channels=2), RATE, "first.wav"),
        Audio(torch.cat([torch.zeros(1, 22050), warble(2.0, rate=22050, seed=1)], dim=1), 22050, "second.flac"),
        Audio(torch.zeros(1, 4000), RATE, "silent.wav"),
    ]
    heard = train(recordings, QUICK).card.heard
    for facts, recording in zip(heard, recordings, strict=True):
        assert facts["name"] == recording.name
        assert facts["duration_s"] == pytest.approx(recording.duration_s, abs=1e-3)
        assert facts["sha256"] == recording.sha256
        assert (facts["sample_rate"], facts["n_channels"]) == (recording.sample_rate, recording.n_channels)
    assert heard[0]["level_db"] == pytest.approx(recordings[0].level_db, abs=0.01)
    assert [facts["silence_s"] for facts in heard] == pytest.approx([0.2, 1.2, 0.5], abs=0.1)
    assert heard[2]["level_db"] is None  # JSON has no minus infinity


def test_the_card_says_how_it_was_trained(tiny: Dictionary) -> None:
    assert (tiny.source, tiny.card.sample_rate, tiny.card.stft) == ("warble", RATE, SMALL)
    assert tiny.card.network == TINY.network
    for name in ("divergence", "n_steps", "seed", "learning_rate", "weight_decay", "level_exponent", "silence_db"):
        assert tiny.card.training[name] == getattr(TINY, name)
    assert tiny.card.training["stopped"] == "finished"
    assert len(tiny.card.curves["training"]) == len(tiny.card.curves["validation"]) == TINY.n_checks


def test_the_rate_is_the_lowest_heard_unless_chosen() -> None:
    recordings = [Audio(warble(1.0, rate=rate), rate) for rate in (44100, 11025, 16000)]
    assert train(recordings, QUICK).card.sample_rate == 11025
    assert train(recordings, replace(QUICK, sample_rate=RATE)).card.sample_rate == RATE


def test_every_channel_is_heard() -> None:
    silent_second = torch.cat([warble(1.5), torch.zeros(1, 12000)])
    both = torch.cat([warble(1.5), warble(1.5, seed=1)])
    silences = [train(samples, QUICK).card.heard[0]["silence_s"] for samples in (silent_second, both)]
    assert silences == pytest.approx([0.85, 0.2], abs=0.05)  # of the mean channel


@pytest.mark.parametrize("network", [TINY.network, CONVOLUTIONAL], ids=["dense", "convolutional"])
def test_a_saved_dictionary_draws_the_same(network: NetworkConfig, tmp_path: Path) -> None:
    dictionary = train(warble(2.0), replace(QUICK, network=network))
    loaded = Dictionary.load(dictionary.save(tmp_path / "warble.sepdict"))
    assert torch.equal(drawn(loaded), drawn(dictionary))
    assert loaded.card.heard == dictionary.card.heard
    assert loaded.card.curves == dictionary.card.curves
    assert dict(loaded.card.training) == dict(dictionary.card.training)


@pytest.mark.slow
@pytest.mark.parametrize("hop_length", [64, 1000, 2048])
@pytest.mark.parametrize("seconds", [1.3, 2.1, 4.2])
def test_networks_with_time_context_learn_from_short_recordings_too(hop_length: int, seconds: float) -> None:
    """Fewer frames than a patch, or a few more: none is lost, and the held-out ones decide."""
    config = replace(QUICK, network=CONVOLUTIONAL, stft=StftConfig(4096, hop_length), n_steps=40)
    for seed in range(3):
        curves = train(warble(seconds), replace(config, seed=seed)).card.curves
        assert curves["validation"] != curves["training"]


# What is refused


@pytest.mark.parametrize("silence", [torch.zeros(1, 4 * RATE), torch.zeros(2, 1)])
def test_digital_silence_is_refused_by_name(silence: torch.Tensor) -> None:
    with pytest.raises(AudioError, match=r"'warble' are digital silence"):
        train(silence)


@pytest.mark.parametrize("n_samples", [2, 100, RATE // 2])
def test_too_little_sound_is_refused_with_its_length(n_samples: int) -> None:
    short = torch.randn(1, n_samples, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AudioError, match=r"'warble' hold 0\.\d\d s of sound; expected 1 s"):
        train(short)
    with pytest.raises(AudioError, match="no recordings"):
        train([])
    with pytest.raises(AudioError, match="s of sound"):
        train(torch.cat([short, torch.zeros(1, 10 * RATE)], dim=1))


def test_a_moment_counts_once_in_however_many_channels_it_sounds() -> None:
    left, right = torch.randn(2, 1, RATE * 3 // 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(AudioError, match=r"'warble' hold 0\.6\d? s of sound; expected 1 s"):
        train(torch.cat([left, right]))
    apart = torch.block_diag(left, right)  # one after the other, each on a channel of its own: 1.2 s
    assert train(apart).card.heard[0]["duration_s"] == pytest.approx(1.2)


@pytest.mark.parametrize("source", ["", "a/b", ".hidden", "..", "a\\b"])
def test_a_name_that_can_be_no_file_is_refused_before_training(source: str) -> None:
    with pytest.raises(ConfigError, match="source name"):
        train(warble(2.0), source=source, on_progress=interrupt_at(0, AssertionError("it trained")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("divergence", "kullback"),
        ("level_exponent", 1.5),
        ("silence_db", 3.0),
        ("validation_share", 0.9),
        ("n_steps", 0),
        ("patience", 0),
        ("n_checks", 0),
        ("batch_frames", -1),
        ("pretraining", "some"),
        ("learning_rate", math.nan),
        ("weight_decay", -1.0),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused_with_their_value(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is '?{value}.*expected"):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize("power", [-100, 119])
def test_a_dictionary_does_not_depend_on_the_level_of_its_solos(power: int) -> None:
    solos = [Audio(gain * warble(1.5, seed=seed), RATE) for seed, gain in ((0, 1.0), (1, 0.25))]
    config = replace(QUICK, augmentation=AugmentationConfig(stretch_percent=0))
    plain, loud = (
        train_dictionary(
            [replace(solo, samples=solo.samples * 2.0**p) for solo in solos], config, source="s", device="cpu"
        )
        for p in (0, power)
    )
    for name, weight in plain.network.state_dict().items():
        torch.testing.assert_close(loud.network.state_dict()[name], weight, rtol=0, atol=SAME)
    assert torch.equal(loud.exemplars, plain.exemplars)
    levels = [heard["level_db"] for heard in loud.card.heard]
    assert levels == pytest.approx([h["level_db"] + 20 * power * math.log10(2) for h in plain.card.heard], abs=0.02)


def test_a_dictionary_is_known_by_its_recordings_and_all_settings(tmp_path: Path) -> None:
    config, rain = QUICK, Audio(warble(1.0, seed=3), RATE)
    recordings = [Audio(warble(1.5, seed=seed), RATE) for seed in (1, 2)]
    trained = train(recordings, config, backgrounds=[rain])
    card = Dictionary.load(trained.save(tmp_path / "warble.safetensors")).card

    def alike(
        card: Card = card, recordings: list[Audio] = recordings, config: TrainingConfig = config, **how: Any
    ) -> bool:
        return is_trained_alike(card, recordings, config, **{"source": "warble", "backgrounds": [rain]} | how)

    assert alike()
    assert not alike(recordings=recordings[:1])
    assert not alike(recordings=recordings[::-1])
    assert not alike(backgrounds=[])
    assert not alike(source="rain")
    for change in ({"seed": 1}, {"n_steps": 5}, {"network": CONVOLUTIONAL}, {"stft": StftConfig(512, 128)}):
        assert not alike(config=replace(config, **change))
    assert not alike(config=replace(config, augmentation=AugmentationConfig()))
    assert not alike(replace(card, training={**card.training, "stopped": "interrupted"}))
