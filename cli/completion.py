"""What a shell completes words to; it waits for that at every press of the key, so nothing slow is imported."""

import importlib.util
import re
import sys

NEEDS_QUOTES = re.compile(r"""[\s'"\\$`&;|<>()*?\[\]{}!#~]""")  # bash inserts names as they are


def complete_dictionary(incomplete: str) -> list[str]:
    """Name the installed dictionaries that begin so; where there are none, the shell completes file names."""
    if "sepdict" not in sys.modules:
        _skip_the_heavy_part()
    from sepdict.errors import SepdictError
    from sepdict.library import installed

    try:
        names = installed()
    except SepdictError:  # no place to say it: the command will
        return []
    return [name for name in names if name.startswith(incomplete) and not NEEDS_QUOTES.search(name)]


def complete_device(incomplete: str) -> list[str]:
    """Name the kinds of devices."""
    return [name for name in ("auto", "cpu", "cuda", "mps") if name.startswith(incomplete)]


def _skip_the_heavy_part() -> None:
    """Let light modules of `sepdict` be imported without its ``__init__``, which loads torch, for seconds.

    Only for a process that ends when it has completed a word: what ``__init__`` defines is missing in it.
    """
    spec = importlib.util.find_spec("sepdict")
    if spec is not None:
        sys.modules["sepdict"] = importlib.util.module_from_spec(spec)
