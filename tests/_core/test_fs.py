"""Files are either whole or absent, and folders that stay empty are taken back."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sepdict._core.fs import writable_folder, write_atomically
from sepdict.errors import ConfigError


def fail_with(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 4096])
def test_what_is_written_is_what_was_given(tmp_path: Path, content: bytes) -> None:
    write_atomically(tmp_path / "a.bin", content)
    assert (tmp_path / "a.bin").read_bytes() == content
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_older_file_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"a much longer older content")
    write_atomically(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"


def test_the_older_file_is_there_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen, replace = tmp_path / "a.bin", [], os.replace
    path.write_bytes(b"old")

    def watch(source: str, target: Path) -> None:
        seen.append((path.read_bytes(), Path(source).read_bytes(), Path(source).parent == path.parent))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watch)
    write_atomically(path, b"new")
    assert seen == [(b"old", b"new", True)]  # beside it: a rename across file systems would be a copy


@pytest.mark.parametrize("step", ["fsync", "close", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("existed", [True, False])
def test_on_failure_nothing_is_left_and_the_older_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException, existed: bool
) -> None:
    if existed:
        (tmp_path / "a.bin").write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail_with(error))
        with pytest.raises(type(error)):
            write_atomically(tmp_path / "a.bin", b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({"a.bin": b"old"} if existed else {})


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_are_the_usual_ones(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "a.bin", b"x")
        assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o666 & ~mask
        assert os.umask(mask) == mask  # reading the mask did not change it
    finally:
        os.umask(before)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "a.bin", b"x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["a" * 255, "音" * 85, "🎻" * 63], ids=["ascii", "three bytes each", "four bytes each"]
)
def test_every_name_that_the_file_system_takes_can_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()  # the file system takes it
    write_atomically(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


# --- folders


@pytest.mark.parametrize("name", ["new", "new/deeper/still", "there", "there/new", "."])
def test_a_folder_is_there_and_empty_during_the_work_and_stays_with_what_was_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").mkdir()
    with writable_folder(tmp_path / name):
        assert not [path for path in (tmp_path / name).iterdir() if path.is_file()]  # the trial left nothing
        (tmp_path / name / "a.bin").write_bytes(b"x")
    assert (tmp_path / name / "a.bin").read_bytes() == b"x"


def test_a_folder_that_was_made_and_stayed_empty_is_taken_back_with_its_parents(tmp_path: Path) -> None:
    with writable_folder(tmp_path / "new" / "deeper"):
        pass
    assert not list(tmp_path.iterdir())


def test_of_the_folders_made_only_the_empty_ones_are_taken_back(tmp_path: Path) -> None:
    with writable_folder(tmp_path / "new" / "deeper"):
        (tmp_path / "new" / "a.bin").touch()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "a.bin"]


def test_a_folder_that_was_there_before_is_kept_even_if_empty(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with writable_folder(tmp_path / "there"):
        pass
    assert os.listdir(tmp_path) == ["there"]


@pytest.mark.parametrize(
    "error", [ValueError("mine"), OSError(errno.ENOSPC, "mine"), KeyboardInterrupt("mine")], ids=repr
)
def test_an_error_of_the_work_is_handed_on_and_the_empty_folder_taken_back(
    tmp_path: Path, error: BaseException
) -> None:
    with pytest.raises(type(error), match="mine"), writable_folder(tmp_path / "new"):
        raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file", "file: is a file; expected a folder"),
        ("link", "link: is a file; expected a folder"),
        ("file/new", r"cannot be written to \(Not a directory\)"),
        ("new/" + "a" * 300, r"cannot be written to \(File name too long\)"),
    ],
    ids=lambda text: text[:10],
)
def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ConfigError, match=said), writable_folder(tmp_path / name):
        pytest.fail("the work began")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", fail_with(PermissionError(errno.EACCES, "Not for you")))
    with (
        pytest.raises(ConfigError, match=r"new: cannot be written to \(Not for you\)"),
        writable_folder(tmp_path / "new"),
    ):
        pytest.fail("the work began")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "number", [errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS], ids=lambda number: errno.errorcode[number]
)
@pytest.mark.parametrize("refused", ["chmod", "fchmod", "lchmod", "fsync"])
def test_a_file_system_without_niceties_takes_files_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, number: int
) -> None:
    """Network shares know no permissions, and some cannot promise what is on the disk."""
    monkeypatch.setattr(os, refused, fail_with(OSError(number, os.strerror(number))), raising=False)
    write_atomically(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT], ids=lambda number: errno.errorcode[number])
def test_what_did_not_reach_the_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(OSError(number, os.strerror(number))))
    with pytest.raises(OSError, match=os.strerror(number)):
        write_atomically(tmp_path / "a.bin", b"new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", ["open", "fsync", "replace"])
def test_an_error_names_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def full(*names: object, **_: object) -> None:
        raise OSError(errno.ENOSPC, "Disk full", *(str(name) for name in names[:1] if broken != "fsync"))

    monkeypatch.setattr(os, broken, full)
    with pytest.raises(OSError, match="Disk full") as refusal:
        write_atomically(tmp_path / "a.bin", b"new")
    assert refusal.value.filename == str(tmp_path / "a.bin")
    assert not list(tmp_path.iterdir())
