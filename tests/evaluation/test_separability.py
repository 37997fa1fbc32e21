"""Comparison: each dictionary knows its own source best, and what cannot be told apart is not promised to be."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import forecast as benchmark
import pytest
import torch
from front_end import trained

from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.exemplars import HELD_OUT_FRAMES
from sepdict.errors import ConfigError
from sepdict.evaluation import separability as module
from sepdict.evaluation.separability import Comparison, Forecast, compare, forecast
from sepdict.progress import Progress

DATA = Path(__file__).parents[2] / "data"
NAMES = ("violin", "piano", "speech")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Train mask estimators for a fifth of the steps, and separate a fourth of the frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "N_STEPS", 20)
        patch.setattr(module, "N_PIECES", 8)
        yield


@pytest.fixture(scope="module")
def dictionaries() -> list[Dictionary]:
    return [Dictionary.load(DATA / f"{name}.safetensors") for name in NAMES]


@pytest.fixture(scope="module")
def pair(dictionaries: Sequence[Dictionary]) -> Comparison:
    return compare(dictionaries[:2])


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forecast nothing: the table alone is quick."""
    monkeypatch.setattr(module, "forecast", lambda group, seed: Forecast(tuple(d.source for d in group), float(seed)))


def held_out(dictionary: Dictionary, n_frames: object) -> Dictionary:
    """Say on its card that the last frames of a dictionary's exemplars were not learned from."""
    training = {**dictionary.card.training, HELD_OUT_FRAMES: n_frames}
    return Dictionary(replace(dictionary.card, training=training), dictionary.network, dictionary.exemplars)


@pytest.mark.slow
def test_every_dictionary_explains_its_own_source_best(dictionaries: Sequence[Dictionary], at_once: None) -> None:
    for judged in (dictionaries, [held_out(dictionary, 640) for dictionary in dictionaries]):
        explained = torch.tensor(compare(judged).explained)
        assert explained.argmax(dim=0).tolist() == [0, 1, 2]  # of each source, who explains it best
        assert explained.argmax(dim=1).tolist() == [0, 1, 2]  # of each dictionary, what it explains best
        assert (explained < 1).all()


@pytest.mark.slow
def test_violin_and_piano_are_told_apart(pair: Comparison) -> None:
    (expected,) = pair.forecasts
    assert 2 < expected.si_sdr_improvement_db < 15  # after the whole hundred steps 9; the demo duet gains 10
    assert expected.sentence.startswith("violin and piano: ")


@pytest.mark.slow
def test_the_order_of_the_dictionaries_changes_nothing_but_the_order(
    dictionaries: Sequence[Dictionary], pair: Comparison
) -> None:
    other = compare(dictionaries[1::-1])
    assert other.sources == pair.sources[::-1]
    assert other.explained == tuple(row[::-1] for row in pair.explained[::-1])
    assert other.forecasts[0].si_sdr_improvement_db == pair.forecasts[0].si_sdr_improvement_db
    assert other.forecasts[0].sources == ("piano", "violin")


def test_the_level_of_what_was_heard_does_not_matter(dictionaries: Sequence[Dictionary]) -> None:
    violin = dictionaries[0]
    audible = violin.exemplars.clamp(max=100)  # 50 dB, so that nothing is lost below the softest byte
    loud, soft = (Dictionary(violin.card, violin.network, audible + step) for step in (0, 80))  # 40 dB
    torch.testing.assert_close(module._excerpt(loud), module._excerpt(soft), rtol=1e-4, atol=1e-6)
    shares = [module._explained(violin, gain * module._excerpt(violin)) for gain in (1.0, 1e-3, 1e3)]
    assert shares == pytest.approx([shares[0]] * 3, abs=1e-3)


def test_the_same_dictionary_under_two_names_cannot_be_told_apart(dictionaries: Sequence[Dictionary]) -> None:
    violin = dictionaries[0]
    twin = Dictionary(replace(violin.card, source="fiddle"), violin.network, violin.exemplars)
    expected = forecast([violin, twin])
    assert abs(expected.si_sdr_improvement_db) < 0.5
    assert expected.sentence == "violin and fiddle: cannot be told apart; expect about 0 dB"


@pytest.mark.slow
def test_the_same_seed_forecasts_the_same_and_nothing_else_is_touched(
    dictionaries: Sequence[Dictionary], pair: Comparison
) -> None:
    checksums, before = [d.sha256 for d in dictionaries[:2]], torch.random.get_rng_state()
    assert compare(dictionaries[:2]) == pair
    assert forecast(dictionaries[:2], seed=1) != pair.forecasts[0]
    assert [d.sha256 for d in dictionaries[:2]] == checksums
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("n_frames", [-1, None, "all", 2.5])
def test_no_card_counts_held_out_frames_in_anything_but_whole_numbers(
    dictionaries: Sequence[Dictionary], n_frames: object
) -> None:
    with pytest.raises(ConfigError, match="held_out_frames"):
        held_out(dictionaries[0], n_frames)


