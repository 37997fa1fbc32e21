"""Load libraries in a process of its own, which a broken one can end: `sepdict env` starts it and reads its answers.

Of every library in turn it prints what is wrong with it, null where nothing is, as a line of JSON.
"""

import importlib
import json
import os
import sys
from typing import Any

from sepdict._core.on_demand import why

FACTS = "facts"  # stands among the modules for the device and the folders


def main(modules: list[str]) -> None:
    """Load modules, or names in them (``module:name``), one after the other, and print an answer for each."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        for module in modules:
            print(json.dumps(_facts() if module == FACTS else _fault(module)), file=answers, flush=True)


def _fault(module: str) -> str | None:
    """Load a module, and return in one line what went wrong, or None."""
    name, _, attribute = module.partition(":")
    try:
        loaded = importlib.import_module(name)
        if attribute:
            getattr(loaded, attribute)
    except BaseException as error:  # some leave by SystemExit
        return why(error)
    return None


def _facts() -> dict[str, Any]:
    """Find the device that sepdict takes, and its folders."""
    try:
        from sepdict._core.cache import cache_folder
        from sepdict._core.devices import AUTO, choose_device, describe_device
        from sepdict.dictionaries.library import library_folder

        device = describe_device(choose_device(AUTO))
        return {"device": device, "library": str(library_folder()), "cache": str(cache_folder())}
    except Exception as error:
        return {name: f"not known: {why(error)}" for name in ("device", "library", "cache")}


if __name__ == "__main__":
    main(sys.argv[1:])
