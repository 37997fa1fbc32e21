"""Pictures and sounds of what a dictionary has learned, written to a folder."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sepdict._core.devices import AUTO
from sepdict._core.fs import refuse_existing, writable_folder, write_atomically
from sepdict._core.settings import checks_types
from sepdict.audio.io import AudioLike, as_recordings
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.dictionaries import inspection
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.loading import DictionaryLike, as_dictionary
from sepdict.dictionaries.synthesis import synthesize
from sepdict.progress import OnProgress, closes_progress, ignore_progress
from sepdict.reports import plots
from sepdict.training.config import TrainingConfig
from sepdict.training.learning_curve import learning_curve, training_config_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

FOLDER = "inspected"
SOUND_S = 10.0  # a walk then spends little more than half a second on each of sixteen dimensions
SOUNDS = {"excited.wav": False, "walk.wav": True}  # the argument ``walk`` of `synthesize`


@checks_types
@closes_progress
def inspect_dictionary(
    dictionary: DictionaryLike,
    folder: str | Path = FOLDER,
    *,
    picture_format: str = "png",
    solos: AudioLike | Sequence[AudioLike] = (),
    config: TrainingConfig | None = None,
    device: str = AUTO,
    overwrite: bool = False,
    on_progress: OnProgress = ignore_progress,
) -> list[Path]:
    """Write pictures and sounds of what a dictionary has learned.

    Parameters
    ----------
    dictionary : Dictionary, path or installed name
    folder : str or Path
        The parent of a new folder named after the source, which gets: ``atoms``, the spectra that the decoder makes;
        ``units``, the spectra that excite the encoder's hidden units; ``manifold``, the codes of its exemplars (left
        out, with a warning in the log, if it has none); ``curves``, the training; ``excited.wav`` and ``walk.wav``,
        made by :func:`synthesize`.
    picture_format : str
        ``"png"`` or ``"svg"``.
    solos : Audio, path or (samples, sample_rate), or a sequence of these
        Recordings of the source alone, for a picture more: ``learning_curve``, for which four dictionaries are trained.
    config : TrainingConfig, optional
        Settings of these trainings; by default those of the dictionary.
    device : str
        Device of these trainings: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    overwrite : bool
        Whether to replace files that exist.
    on_progress : callable
        Called during these trainings.

    Returns
    -------
    list of Path
        The files written, each of them complete; none is written before all pictures are drawn.

    Raises
    ------
    ConfigError
        If a file exists already, the folder cannot be written to, or the format is unknown.
    AudioError
        If the solos are less than 8.9 s.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sepdict import train_dictionary
    >>> dictionary = train_dictionary(Audio(torch.randn(1, 8000), 8000), TrainingConfig(n_steps=1), source="noise")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in inspect_dictionary(dictionary, folder)]
    ['atoms.png', 'units.png', 'manifold.png', 'curves.png', 'excited.wav', 'walk.wav']
    """
    dictionary, solos = as_dictionary(dictionary), as_recordings(solos, "solos")
    plots.refuse_format(picture_format)
    folder = (Path(folder) / dictionary.source).absolute()
    drawings = _drawings(dictionary, solos, config, device, on_progress)
    pictures = {f"{name}.{picture_format}": draw for name, draw in drawings.items()}
    if not overwrite:
        for name in (*pictures, *SOUNDS):
            refuse_existing(folder / name, other="folder")
    with writable_folder(folder):
        contents = {name: plots.encode_picture(draw(), picture_format) for name, draw in pictures.items()}
        sounds = {name: synthesize(dictionary, SOUND_S, walk=walk) for name, walk in SOUNDS.items()}
        for name, content in contents.items():
            write_atomically(folder / name, content)
        for name, sound in sounds.items():
            write_audio(folder / name, sound)
    return [folder / name for name in (*contents, *sounds)]


def _drawings(
    dictionary: Dictionary,
    solos: Sequence[Audio],
    config: TrainingConfig | None,
    device: str,
    on_progress: OnProgress,
) -> dict[str, "Callable[[], Figure]"]:
    """Return the functions that draw the pictures, by name."""
    card = dictionary.card
    drawings: dict[str, Callable[[], Figure]] = {
        "atoms": lambda: plots.draw_atoms(inspection.atoms(dictionary), card),
        "units": lambda: plots.draw_units(inspection.exciting_inputs(dictionary), card),
        "manifold": lambda: plots.draw_manifold(inspection.manifold(dictionary), card),
        "curves": lambda: plots.draw_curves(card),
    }
    if not dictionary.has_exemplars:
        log.warning("%s has no exemplars, so there is no picture of its manifold", card.source)
        del drawings["manifold"]
    if solos:
        settings = training_config_of(card) if config is None else config
        learn = partial(learning_curve, source=card.source, device=device, on_progress=on_progress)
        drawings["learning_curve"] = lambda: plots.draw_learning_curve(learn(solos, settings), card)
    return drawings