@pytest.mark.parametrize("n_frames", [0, 10**9])
def test_a_card_that_does_not_say_what_was_held_out_says_nothing_wrong(
    dictionaries: Sequence[Dictionary], n_frames: object
) -> None:
    assert module._held_out(held_out(dictionaries[0], n_frames)) == 0


@pytest.mark.slow
def test_where_nothing_was_held_out_all_exemplars_are_explained(
    dictionaries: Sequence[Dictionary], pair: Comparison, at_once: None
) -> None:
    comparison = compare([dictionaries[0], held_out(dictionaries[1], 640)])
    assert (pair.held_out, comparison.held_out) == ((False, False), (False, True))
    violin = dictionaries[0]
    assert comparison.explained[0][0] == module._explained(violin, module._excerpt(violin))


def test_held_out_sound_is_the_end_of_the_exemplars(dictionaries: Sequence[Dictionary], at_once: None) -> None:
    violin, piano, _ = dictionaries
    changed = violin.exemplars.clone()
    changed[:, -640:] = piano.exemplars[:, -640:]
    mixed = Dictionary(violin.card, violin.network, changed)
    own = compare([held_out(mixed, 640), piano]).explained[0][0]
    assert own < compare([mixed, piano]).explained[0][0] - 0.1


@pytest.mark.parametrize("n_frames", [1, 5, 16, 100, 5000])
def test_memories_of_any_length_give_as_many_frames_of_unit_energy(
    dictionaries: Sequence[Dictionary], n_frames: int
) -> None:
    violin = dictionaries[0]
    excerpt = module._excerpt(Dictionary(violin.card, violin.network, violin.exemplars[:, :n_frames]))
    assert excerpt.shape == (violin.card.stft.n_bins, module.N_PIECES * module.N_PIECE_FRAMES)
    assert float(excerpt.square().sum(dim=0).mean()) == pytest.approx(1, rel=1e-4)


def test_there_is_a_forecast_for_each_pair_and_one_for_all_together(
    dictionaries: Sequence[Dictionary], at_once: None
) -> None:
    events: list[Progress] = []
    comparison = compare(dictionaries, seed=3, on_progress=events.append)
    assert [forecast.sources for forecast in comparison.forecasts] == [
        ("violin", "piano"),
        ("violin", "speech"),
        ("piano", "speech"),
        NAMES,
    ]
    assert [(event.stage, event.step, event.n_steps) for event in events] == [("compare", n, 4) for n in (1, 2, 3, 4)]
    assert comparison.as_dict()["forecasts"][-1] == {
        "sources": NAMES,
        "si_sdr_improvement_db": 3.0,
        "verdict": "barely told apart",
        "sentence": "violin, piano and speech: barely told apart; expect about 3 dB",
    }


@pytest.mark.parametrize(
    ("expected_db", "words"),
    [
        (8, "easily told apart"),
        (7.9, "told apart, but not cleanly"),
        (3.9, "barely told apart"),
        (0.9, "cannot be told apart"),
        (-3, "cannot be told apart"),
    ],
)
def test_the_words_fit_the_number(expected_db: float, words: str) -> None:
    assert Forecast(("a", "b"), expected_db).sentence == f"a and b: {words}; expect about {round(expected_db)} dB"


@pytest.mark.parametrize("function", [compare, forecast])
def test_what_cannot_be_compared_is_refused(dictionaries: Sequence[Dictionary], function: object) -> None:
    assert callable(function)
    violin = dictionaries[0]
    with pytest.raises(ConfigError, match="there is only a dictionary of 'violin'; expected two at least"):
        function([violin])
    with pytest.raises(ConfigError, match="dictionary 'piano' has no exemplars; train it again with exemplars_s"):
        function([violin, Dictionary(dictionaries[1].card, dictionaries[1].network)])
    with pytest.raises(ConfigError, match="2 dictionaries are of source 'violin'"):
        function([violin, violin])
    with pytest.raises(ConfigError, match="'violin' has sample_rate"):
        function([violin, trained("hum")])


def test_the_benchmark_says_how_far_forecasts_were_off() -> None:
    page = benchmark.markdown({"a": 1.0, "b": 2.0, "c": 4.0, "d": 5.0}, {"d": 6.0, "c": 4.0, "b": 3.0, "a": 2.0})
    assert page.index("| a | 1.0 | 2.0 |") < page.index("| d | 5.0 | 6.0 |")
    assert "over 4 scenes, which are few: Pearson 0.96 (95 %: " in page
    assert "Spearman 1.00. The forecast is off by 0.8 dB on average, 1.0 at most;" in page
