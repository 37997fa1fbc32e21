"""Output of stems: which of them, under what names, in what format, and at what level.

Where a format would clip, all stems of a track are made softer by one gain; their sum is then the softer mixture.
"""

import functools
import logging
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sepdict._core.names import RESIDUAL, normalized, refuse_unwritable
from sepdict._core.settings import refuse_other_types
from sepdict.audio.context import NOTHING, Context
from sepdict.audio.formats import ENCODINGS
from sepdict.errors import AudioFileError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)


CLIP_MODES = ("rescale", "clamp", "none")
MIXTURE_EXTENSION, NO_EXTENSION = "mixture_ext", "none"
FIELDS = ("track", "source", "ext", MIXTURE_EXTENSION)
EXTENSION_FIELD = ".{ext}"


@dataclass(frozen=True)
class OutputConfig:
    """Settings of the output: which stems are written, and how.

    Parameters
    ----------
    format : str
        ``"wav"``, ``"flac"``, ``"mp3"`` or ``"ogg"``.
    bit_depth : str, optional
        ``"16"``, ``"24"`` or ``"float"``, which is 32 bits and WAV's alone; by default the most that the format can
        hold. MP3 and Ogg have none.
    clip_mode : str
        What is done where a stem passes full scale and its format would clip it, as all but 32-bit float do:
        ``"rescale"`` makes all stems of the track softer by one gain, ``"clamp"`` cuts off what is too loud, and
        ``"none"`` fails.
    filename : str
        Where files go below the output folder, with ``{track}``, ``{source}`` and, at the end, ``.{ext}``. The
        manifest, a report and labels are of sources ``manifest``, ``report`` and ``labels``. ``{mixture_ext}`` tells
        ``take.wav`` from ``take.mp3``, as in ``"{track}.{mixture_ext}/{source}.{ext}"``; without an extension it is
        ``none``.
    two_stems : str, optional
        Name of the only source that is wanted; the sum of the others becomes ``no_{name}``.
    residual_name : str
        Name of the stem with what no dictionary explains.

    Raises
    ------
    ConfigError
        If one of them is something else.

    Examples
    --------
    >>> output = OutputConfig(format="flac", filename="{source}/{track}.{ext}", two_stems="violin")
    >>> output.stems(["violin", "piano", "harp"]), str(output.path("duet", "no_violin"))
    (['violin', 'no_violin'], 'no_violin/duet.flac')
    """

    format: str = "wav"
    bit_depth: str | None = None
    clip_mode: str = "rescale"
    filename: str = "{track}/{source}.{ext}"
    two_stems: str | None = None
    residual_name: str = RESIDUAL

    def __post_init__(self) -> None:
        refuse_other_types(self)
        if self.format not in ENCODINGS:
            raise ConfigError(f"format is {self.format!r}; expected one of {', '.join(ENCODINGS)}")
        depths = ENCODINGS[self.format]
        if self.bit_depth is not None and self.bit_depth not in depths:
            expected = f"expected {' or '.join(depths)}" if depths else "it is lossy and has none: leave it out"
            raise ConfigError(f"bit depth of {self.format} is {self.bit_depth!r}; {expected}")
        if self.clip_mode not in CLIP_MODES:
            raise ConfigError(f"clip mode is {self.clip_mode!r}; expected one of {', '.join(CLIP_MODES)}")
        _refuse_template(self.filename)
        refuse_unwritable(self.residual_name, "the residual's name")
        object.__setattr__(self, "residual_name", normalized(self.residual_name))
        if self.two_stems is not None:
            object.__setattr__(self, "two_stems", normalized(self.two_stems))

    @property
    def encoding(self) -> str | None:
        """Sample format by libsndfile's name; None for a format with only one."""
        depths = ENCODINGS[self.format]
        return depths[self.bit_depth] if self.bit_depth is not None else next(iter(depths.values()), None)

    def of(self, mixture: Path) -> "OutputConfig":
        """Fill a mixture's extension into the template."""
        return _filled(self, mixture.suffix[1:] or NO_EXTENSION)

    def path(self, track: str, source: str, *, ext: str | None = None) -> Path:
        """Return the path of a file, relative to the output folder."""
        return Path(self.filename.format(track=track, source=source, ext=ext or self.format))

    def named(self, names: Sequence[str]) -> list[str]:
        """Return the names of all stems, given the separation's, with the residual renamed."""
        return [self.residual_name if name == RESIDUAL else name for name in names]

    def stems(self, names: Sequence[str]) -> list[str]:
        """Return the names of the stems that are written, given the separation's.

        Raises
        ------
        ConfigError
            If the residual is called like a source, or there is no stem of the name that is wanted alone.
        """
        named = self.named(names)
        if [name.casefold() for name in named].count(self.residual_name.casefold()) > 1:
            raise ConfigError(
                f"the residual is to be called {self.residual_name!r}, like a source; choose another name"
            )
        if self.two_stems is None:
            return named
        if self.two_stems not in named:
            raise ConfigError(f"two stems are to be of {self.two_stems!r}; expected one of {', '.join(named)}")
        return [self.two_stems, f"no_{self.two_stems}"]

    def mixed(self, stems: "Tensor", names: Sequence[str]) -> "Tensor":
        """Mix all stems, (n_names, n_channels, n_samples), into those that are written."""
        if self.two_stems is None:
            return stems
        import torch  # here: it takes seconds to load, and settings are made without it

        wanted = self.named(names).index(self.two_stems)
        others = [stem for index, stem in enumerate(stems) if index != wanted]
        return torch.stack([stems[wanted], sum(others[1:], others[0])])

    def draft(self, path: Path) -> Path:
        """Return the path of a stem's draft, written before its peak is known; its own path where nothing can clip."""
        return path if self.encoding == "FLOAT" else path.with_name(f"{path.name}.rf64")

    def encode(self, paths: Sequence[Path], *, peak: float, context: Context = NOTHING) -> float:
        """Encode the drafts of a track's stems in the wanted format, given the largest sample of all of them.

        Tags and other facts of the context go into the files.

        Returns
        -------
        float
            The gain of all stems, 1 or less.

        Raises
        ------
        AudioFileError
            If they would clip and ``clip_mode`` forbids it, or cannot be written.
        """
        from sepdict.audio.writing import copy_audio  # here: it loads PyTorch

        if self.encoding == "FLOAT":
            return 1.0
        if self.clip_mode == "none" and peak > 1:
            what = f"the largest sample of all stems is {peak:.3f}, and {self.format} clips above 1"
            raise AudioFileError(f"{paths[0].parent}: {what}; rescale or clamp, or write WAV of 32-bit float")
        if self.clip_mode == "clamp" and peak > 1:
            log.warning("%s: up to %.1f dB above full scale were cut off", paths[0].parent, 20 * math.log10(peak))
        gain = 1 / peak if self.clip_mode == "rescale" and peak > 1 else 1.0
        for path in paths:  # rescaled samples are clamped, too: they may be rounded to more than one
            copy_audio(self.draft(path), path, gain=gain, clamps=True, encoding=self.encoding, context=context)
            self.draft(path).unlink()
        return gain


