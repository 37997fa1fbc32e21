"""Names: valid names of sources, comparison of names, and display of text from other people's files."""

import itertools
import os
import re
import reprlib
import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

from sepdict.errors import ConfigError

RESIDUAL = "residual"  # the stem of what no dictionary explains; no source can have this name
MOST_NAME_BYTES = 200  # file systems take 255; what is left is for a checksum, a suffix and the extension
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they turn around how the text beside them reads
HIDDEN = f"\0-\x1f\x7f-\x9f\u2028\u2029\ufeff{BIDI_CONTROLS}\ud800-\udfff"  # controls, line ends, lone surrogates
UNDECODED = "\udc80-\udcff"  # how Python holds the bytes of a file name that is no valid Unicode
ZERO_WIDTH = "\u00ad\u180e\u200b\u2060-\u2064"  # not the joiners U+200C and U+200D, which Persian and emoji need
# names that Windows keeps for itself, whatever the extension
DEVICES = r"con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$"

_HIDDEN = re.compile(f"[{HIDDEN}]")
_PROMPTING = re.compile(f"(?![\n{UNDECODED}])[{HIDDEN}]")
_DEVICE = re.compile(rf"(?:{DEVICES}) *(?:\..*)?", re.IGNORECASE)
_INVISIBLE = re.compile(f"[{HIDDEN}{ZERO_WIDTH}]")
_FOREIGN = re.compile(rf'[<>:"/\\|?*{HIDDEN}{ZERO_WIDTH}]')  # the first ones Windows has other uses for
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # a single letter would be a drive
_WRITABLE = re.compile(r"(?![.\s])[^/\\]+(?<![.\s])")


def normalized(name: str) -> str:
    r"""Return a name in Unicode's composed form (NFC), in which names are compared: "é" can be one letter or two.

    Examples
    --------
    >>> normalized("Flo\u0308te") == "Fl\u00f6te"
    True
    """
    return unicodedata.normalize("NFC", name)


def refuse_unwritable(name: object, what: str) -> None:
    r"""Refuse a name that cannot be that of a file on every operating system.

    Raises
    ------
    ConfigError
        If it is no text, empty, too long, partly invisible, a name that Windows keeps for a device, or a path.

    Examples
    --------
    >>> refuse_unwritable("con", "source name")
    Traceback (most recent call last):
    sepdict.errors.ConfigError: source name is 'con', which Windows keeps for a device; expected another name
    """
    if isinstance(name, str) and len(normalized(name).encode(errors="replace")) > MOST_NAME_BYTES:
        raise ConfigError(f"{what} begins {name[:40]!r} and is too long; expected {MOST_NAME_BYTES} bytes at most")
    if isinstance(name, str) and _DEVICE.fullmatch(name):
        raise ConfigError(f"{what} is {name!r}, which Windows keeps for a device; expected another name")
    if isinstance(name, str) and _INVISIBLE.search(name):
        raise ConfigError(f"{what} is {reprlib.repr(name)}, with characters that cannot be seen; expected visible ones")
    if not isinstance(name, str) or not _WRITABLE.fullmatch(name):
        expected = "expected a name that can be a file's, without / or \\, and no dot or space at either end"
        raise ConfigError(f"{what} is {reprlib.repr(name)}; {expected}")


def file_names(names: Sequence[str], *, otherwise: str) -> list[str]:
    """Return file names after names of others, so that every operating system takes them and no two are the same.

    Parameters
    ----------
    names : sequence of str
        Any text, without the extension.
    otherwise : str
        The name where nothing is left of one.

    Examples
    --------
    >>> file_names(["take", "Take", "...", "a:b", "con", "end."], otherwise="mixture")
    ['take', 'Take 2', 'mixture', 'a_b', '_con', 'end']
    """
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        wanted = _portable(name) or otherwise
        numbered = (f"{wanted} {number}" for number in itertools.count(2))
        free = next(each for each in itertools.chain([wanted], numbered) if folded(each) not in taken)
        taken.add(folded(free))
        found.append(free)
    return found


def _portable(name: str) -> str:
    """Return what every operating system takes of a name, which may be nothing."""
    text = _FOREIGN.sub("_", normalized(name))
    text = text.encode(errors="replace")[:MOST_NAME_BYTES].decode(errors="ignore").strip(". ")
    return f"_{text}" if _DEVICE.fullmatch(text) else text


def folded(name: str) -> str:
    """Return a name in the form in which Windows and macOS take two for the same."""
    return normalized(normalized(name).casefold())


def visible(text: str, *, lines: bool = False) -> str:
    r"""Replace control characters by escapes, so that text neither steers a terminal nor hides in a page.

    Parameters
    ----------
    text : str
    lines : bool
        Keep line ends, and the undecoded bytes of file names: for a terminal or a pipe.

    Examples
    --------
    >>> print(visible("take\x1b[2J\u202e.wav"))
    take\x1b[2J\u202e.wav
    """
    return (_PROMPTING if lines else _HIDDEN).sub(lambda found: ascii(found.group())[1:-1], text)


def refusal_of_url(path: str | PurePath) -> str:
    """Return why a path cannot be used if it is a URL, such as ``s3://bucket/recordings``; nothing if it is none."""
    if not _URL.match(str(path)) or os.path.exists(path):
        return ""
    url = _URL.sub(r"\1://", str(path))  # a path has lost a slash
    return f"{url}: is a URL; expected a file or folder: mount the store as one, or copy from it first"
