"""The settings of a separation: one object for the library, the command line and the web page."""

from dataclasses import dataclass, field, replace
from typing import Literal, Self, get_args

from sepdict._core.devices import AUTO
from sepdict._core.settings import refuse_other_types
from sepdict.audio.overlap_add import SEGMENT_S, refuse_short
from sepdict.errors import ConfigError
from sepdict.separation.excitations import FitConfig
from sepdict.separation.mask_estimator import MaskEstimatorConfig

Quality = Literal["draft", "standard"]


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
        better on average, but not always: compare it with ``residual``.
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
        refuse_short(self.segment_s)

    def at_quality(self, quality: Quality) -> Self:
        """Return these settings without a mask estimator for ``"draft"``, and unchanged for ``"standard"``.

        Raises
        ------
        ConfigError
            If there is no such quality.
        """
        if quality not in get_args(Quality):
            raise ConfigError(f"quality is {quality!r}; expected {' or '.join(get_args(Quality))}")
        return replace(self, mask_estimator=None) if quality == "draft" else self

    def has_residual(self, n_dictionaries: int) -> bool:
        """Return whether there is a residual beside the stems of so many dictionaries."""
        return self.residual or self.background_model or n_dictionaries == 1

    def trains_mask_estimator(self, n_dictionaries: int) -> bool:
        """Return whether so many dictionaries get a mask estimator: there is nothing to tell apart in one."""
        return self.mask_estimator is not None and n_dictionaries > 1

    def in_effect(self, *, has_mask_estimator: bool, n_dictionaries: int) -> Self:
        """Return these settings as they act.

        Without a mask estimator there are no guide masks. Beside a residual they have no weight in the fit, and the
        mask estimator is not adapted: it would give what no dictionary knows to a source that it knows.
        """
        if has_mask_estimator and not self.has_residual(n_dictionaries):
            return self
        settings = self.mask_estimator if has_mask_estimator else None
        unadapted = None if settings is None else replace(settings, n_adaptation_steps=0)
        return replace(self, fit=replace(self.fit, guide_weight=0.0), mask_estimator=unadapted)
