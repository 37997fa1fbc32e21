"""The stages of a separation and their usual costs, from which the progress of a whole job is computed."""

import functools
from collections.abc import Mapping
from typing import Any

from sepdict.progress import Plan
from sepdict.separation.config import SeparationConfig

# in seconds on two cores, measured on sources at 16 kHz; of training a mask estimator, and of a minute of a mixture
MASK_ESTIMATOR_STEP_S = 0.03
MASK_ESTIMATOR_OF_ONE_S = 25.0
LEARNING_S = 10.0  # of a source from its moments
FIT_S = 4.0  # where it converges, after some thirty of its iterations
FIT_WITH_BACKGROUND_S = 32.0
ADAPTATION_S = 1.5
RESIDUAL_ADAPTATION_S = 6.0
USUAL_S = 180.0  # duration of a mixture, where none is known


def plan_separation(
    durations_s: Mapping[Any, float | None], config: SeparationConfig, *, n_dictionaries: int, n_to_learn: int = 0
) -> Plan:
    """Plan to train a mask estimator, where there is one, and to separate mixtures, each at a cost per minute.

    Before that, sources are learned from their moments, if there are any.

    Parameters
    ----------
    durations_s : mapping
        Of each mixture, by any name; where one is None, the mean of the others is taken.
    config : SeparationConfig
    n_dictionaries : int
        Those that are learned from moments included.
    n_to_learn : int

    Examples
    --------
    >>> plan_separation({"song": 120.0}, SeparationConfig(mask_estimator=None), n_dictionaries=2)
    {'song': {'tracks': 0.0, 'fit': 8.0}}
    """
    is_single, estimator = n_dictionaries == 1, config.mask_estimator
    acting = config.in_effect(has_mask_estimator=estimator is not None, n_dictionaries=n_dictionaries)
    costs = {"tracks": 0.0, "fit": FIT_WITH_BACKGROUND_S if acting.background_model else FIT_S}
    if estimator and (is_single or not config.has_residual(n_dictionaries)):
        costs["adapt"] = RESIDUAL_ADAPTATION_S if is_single else ADAPTATION_S

    @functools.cache  # recordings of one length share their stages: there may be a million
    def stages(n_minutes: float) -> dict[str, float]:
        return {stage: cost * n_minutes for stage, cost in costs.items()}

    known_s = [duration_s for duration_s in durations_s.values() if duration_s is not None]
    usual_s = sum(known_s) / len(known_s) if known_s else USUAL_S
    minutes = {name: (usual_s if duration_s is None else duration_s) / 60 for name, duration_s in durations_s.items()}
    parts = {name: stages(n_minutes) for name, n_minutes in minutes.items()}
    learning = {"dictionaries": {"train": LEARNING_S * n_to_learn}} if n_to_learn else {}
    training = {}
    if estimator:
        training_s = MASK_ESTIMATOR_OF_ONE_S if is_single else MASK_ESTIMATOR_STEP_S * estimator.n_steps
        training = {"mask estimator": {"estimate": training_s}}
    return learning | training | parts
