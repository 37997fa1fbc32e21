"""The settings of the measures of stems. Nothing here loads PyTorch."""

from dataclasses import dataclass

from sepdict._core.settings import refuse_other_types, refuse_out_of_range
from sepdict.audio.labels import WRITERS
from sepdict.errors import ConfigError


@dataclass(frozen=True)
class ActivityConfig:
    """Settings of the labels that say when each stem sounds.

    A stem sounds in the steps of 20 ms whose level is near enough to its own loudest step, and to the loudest of all
    stems. Pauses shorter than 0.2 s are closed, and then sounds shorter than 0.05 s left out.

    Parameters
    ----------
    format : str
        ``"audacity"``, or ``"raven"``, whose rows also hold the band with 95 % of the energy of each sound.
    below_own_db : float
        How far below the stem's own loudest step it still sounds.
    below_all_db : float
        How far below the loudest step of all stems of the track: a source that is silent throughout has a stem, too, in
        which traces of the others are left.

    Raises
    ------
    ConfigError
        If the format is another, or a number is negative.
    """

    format: str = "audacity"
    below_own_db: float = 25.0
    below_all_db: float = 35.0

    def __post_init__(self) -> None:
        refuse_other_types(self)
        if self.format not in WRITERS:
            raise ConfigError(f"format of the labels is {self.format!r}; expected one of {', '.join(WRITERS)}")
        refuse_out_of_range(self, {"below_own_db": (0, 200), "below_all_db": (0, 200)})
