"""Names of the beta-divergences. Nothing here loads PyTorch, so that settings can be checked without it."""

from sepdict.errors import ConfigError

NAMED_BETAS = {"kl": 1.0, "is": 0.0, "l2": 2.0}


def beta_of(divergence: str) -> float:
    """Return the beta of a divergence's name: ``"kl"``, ``"is"``, ``"l2"``, or ``"beta=0.5"`` for any beta from 0 to 2.

    Raises
    ------
    ConfigError
        If the name is unknown or the beta out of range.

    Examples
    --------
    >>> beta_of("kl"), beta_of("beta=0.5")
    (1.0, 0.5)
    """
    if divergence in NAMED_BETAS:
        return NAMED_BETAS[divergence]
    name, _, number = divergence.partition("=")
    try:
        beta = float(number)
    except ValueError:
        beta = -1.0
    if name != "beta" or not 0 <= beta <= 2:
        raise ConfigError(f"divergence is {divergence!r}; expected kl, is, l2 or beta=B with B from 0 to 2")
    return beta
