"""Labels of a recording become moments of its sources, if they can be."""

import pytest

from sepdict.audio.labels import Label
from sepdict.audio.marks import moments_by_source
from sepdict.errors import ConfigError


def test_moments_are_sorted_by_source_and_time() -> None:
    labels = [Label(6, 7, "dog"), Label(1, 2, "rain"), Label(3, 4, "dog")]
    found = moments_by_source(labels, 7, "walk.wav")
    assert list(found.items()) == [("rain", (labels[1],)), ("dog", (labels[2], labels[0]))]


def test_moments_of_one_source_that_touch_or_overlap_become_one() -> None:
    labels = [Label(0, 2, "a", 100, 200), Label(2.0005, 3, "a", 50), Label(2.5, 2.8, "a", 60, 900), Label(4, 5, "a")]
    assert moments_by_source(labels, 5, "x.wav") == {"a": (Label(0, 3, "a", 50), Label(4, 5, "a"))}


def test_names_that_look_alike_are_one_source() -> None:
    found = moments_by_source([Label(0, 1, "Flo\u0308te"), Label(2, 3, "Fl\u00f6te")], 3, "x.wav")
    assert {source: len(moments) for source, moments in found.items()} == {"Fl\u00f6te": 2}


def test_a_moment_that_ends_a_frame_after_the_recording_is_cut_off() -> None:
    assert moments_by_source([Label(1, 3.04, "a")], 3, "x.wav") == {"a": (Label(1, 3, "a"),)}


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([], "there are no labels for it; mark where each source sounds alone"),
        ([Label(1, 3.06, "a")], "the label 'a' from 1 to 3.06 s is not within it, .* lasts 3 s; .* another recording"),
        ([Label(3, 3.01, "a")], "the label 'a' from 3 to 3.01 s is not within it"),
        (
            [Label(0, 1, "a"), Label(0.99, 2, "b")],
            "the labels 'a' from 0 to 1 s and 'b' from 0.99 to 2 s overlap; mark",
        ),
        (
            [Label(0, 3, "a"), Label(0.5, 1, "a"), Label(2.5, 2.6, "b")],
            "the labels 'a' from 0 to 3 s and 'b' .* overlap",
        ),
    ],
)
def test_labels_that_cannot_be_moments_are_refused_in_one_line(labels: list[Label], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^x.wav: {said}"):
        moments_by_source(labels, 3, "x.wav")


def test_a_label_that_cannot_name_a_stem_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^x.wav: a label's name is 'a/b'; expected a name that can be a file's"):
        moments_by_source([Label(0, 1, "a/b")], 3, "x.wav")


def test_moments_that_miss_each_other_by_less_than_a_millisecond_do_not_overlap() -> None:
    assert list(moments_by_source([Label(0, 1.0005, "a"), Label(1, 2, "b")], 3, "x.wav")) == ["a", "b"]
