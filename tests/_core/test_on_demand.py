"""A library that is installed and does not load stops only what needs it, in a line that says how to mend it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from front_end import fail, mixture, trained

from sepdict._core.on_demand import load
from sepdict.dictionaries.inspection import pitches
from sepdict.dictionaries.synthesis import synthesize
from sepdict.errors import LibraryError
from sepdict.separation.engine import separate

UNDEFINED = "libtorchaudio.so: undefined symbol: torch_exception_get_what"
MISMATCH = "PyTorch has CUDA version 13.2 whereas TorchAudio has CUDA version 13.0."
FAILURES = {  # what such a library does when it is imported, and what is to be said of it
    "symbol": (f"raise OSError('Could not load this library') from OSError({UNDEFINED!r})", UNDEFINED),
    "versions": (f"raise RuntimeError('Detected that\\n{MISMATCH}')", MISMATCH),
    "missing": ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    "function": ("", "has no attribute"),
    "silent": ("raise AssertionError", "AssertionError"),
    "warning": ("raise FutureWarning('torch.jit is deprecated')", "torch.jit is deprecated"),
}


def loaded() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] in ("torchaudio", "librosa")]


@pytest.fixture(params=FAILURES)
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Put before torchaudio and librosa others that fail, and say how."""
    program, said = FAILURES[request.param]
    break_libraries(tmp_path, program)
    with pytest.MonkeyPatch.context() as patch:
        for name in loaded():
            patch.delitem(sys.modules, name)
        patch.syspath_prepend(tmp_path)
        yield said
        for name in loaded():  # what is broken must not stay for other tests
            del sys.modules[name]


def break_libraries(folder: Path, program: str) -> None:
    for library in ("torchaudio", "librosa"):
        (folder / library).mkdir()
        (folder / library / "__init__.py").write_text(program)
        (folder / library / "functional.py").touch()


def test_a_torchaudio_that_does_not_load_is_said_in_one_line_with_how_to_mend_it(broken: str) -> None:
    with pytest.raises(LibraryError) as caught:
        synthesize(trained("hiss"), 0.5)
    said = str(caught.value)
    assert said.startswith("torchaudio 2.")
    assert " beside torch 2." in said
    assert broken in said
    assert "\n" not in said
    assert '--force-reinstall "torch' in said
    assert '"torchaudio<' in said


def test_a_librosa_that_does_not_load_is_said_in_one_line_with_how_to_mend_it(broken: str) -> None:
    dictionary = trained("hiss")
    with pytest.raises(LibraryError) as caught:
        pitches(torch.ones(64, 3), dictionary.card)
    said = str(caught.value)
    assert said.startswith("librosa ")
    assert broken in said
    assert "\n" not in said
    assert '--force-reinstall "librosa>=' in said


def test_what_needs_neither_works_without_them(broken: str) -> None:
    stems = separate(mixture(), [trained("hiss"), trained("hum")]).stems
    assert sorted(stems) == ["hiss", "hum"]


def test_a_library_that_is_not_installed_is_named_so() -> None:
    with pytest.raises(LibraryError, match=r"^nothing_such \(not installed\) does not load .*pip install"):
        load("nothing_such.at.all", "function")


@pytest.mark.parametrize("broken", ["symbol"], indirect=True)
def test_the_command_says_it_in_one_line(broken: str, tmp_path: Path) -> None:
    path = trained("hiss").save(tmp_path / "hiss.safetensors")
    assert broken in fail("synthesize", path, "-o", tmp_path / "hiss.wav")
    assert not (tmp_path / "hiss.wav").exists()


def test_the_real_ones_load_after_all_this() -> None:
    assert load("torchaudio.functional", "griffinlim").__module__.startswith("torchaudio")
