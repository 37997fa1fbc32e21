"""The header of a dictionary file: what it says of itself, read without PyTorch and without its tensors."""

from pathlib import Path
from typing import Any

from sepdict._core.names import normalized
from sepdict.dictionaries.tensor_file import INVALID_JSON, TensorFileError, open_tensors, read_json
from sepdict.errors import DictionaryFileError

FORMAT = "sepdict.dictionary"
FORMAT_VERSION = 5  # rises with every change after which older files would be read wrongly


def read_entry(path: Path, metadata: Any) -> dict[str, Any]:
    """Read the entry of a header that has the format's version, the card and the checksum, none of them checked.

    Raises
    ------
    DictionaryFileError
        If there is none.
    """
    try:
        entry = read_json(metadata[FORMAT])
        return {name: entry.get(name) for name in ("format_version", "card", "sha256")}
    except INVALID_JSON as error:
        raise DictionaryFileError(f"{path}: holds something else; expected a sepdict dictionary") from error


def read_checksum(path: Path) -> tuple[str, str]:
    """Read a dictionary's source and the checksum of its content, as its header gives them.

    Whether the content has that checksum is seen when the dictionary is loaded.

    Raises
    ------
    DictionaryFileError
        If the file cannot be read, or has no such header.
    """
    try:
        with open_tensors(path) as file:
            entry = read_entry(path, file.metadata)
        return normalized(entry["card"]["source"]), str(entry["sha256"])
    except OSError as error:
        why = error.strerror or error
        raise DictionaryFileError(f"{path}: cannot be read ({why}); expected a dictionary file") from error
    except (TensorFileError, *INVALID_JSON) as error:
        raise DictionaryFileError(f"{path}: {error}") from error