def _literal(text: str) -> str:
    """Escape text for a template."""
    return text.replace("{", "{{").replace("}", "}}")


@functools.cache  # for there may be a million mixtures
def _filled(output: OutputConfig, extension: str) -> OutputConfig:
    """Fill an extension into the template."""
    filled = ""
    for literal, name, *_ in string.Formatter().parse(output.filename):
        filled += _literal(literal)
        filled += "" if name is None else _literal(extension) if name == MIXTURE_EXTENSION else f"{{{name}}}"
    return replace(output, filename=filled)


def _refuse_template(filename: str) -> None:
    """Refuse a template that cannot name every stem's file below the output folder."""
    expected = "expected {track}, {source} and, at the end, .{ext}, as in {track}/{source}.{ext}"
    try:
        fields = [part[1:] for part in string.Formatter().parse(filename) if part[1] is not None]
    except ValueError:  # a lone brace
        raise ConfigError(f"filename is {filename!r}; {expected}") from None
    for field, form, conversion in fields:
        if field not in FIELDS or form or conversion:
            raise ConfigError(f"filename is {filename!r} and has {{{field}{form and ':' + form}}}; {expected}")
    if "source" not in [field for field, *_ in fields] or not filename.endswith(EXTENSION_FIELD):
        raise ConfigError(f"filename is {filename!r}; {expected}")
    path = PurePosixPath(filename)
    if path.name == EXTENSION_FIELD:
        raise ConfigError(f"filename is {filename!r} and names a file nothing but its extension; {expected}")
    if path.is_absolute() or ".." in path.parts or "\0" in filename:
        raise ConfigError(f"filename is {filename!r}, which may lie outside the output folder; {expected}")
