"""Row 0: the errors sepdict raises. Each message says what was expected, what came, and what to do."""

import math
from collections.abc import Mapping


class SepdictError(Exception):
    """Anything a caller can mend: the common base of all errors below."""


class ConfigError(SepdictError):
    """A setting, or a combination of dictionaries, that cannot work."""


class ShapeError(SepdictError):
    """A tensor whose axes do not fit what it is used with."""


class AudioError(SepdictError):
    """Samples that cannot be used: not finite, not floating point, all silent, none at all."""


class AudioFileError(AudioError):
    """An audio file that cannot be found, read or written."""


class DictionaryFileError(SepdictError):
    """A dictionary file that is damaged, foreign, too large, or newer than this version reads."""


def refuse_out_of_range(settings: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Check that some of a configuration's numbers lie between the least and the most that they can be.

    Raises
    ------
    ConfigError
        If one does not, or is NaN.
    """
    for name, (least, most) in ranges.items():
        if not least <= getattr(settings, name) <= most:
            expected = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
            raise ConfigError(f"{name} is {getattr(settings, name)}; expected {expected}")
