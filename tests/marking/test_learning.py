"""Marked moments: what is learned of them, when it is learned anew, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import sepdict.marking.learning
from sepdict._core.cache import cache_folder
from sepdict._core.names import RESIDUAL
from sepdict.audio.labels import Label, write_labels
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.exemplars import decode_exemplars
from sepdict.errors import ConfigError
from sepdict.evaluation.metrics import si_sdr, si_sdr_improvement
from sepdict.marking.learning import MarkingConfig, learn_from_labels, solos_of, with_moments
from sepdict.marking.separate import separate_marked
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import Progress
from sepdict.separation.config import MaskEstimatorConfig, SeparationConfig
from sepdict.spectral.stft import StftConfig
from sepdict.training.config import TrainingConfig
from sepdict.training.train import train_dictionary

RATE = 8000
TINY = TrainingConfig(
    network=NetworkConfig(code_size=2, hidden=(16,)), stft=StftConfig(n_fft=256, hop_length=64), n_steps=40, n_checks=2
)
MARKING = MarkingConfig(TINY, n_estimator_steps=60)
DRAFT = SeparationConfig(device="cpu").at_quality("draft")
LABELS = [Label(0, 2, "rumble"), Label(2, 4, "hiss")]


def noise(seconds: float, lowest: float, highest: float, *, seed: int) -> Tensor:
    """Noise between two frequencies in Hz."""
    spectrum = torch.fft.rfft(torch.randn(1, round(seconds * RATE), generator=torch.Generator().manual_seed(seed)))
    hz = torch.linspace(0, RATE / 2, spectrum.shape[1])
    return torch.fft.irfft(spectrum * ((hz >= lowest) & (hz <= highest)), n=round(seconds * RATE))


@pytest.fixture
def sources() -> dict[str, Tensor]:
    """As they sound in the recording: first each alone for two seconds, then both for three."""
    rumble, hiss = noise(7, 50, 1800, seed=1), noise(7, 2200, 4000, seed=2)
    rumble[:, 2 * RATE : 4 * RATE] = 0
    hiss[:, : 2 * RATE] = 0
    return {"rumble": rumble, "hiss": hiss}


@pytest.fixture
def recording(sources: dict[str, Tensor]) -> Audio:
    return Audio(sources["rumble"] + sources["hiss"], RATE, "recording.wav")


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The sources that were trained, in their order; the cache is empty at first."""
    monkeypatch.setenv("SEPDICT_CACHE", str(tmp_path / "cache"))
    sources, train = list[str](), sepdict.marking.learning.train_dictionary

    def counted(*args: object, source: str, **settings: object) -> Dictionary:
        sources.append(source)
        return train(*args, source=source, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(sepdict.marking.learning, "train_dictionary", counted)
    return sources


def test_marked_moments_are_enough_to_separate(recording: Audio, sources: dict[str, Tensor]) -> None:
    separation = separate_marked(recording, LABELS, config=DRAFT, marking=MARKING)
    assert list(separation) == ["rumble", "hiss"]
    mixed = slice(4 * RATE, None)
    for name, source in sources.items():
        stem = separation[name].samples
        assert si_sdr_improvement(stem[0, mixed], source[0, mixed], recording.samples[0, mixed]) > 10


def test_a_marked_source_has_all_of_its_moment(recording: Audio, sources: dict[str, Tensor]) -> None:
    separation = separate_marked(recording, LABELS, config=DRAFT, marking=MARKING)
    for label in LABELS:
        within = slice(round((label.start_s + 0.1) * RATE), round((label.end_s - 0.1) * RATE))
        assert si_sdr(separation[label.name].samples[0, within], sources[label.name][0, within]) > 30


def test_labels_may_be_given_by_their_file(recording: Audio, tmp_path: Path) -> None:
    path = write_labels(LABELS, tmp_path / "labels.txt")
    assert list(separate_marked(recording, path, config=DRAFT, marking=MARKING)) == ["rumble", "hiss"]


def test_a_short_moment_may_join_a_dictionary(recording: Audio) -> None:
    given = train_dictionary(Audio(noise(3, 50, 1800, seed=4), RATE), TINY, source="rumble")
    (extended,) = learn_from_labels(recording, [Label(0, 0.5, "rumble")], [given], MARKING)
    assert extended.exemplars.shape[1] > given.exemplars.shape[1]


def test_two_channels_do_not_make_half_a_second_long_enough(recording: Audio) -> None:
    stereo = replace(recording, samples=recording.samples.repeat(2, 1))
    with pytest.raises(ConfigError, match="are marked as 'rumble'"):
        learn_from_labels(stereo, [Label(0, 0.6, "rumble")], config=MARKING)


def test_one_name_gives_its_stem_and_the_rest(recording: Audio) -> None:
    separation = separate_marked(recording, LABELS[:1], config=DRAFT, marking=MARKING)
    assert list(separation) == ["rumble", RESIDUAL]
    total = sum(stem.samples for stem in separation.stems.values())
    torch.testing.assert_close(total, recording.samples, atol=1e-5, rtol=0)


def test_the_mask_estimator_of_marked_moments_takes_few_steps(recording: Audio) -> None:
    config = MaskEstimatorConfig(n_steps=3000)
    standard = SeparationConfig(mask_estimator=config)
    alone = MARKING.fitting(standard, has_dictionaries=False)
    assert alone.mask_estimator is not None
    assert alone.mask_estimator.n_steps == MARKING.n_estimator_steps
    assert alone.mask_estimator.n_adaptation_steps == MARKING.n_adaptation_steps
    assert alone.mask_estimator.n_adaptation_cuts == config.n_cuts
    unadapted = SeparationConfig(mask_estimator=MaskEstimatorConfig(n_adaptation_steps=0))
    left = MARKING.fitting(unadapted, has_dictionaries=False)
    assert left.mask_estimator is not None
    assert left.mask_estimator.n_adaptation_steps == 0
    assert MARKING.fitting(standard, has_dictionaries=True) is standard
    assert MARKING.fitting(DRAFT, has_dictionaries=False) is DRAFT


def test_what_was_learned_is_remembered_and_one_more_mark_teaches_its_source_only(
    recording: Audio, trainings: list[str]
) -> None:
    first = learn_from_labels(recording, LABELS, config=MARKING)
    again = learn_from_labels(recording, LABELS, config=MARKING)
    assert trainings == ["rumble", "hiss"]
    assert [each.sha256 for each in first] == [each.sha256 for each in again]
    learn_from_labels(recording, [LABELS[0], Label(2, 3, "hiss"), Label(3.2, 4, "hiss")], config=MARKING)
    assert trainings == ["rumble", "hiss", "hiss"]
    learn_from_labels(recording, LABELS, config=replace(MARKING, training=replace(TINY, seed=1)))
    assert trainings[3:] == ["rumble", "hiss"]


def test_ctrl_c_ends_the_learning_and_keeps_nothing_half_learned(recording: Audio, trainings: list[str]) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_from_labels(recording, LABELS, config=MARKING, on_progress=interrupt)
    assert not cache_folder().exists()


def test_a_damaged_cache_is_learned_anew(recording: Audio, trainings: list[str]) -> None:
    learn_from_labels(recording, LABELS[:1], config=MARKING)
    (file,) = cache_folder().iterdir()
    file.write_bytes(file.read_bytes()[:-100])
    learn_from_labels(recording, LABELS[:1], config=MARKING)
    learn_from_labels(recording, LABELS[:1], config=MARKING)
    assert trainings == ["rumble", "rumble"]


def test_without_a_cache_the_moments_are_learned_and_a_note_says_so(
    recording: Audio, trainings: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("in the way")
    noted_before = list[str]()
    (learned,) = learn_from_labels(
        recording, LABELS[:1], config=MARKING, on_progress=lambda _: noted_before.append(caplog.text)
    )
    assert learned.source == "rumble"
    assert "what is learned of rumble cannot be kept, it will be learned again" in noted_before[0]
    assert "is a file; expected a folder to write to; have SEPDICT_CACHE name a folder" in caplog.text
    assert len(caplog.records) == 1


def test_the_oldest_of_many_learned_dictionaries_is_deleted(
    recording: Audio, trainings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sepdict.marking.learning, "MOST_CACHED", 2)
    for end_s in (1.5, 1.6, 1.7):
        learn_from_labels(recording, [Label(0, end_s, "rumble")], config=MARKING)
    assert len(list(cache_folder().iterdir())) == 2


def test_a_file_is_read_only_where_it_is_marked_and_gives_the_same(recording: Audio, tmp_path: Path) -> None:
    path = tmp_path / "recording.wav"
    write_audio(path, recording)
    from_file = learn_from_labels(path, LABELS, config=MARKING)
    assert [each.sha256 for each in from_file] == [
        each.sha256 for each in learn_from_labels(recording, LABELS, config=MARKING)
    ]


def test_all_learned_dictionaries_fit_together_and_those_that_are_given(recording: Audio) -> None:
    given = train_dictionary(
        Audio(noise(3, 500, 900, seed=3), RATE),
        replace(TINY, sample_rate=4000, stft=StftConfig(n_fft=128, hop_length=32)),
        source="tone",
    )
    learned = learn_from_labels(recording, [Label(0, 1, "rumble"), Label(1, 2, "thunder")], [given], MARKING)
    assert [each.source for each in learned] == ["tone", "rumble", "thunder"]
    assert {(each.card.sample_rate, each.card.stft) for each in learned} == {(4000, given.card.stft)}


def test_moments_of_a_given_source_join_its_exemplars_and_leave_its_decoder(recording: Audio) -> None:
    given = train_dictionary(Audio(noise(6, 50, 1800, seed=4), RATE), TINY, source="rumble")
    before = given.sha256
    (extended,) = learn_from_labels(recording, LABELS[:1], [given], replace(MARKING, moments_share=0.75))
    assert given.sha256 == before
    assert extended.network is given.network
    n_old, n_all = given.exemplars.shape[1], extended.exemplars.shape[1]
    assert 0.7 < 1 - n_old / n_all < 0.8
    old, new = decode_exemplars(given.exemplars), decode_exemplars(extended.exemplars[:, n_all - n_old :])
    loud = old > 1e-3
    ratio = (old / new)[loud]
    assert ratio.max() / ratio.min() < 1.08  # but for rounding and one gain, what was there is at the end


def test_moments_are_as_loud_as_the_exemplars_that_they_join() -> None:
    given = train_dictionary(Audio(noise(4, 50, 1800, seed=4), RATE), TINY, source="rumble")
    joined = with_moments(given, [Audio(1e-3 * noise(2, 50, 1800, seed=5), RATE)], share=0.5)
    levels = decode_exemplars(joined.exemplars).square().mean(dim=0)
    n_old = given.exemplars.shape[1]
    assert 0.8 < levels[:-n_old].mean() / levels[-n_old:].mean() < 1.25


def test_a_moment_of_few_frames_joins_the_exemplars_as_well() -> None:
    wide = replace(TINY, stft=StftConfig(n_fft=2048, hop_length=1024))
    given = train_dictionary(Audio(noise(40, 50, 1800, seed=4), RATE), wide, source="rumble")
    joined = with_moments(given, [Audio(noise(1, 50, 1800, seed=5), RATE)], share=0.5)
    n_old, n_all = given.exemplars.shape[1], joined.exemplars.shape[1]
    assert 0.4 < 1 - n_old / n_all < 0.6


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_dictionary_that_cannot_take_moments_stays_as_it_is(share: float) -> None:
    given = train_dictionary(
        Audio(noise(3, 50, 1800, seed=4), RATE), replace(TINY, exemplars_s=0 if share else 600), source="rumble"
    )
    assert with_moments(given, [Audio(noise(2, 50, 1800, seed=5), RATE)], share=share) is given


def test_a_label_with_limits_teaches_what_lies_within_them(recording: Audio) -> None:
    (solo,) = solos_of(recording, [Label(5, 7, "rumble", 100, 1500)])["rumble"]
    spectrum = torch.fft.rfft(solo.samples).abs()[0]
    hz = torch.fft.rfftfreq(solo.n_samples, 1 / RATE)
    within = (hz >= 100) & (hz <= 1500)
    assert spectrum[~within].max() < 1e-3 * spectrum[within].mean()
    assert recording.samples.abs().max() > 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([Label(0, 2, "rumble"), Label(1, 3, "hiss")], "rumble.*hiss|hiss.*rumble"),
        ([Label(6, 9, "rumble")], "another recording"),
        ([], "label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(recording: Audio, labels: list[Label], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        learn_from_labels(recording, labels, config=MARKING)


def test_too_little_of_a_source_is_refused_by_name(recording: Audio) -> None:
    with pytest.raises(ConfigError, match=r"0\.50 s are marked as 'hiss'; expected 1 s at least"):
        learn_from_labels(recording, [Label(0, 2, "rumble"), Label(2.2, 2.7, "hiss")], config=MARKING)


@pytest.mark.parametrize(
    "settings", [{"moments_share": 0.99}, {"moments_share": -0.1}, {"n_estimator_steps": 0}, {"n_adaptation_steps": 0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        MarkingConfig(**settings)  # type: ignore[arg-type]
