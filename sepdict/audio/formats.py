"""Formats in which sound files are written. Nothing here loads PyTorch, so that settings can be checked without it."""

from collections.abc import Mapping

WRITTEN_FORMATS = {  # extension: (libsndfile's name of the container, of its most faithful encoding)
    ".wav": ("WAV", "FLOAT"),
    ".flac": ("FLAC", "PCM_24"),
    ".aif": ("AIFF", "FLOAT"),
    ".aiff": ("AIFF", "FLOAT"),
    ".w64": ("W64", "FLOAT"),
    ".rf64": ("RF64", "FLOAT"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
ENCODINGS: Mapping[str, Mapping[str, str]] = {
    "wav": {"float": "FLOAT", "24": "PCM_24", "16": "PCM_16"},
    "flac": {"24": "PCM_24", "16": "PCM_16"},
    "mp3": {},
    "ogg": {},
}
"""libsndfile's encodings by format (an extension) and bit depth, the most faithful first; lossy formats have none."""
