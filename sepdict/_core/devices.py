"""The device that computes, its description, and seeded random numbers."""

import platform
from typing import TYPE_CHECKING

from sepdict._core.settings import refuse_other_type
from sepdict.errors import ConfigError

if TYPE_CHECKING:  # PyTorch takes seconds to load; what only needs a device's name must not
    import torch

AUTO = "auto"


def choose_device(name: str = AUTO) -> "torch.device":
    """Return the device of a name, after a check that it is present.

    Parameters
    ----------
    name : str
        ``"auto"`` takes a CUDA GPU when there is one and the CPU otherwise (Apple's ``"mps"`` only by
        name: some of its operations are slower than the CPU's). Or ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    Raises
    ------
    ConfigError
        If the name is unknown or no such device is present.

    Examples
    --------
    >>> choose_device("cpu")
    device(type='cpu')
    """
    import torch

    refuse_other_type("device", name, str)
    if name == AUTO:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if name.split(":")[0] not in ("cpu", "cuda", "mps"):
            raise RuntimeError(name)
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {name!r} cannot be used here; expected {AUTO} or {_present()}") from error
    return device


def _present() -> str:
    """List the devices that are present."""
    import torch

    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return " or ".join(["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])])


def describe_device(device: "torch.device") -> str:
    """Name the hardware behind a device in one line.

    Examples
    --------
    >>> import torch
    >>> describe_device(torch.device("cpu")).startswith("cpu")
    True
    """
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.processor() or platform.machine()}, {torch.get_num_threads()} threads)"


def seeded_generator(seed: int) -> "torch.Generator":
    """Make a random generator from a seed, on the CPU so that results do not depend on the device."""
    import torch

    return torch.Generator().manual_seed(seed)
