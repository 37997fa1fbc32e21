"""The settings of a separation: one object for the library, the command line and the web page.

Nothing here loads PyTorch: what was separated before with the same settings is found without it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self, get_args

from sepdict._core.devices import AUTO
from sepdict._core.names import RESIDUAL
from sepdict._core.settings import refuse_other_types, refuse_out_of_range
from sepdict.errors import ConfigError
from sepdict.spectral.betas import beta_of

Quality = Literal["draft", "quick", "standard"]
METHODS = ("lbfgs", "adam")
SEGMENT_S = 60.0  # as long as memory allows on a laptop: the mask estimator is adapted to each
QUICK_STEPS = 2000  # of the mask estimator in quick separations,
QUICK_CUTS = 4  # of half as many pieces: two fifths of the time, for more than 90 % of the gain
MOST_STEPS_OF_ONE = 300  # of the mask estimator of a single dictionary, which then learns more from each mixture
SHORTEST_SEGMENT_S = 3.0  # three overlaps of neighboring segments, so that at most two overlap at any time


@dataclass(frozen=True)
class FitConfig:
    """Settings of the fit of excitations.

    Parameters
    ----------
    method : str
        ``"lbfgs"``, or ``"adam"``, which is slower by an order of magnitude and kept for comparison.
    divergence : str
        ``"kl"``, ``"is"``, ``"l2"`` or ``"beta=B"``.
    guide_weight : float
        The weight of the guide masks in the cost, ``c``. With 0 the fit only starts from them, and its masks are only
        afterwards combined with those of the mask estimator.
    prior_weight : float
        The weight of the codes' prior, the normal distribution that they have in training: ``prior_weight |z|^2 / 2``
        beside the divergence of a shape summed over its bins. Variational dictionaries have a weight of their own.
    critic_weight : float
        The weight of the critics of the dictionaries that have one: the logarithm of the odds that a spectrum is real.
    n_iterations : int
        The most iterations; each costs one pass through the decoders and back.
    tolerance : float
        The fit has converged when the cost fell by less than this share over five iterations.
    guided_tolerance : float
        The same where guide masks are in the cost: they decide most, and a closer fit does not better the stems.
    history : int
        Number of curvature pairs that L-BFGS keeps.
    step : float
        Adam's learning rate, for ``method="adam"``.

    Raises
    ------
    ConfigError
        If one of them is out of range.
    """

    method: str = "lbfgs"
    divergence: str = "kl"
    guide_weight: float = 0.3
    prior_weight: float = 1.0
    critic_weight: float = 0.0
    n_iterations: int = 100
    tolerance: float = 1e-2
    guided_tolerance: float = 6e-2
    history: int = 10
    step: float = 0.05

    def __post_init__(self) -> None:
        refuse_other_types(self)
        beta_of(self.divergence)
        if self.method not in METHODS:
            raise ConfigError(f"method is {self.method!r}; expected one of {', '.join(METHODS)}")
        ranges = {
            "guide_weight": (0, 1e6),
            "prior_weight": (0, 1e6),
            "critic_weight": (0, 1e6),
            "n_iterations": (1, math.inf),
            "tolerance": (0, math.inf),
            "guided_tolerance": (0, math.inf),
            "history": (1, math.inf),
            "step": (1e-9, 1e3),
        }
        refuse_out_of_range(self, ranges)


@dataclass(frozen=True)
class MaskEstimatorConfig:
    """Settings of the training and the adaptation of a mask estimator.

    Parameters
    ----------
    n_steps : int
        Updates of the network's weights in training, each on a new mixture.
    n_cuts : int
        How many pieces of exemplars each such mixture consists of.
    width : int
        Number of units of the network's layers.
    gain_range_db : float
        Each piece of a source is louder or softer than the source's usual level by up to this, in dB.
    doubled_share : float
        Share of the pieces in which two of the same source are added: single notes then teach chords, too.
    learning_rate : float
        Adam's highest learning rate; it falls to zero along half a cosine.
    n_adaptation_steps : int
        Updates by which a trained mask estimator is then adapted to each segment of a mixture; 0 leaves it as it is.
    n_adaptation_cuts : int
        ``n_cuts`` of the adaptation.
    n_residual_steps : int
        The same where there is a single dictionary, and the rest of the mixture has to be learned from itself.
    n_ahead : int
        How many frames after the one whose masks it gives the network sees, of 3. Streams have to wait for them.
    seed : int
        The same seed on the same machine gives the same mask estimator.

    Raises
    ------
    ConfigError
        If one of them is out of range.
    """

    n_steps: int = 3000
    n_cuts: int = 8
    width: int = 256
    gain_range_db: float = 10.0
    doubled_share: float = 0.5
    learning_rate: float = 3e-3
    n_adaptation_steps: int = 25
    n_adaptation_cuts: int = 4
    n_residual_steps: int = 100
    n_ahead: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        refuse_other_types(self)
        ranges = {
            "n_steps": (1, math.inf),
            "n_cuts": (1, 4096),
            "width": (1, 4096),
            "gain_range_db": (0, 60),
            "doubled_share": (0, 1),
            "learning_rate": (0, 1),
            "n_adaptation_steps": (0, math.inf),
            "n_adaptation_cuts": (1, 4096),
            "n_residual_steps": (0, math.inf),
            "n_ahead": (0, 3),
            "seed": (0, 2**63 - 1),
        }
        refuse_out_of_range(self, ranges)

    def for_dictionaries(self, n_dictionaries: int) -> Self:
        """Return these settings for a training on so many dictionaries: on a single one it is short."""
        n_steps = min(self.n_steps, MOST_STEPS_OF_ONE) if n_dictionaries == 1 else self.n_steps
        return replace(self, n_steps=n_steps)


@dataclass(frozen=True)
class SeparationConfig:
    """Settings of a separation.

    Parameters
    ----------
    fit : FitConfig
        How the excitations are fitted.
    mask_estimator : MaskEstimatorConfig or None
        How the mask estimator is trained and adapted that guides the fit; the training takes a minute, once for each
        set of dictionaries. With None there is no mask estimator: the fit alone makes the masks, which is faster and
        worse.
    residual : bool
        Whether what no dictionary explains becomes a stem of its own, named ``"residual"``, instead of being shared
        among the sources. With a single dictionary there always is one.
    background_model : bool
        Whether a dictionary of everything that the others do not know is made from the mixture itself; its share is
        the residual. Five times as slow. It is meant for mixtures with more sources than dictionaries; there it is
        better on average, but not always: compare it with ``residual``. With a single dictionary and a mask estimator
        there always is one, of which the mask estimator learns.
    segment_s : float
        Longer mixtures are separated in segments of this length, in seconds, that are cross-faded. It bounds the
        memory that a separation takes beside the stems.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises
    ------
    ConfigError
        If ``segment_s`` is less than 3, or a value is of another type.

    Examples
    --------
    >>> SeparationConfig(FitConfig(n_iterations=50), residual=True).segment_s
    60.0
    >>> SeparationConfig().at_quality("draft").mask_estimator is None
    True
    """

    fit: FitConfig = field(default_factory=FitConfig)
    mask_estimator: MaskEstimatorConfig | None = field(default_factory=MaskEstimatorConfig)
    residual: bool = False
    background_model: bool = False
    segment_s: float = SEGMENT_S
    device: str = AUTO

    def __post_init__(self) -> None:
        refuse_other_types(self)
        if not self.segment_s >= SHORTEST_SEGMENT_S:
            raise ConfigError(f"segments are of {self.segment_s} s; expected {SHORTEST_SEGMENT_S:g} s or more")

    def at_quality(self, quality: Quality) -> Self:
        """Return these settings at a quality.

        For ``"draft"`` there is no mask estimator, for ``"quick"`` it is trained on less, 2000 mixtures of 4 pieces at
        most, and for ``"standard"`` nothing changes.

        Raises
        ------
        ConfigError
            If there is no such quality.
        """
        if quality not in get_args(Quality):
            raise ConfigError(f"quality is {quality!r}; expected one of {', '.join(get_args(Quality))}")
        if quality == "draft":
            return replace(self, mask_estimator=None)
        if quality == "standard" or self.mask_estimator is None:
            return self
        full = self.mask_estimator
        less = replace(full, n_steps=min(full.n_steps, QUICK_STEPS), n_cuts=min(full.n_cuts, QUICK_CUTS))
        return replace(self, mask_estimator=less)

    def has_residual(self, n_dictionaries: int) -> bool:
        """Return whether there is a residual beside the stems of so many dictionaries."""
        return self.residual or self.background_model or n_dictionaries == 1

    def stem_names(self, sources: Sequence[str]) -> list[str]:
        """Return the names of the stems, in their order: those of the sources, and of the residual if there is one."""
        return [*sources, RESIDUAL] if self.has_residual(len(sources)) else list(sources)

    def in_effect(self, *, has_mask_estimator: bool, n_dictionaries: int) -> Self:
        """Return these settings as they act.

        Without a mask estimator there are no guide masks. Beside a residual they have no weight in the fit, and the
        mask estimator is not adapted: it would give what no dictionary knows to a source that it knows. That of a
        single dictionary knows the residual, which the background model makes a first estimate of.
        """
        if has_mask_estimator and not self.has_residual(n_dictionaries):
            return self
        residual = self.has_residual(n_dictionaries)
        unguided = replace(self, fit=replace(self.fit, guide_weight=0.0), residual=residual)
        if not has_mask_estimator or self.mask_estimator is None:
            return replace(unguided, mask_estimator=None)
        settings = replace(self.mask_estimator, n_adaptation_steps=0)
        return replace(unguided, mask_estimator=settings, background_model=self.background_model or n_dictionaries == 1)
