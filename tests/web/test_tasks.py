"""Messages of tasks, as the page shows them."""

from pathlib import Path

import pytest
from front_end import be_without_home

from sepdict.web.tasks import NamedFile, name_files


def test_messages_name_files_as_the_page_does_also_without_a_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SEPDICT_CACHE", "SEPDICT_LIBRARY"):
        monkeypatch.delenv(variable, raising=False)
    be_without_home(monkeypatch)
    message = "/a/4e7b.wav: is like /b/c/other.wav"
    assert name_files(message, [NamedFile(Path("/a/4e7b.wav"), "duet.wav")]) == "duet.wav: is like other.wav"
