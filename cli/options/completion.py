"""Completion of words in a shell, which waits for it at every press of the key: nothing slow is imported."""

import re

NEEDS_QUOTES = re.compile(r"""[\s'"\\$`&;|<>()*?\[\]{}!#~]""")  # bash inserts names as they are


def complete_dictionary(incomplete: str) -> list[str]:
    """Name the installed dictionaries that begin so; where there are none, the shell completes file names."""
    from sepdict._core.names import normalized, visible
    from sepdict.dictionaries.library import installed
    from sepdict.errors import SepdictError

    try:
        names = installed()
    except SepdictError:  # no place to say it: the command will
        return []
    wanted = normalized(incomplete)
    return [
        name for name in names if name.startswith(wanted) and visible(name) == name and not NEEDS_QUOTES.search(name)
    ]


def complete_device(incomplete: str) -> list[str]:
    """Name the kinds of devices."""
    return [name for name in ("auto", "cpu", "cuda", "mps") if name.startswith(incomplete)]
