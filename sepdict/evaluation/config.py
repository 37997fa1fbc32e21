"""The settings of the measures of stems. Nothing here loads PyTorch."""

from dataclasses import dataclass

from sepdict._core.settings import refuse_other_types, refuse_out_of_range
from sepdict.audio.labels import WRITERS
from sepdict.errors import ConfigError


@dataclass(frozen=True)
class ActivityConfig:
    """Settings of the labels that say when each stem sounds.

    A stem sounds in short steps whose level is near enough to the loudest step of all stems of the track: a source that
    is silent has a stem, too, in which traces of the others are left. Short pauses are closed, and then short sounds
    left out.

    Parameters
    ----------
    format : str
        ``"audacity"``, or ``"raven"``, whose rows also hold the band with 95 % of the energy of each sound.
    below_db : float
        How far below the loudest step of all stems a stem still sounds. Less finds the clear sounds only, more the soft
        ones as well. On ten stems of five mixtures, 30 dB agreed best with when the true sources sound.
    step_s : float
        Length of the steps, in seconds. Shorter ones find fast calls, longer ones overlook short traces.
    pause_s : float
        Pauses shorter than this belong to the sound.
    shortest_s : float
        Sounds shorter than this are left out.

    Raises
    ------
    ConfigError
        If the format is another, or a number is out of range.
    """

    format: str = "audacity"
    below_db: float = 30.0
    step_s: float = 0.02
    pause_s: float = 0.2
    shortest_s: float = 0.05

    def __post_init__(self) -> None:
        refuse_other_types(self)
        if self.format not in WRITERS:
            raise ConfigError(f"format of the labels is {self.format!r}; expected one of {', '.join(WRITERS)}")
        refuse_out_of_range(
            self, {"below_db": (0, 200), "step_s": (1e-4, 10), "pause_s": (0, 3600), "shortest_s": (0, 3600)}
        )
