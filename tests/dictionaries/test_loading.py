"""A dictionary, however it is given: as it is, by the path of its file or by its installed name."""

from pathlib import Path

import pytest
import torch
from front_end import trained

from sepdict.dictionaries.loading import as_dictionaries, as_dictionary, load_dictionary
from sepdict.errors import ConfigError, DictionaryFileError


@pytest.fixture
def installed_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "library").mkdir()
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path / "library"))
    return trained("hiss").save(tmp_path / "library" / "steam.safetensors")


def test_a_path_a_name_and_a_dictionary_are_the_same(installed_path: Path) -> None:
    dictionary = trained("hiss")
    codes = torch.randn(2, 5)
    for given in (dictionary, installed_path, str(installed_path), "steam"):
        same = as_dictionary(given)
        assert same.sha256 == dictionary.sha256
        assert torch.equal(same.decode(codes), dictionary.decode(codes))
    assert as_dictionary(dictionary) is dictionary
    assert load_dictionary("steam").source == "hiss"


def test_a_list_may_mix_how_dictionaries_are_given(installed_path: Path) -> None:
    assert [each.source for each in as_dictionaries(["steam", trained("hum"), installed_path])] == [
        *("hiss", "hum", "hiss")
    ]


def test_what_is_no_dictionary_is_refused_by_name_and_place(installed_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^dictionaries\[1\] is 5; expected Dictionary, or the path or installed name"
    ):
        as_dictionaries(["steam", 5])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match=r"^dictionaries is 'steam'; expected a list of Dictionary"):
        as_dictionaries("steam")
    with pytest.raises(ConfigError, match=r"^dictionary is None; expected Dictionary, or"):
        as_dictionary(None)  # type: ignore[arg-type]
    with pytest.raises(DictionaryFileError, match=r"viola: no such file.*installed are: steam"):
        as_dictionary("viola")
