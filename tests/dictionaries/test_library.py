"""The user's library: dictionaries found by name, and files before them."""

from pathlib import Path

import pytest
import torch
from front_end import be_without_home

from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.library import find_dictionary, installed, library_folder
from sepdict.dictionaries.loading import load_dictionary
from sepdict.errors import ConfigError, DictionaryFileError
from sepdict.models.autoencoder import build_autoencoder
from sepdict.models.layers import initialize
from sepdict.models.network_config import NetworkConfig
from sepdict.spectral.stft import StftConfig


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty library, and a working folder beside it."""
    monkeypatch.setenv("SEPDICT_LIBRARY", str(tmp_path / "library"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "library"


def dictionary_of(source: str) -> Dictionary:
    card = Card(source, 8000, StftConfig(n_fft=64, hop_length=16), NetworkConfig(code_size=2, hidden=()))
    network = build_autoencoder(card.network, card.stft.n_bins)
    initialize(network, torch.Generator().manual_seed(0))
    return Dictionary(card, network)


def save(source: str, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    return dictionary_of(source).save(path)


def test_a_library_that_is_not_there_yet_is_empty(library: Path) -> None:
    assert installed() == {}
    assert not library.exists()


def test_installed_dictionaries_are_found_by_name(library: Path) -> None:
    path = save("violin", library / "violin.safetensors")
    save("piano", library / "grand.safetensors")
    (library / "notes.txt").touch()
    (library / ".hidden.safetensors").touch()
    assert list(installed()) == ["grand", "violin"]
    assert find_dictionary("violin") == path
    assert load_dictionary("grand").source == "piano"


def test_a_file_wins_over_an_installed_dictionary_of_its_name(library: Path) -> None:
    save("installed", library / "violin.safetensors")
    save("here", Path("violin"))
    assert load_dictionary("violin").source == "here"


def test_a_folder_of_solos_does_not_hide_the_dictionary_that_was_made_of_it(library: Path) -> None:
    path = save("violin", library / "violin.safetensors")
    Path("violin").mkdir()
    assert find_dictionary("violin") == path


def test_names_may_have_dots(library: Path) -> None:
    path = save("violin", library / "violin.2nd.safetensors")
    assert find_dictionary("violin.2nd") == path


@pytest.mark.parametrize("name", ["violin.safetensors", "./sub/violin", "/violin"])
def test_what_looks_like_a_path_is_never_looked_up(library: Path, name: str) -> None:
    save("violin", library / "violin.safetensors")
    with pytest.raises(DictionaryFileError, match="cannot be read"):
        load_dictionary(name)


COMPOSED, DECOMPOSED = "Fl\u00f6te", "Flo\u0308te"


@pytest.mark.parametrize("asked", [COMPOSED, DECOMPOSED])
@pytest.mark.parametrize("on_disk", [COMPOSED, DECOMPOSED])
def test_a_name_is_found_in_either_form_of_unicode(library: Path, on_disk: str, asked: str) -> None:
    save("flute", library / f"{on_disk}.safetensors")
    assert list(installed()) == [COMPOSED]
    assert find_dictionary(asked).samefile(library / f"{on_disk}.safetensors")


def test_of_two_files_that_look_alike_none_is_lost(library: Path) -> None:
    for source in (DECOMPOSED, COMPOSED):
        save("flute", library / f"{source}.safetensors")
    if len(list(library.iterdir())) == 1:
        pytest.skip("this file system takes both forms for one")
    assert sorted(path.stem for path in installed().values()) == sorted([COMPOSED, DECOMPOSED])
    assert find_dictionary(DECOMPOSED).stem == COMPOSED


def test_an_unknown_name_is_refused_with_those_that_are_known(library: Path) -> None:
    with pytest.raises(DictionaryFileError, match=r"viola: no such file.*installed are: none"):
        find_dictionary("viola")
    save("violin", library / "violin.safetensors")
    with pytest.raises(DictionaryFileError, match=r"viola: no such file.*installed are: violin"):
        find_dictionary("viola")


def test_without_the_variable_the_library_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SEPDICT_LIBRARY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert library_folder() == tmp_path / "sepdict"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert library_folder() == tmp_path / ".local" / "share" / "sepdict"


def test_who_has_no_home_is_told_which_variable_names_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEPDICT_LIBRARY", raising=False)
    be_without_home(monkeypatch)
    for work in (library_folder, installed, lambda: find_dictionary("viola")):
        with pytest.raises(ConfigError, match="there is no home folder here; have SEPDICT_LIBRARY name a folder"):
            work()
    save("viola", tmp_path / "viola.safetensors")
    assert find_dictionary(tmp_path / "viola.safetensors").exists()  # a path needs none


@pytest.mark.parametrize("place", ["library", "library/below"])
def test_a_library_that_cannot_be_looked_into_is_no_empty_one(
    library: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    library.touch()
    monkeypatch.setenv("SEPDICT_LIBRARY", str(library.parent / place))
    with pytest.raises(ConfigError, match=rf"{place}: cannot be read \(Not a directory\); have SEPDICT_LIBRARY"):
        installed()
