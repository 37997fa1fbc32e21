"""Row 0: the errors sepdict raises. Each message says what was expected, what came, and what to do."""


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
