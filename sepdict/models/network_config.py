"""The settings of an autoencoder: its kind, its widths, and what goes together."""

from dataclasses import dataclass

from sepdict._core.settings import refuse_other_types
from sepdict.errors import ConfigError
from sepdict.models.layers import ACTIVATIONS, CELLS

KINDS = ("dense", "convolutional", "recurrent", "nonnegative", "linear")
SHALLOW = ("nonnegative", "linear")
PATCH_FRAMES = 32  # length of the patches that a network with time context is trained on
MAX_WIDTH = 2**14  # units; a dictionary file that asks for more is refused before anything is allocated
MAX_LAYERS = 32


@dataclass(frozen=True)
class NetworkConfig:
    """The shape of an autoencoder.

    Parameters
    ----------
    kind : str
        ``"dense"`` decodes each frame from its own code; ``"convolutional"`` from the codes of ``kernel_size``
        neighboring frames; ``"recurrent"`` from those of all frames so far. ``"nonnegative"`` adds up templates with
        non-negative weights, as NMF does; ``"linear"``, with L2 as divergence, is PCA.
    code_size : int
        Dimensions of the excitation, per frame. A decoder that can produce any spectrum also produces the other
        source's.
    hidden : tuple of int
        Units of the decoder's hidden layers, from the code outwards; the encoder mirrors them. Nonnegative and linear
        networks have no hidden layers.
    activation : str
        ``"relu"``, ``"tanh"``, ``"softplus"`` or ``"sigmoid"``; a nonnegative network applies it to its code.
    kernel_size : int
        Frames that a convolutional decoder sees; odd. It is 1 for all other kinds.
    n_templates : int
        Spectral shapes that the decoder adds up, as NMF does, so that what it learned from single notes also holds for
        chords. With 0 the decoder computes the logarithm of every bin instead. Nonnegative networks have one template
        per dimension of the code, linear networks have none.
    cell : str
        The cell of a recurrent network: ``"gru"`` or ``"lstm"``.
    prior_weight : float
        Above 0 the network is variational: its encoder computes a mean and a variance, and this is the weight of the
        standard normal prior of codes, in training and in separation. With 1, a bin's mean magnitude counts as one
        event of a Poisson variable.
    critic : tuple of int
        Units of the hidden layers of a critic, which learns to tell decoded spectra from real ones; empty for no
        critic.

    Raises
    ------
    ConfigError
        If one of them is out of range, or they do not go together.

    Examples
    --------
    >>> NetworkConfig("convolutional", kernel_size=5).sees_neighbors
    True
    """

    kind: str = "dense"
    code_size: int = 16
    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    kernel_size: int = 1
    n_templates: int = 256
    cell: str = "gru"
    prior_weight: float = 0.0
    critic: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        refuse_other_types(self)
        for name, value, expected in (
            ("network kind", self.kind, KINDS),
            ("activation", self.activation, tuple(ACTIVATIONS)),
            ("cell", self.cell, tuple(CELLS)),
        ):
            if value not in expected:
                raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(expected)}")
        widths = (self.code_size, *self.hidden, *self.critic)
        if not all(isinstance(width, int) and 1 <= width <= MAX_WIDTH for width in widths):
            raise ConfigError(f"widths are {widths}; expected 1 to {MAX_WIDTH} units each")
        if not 0 <= self.n_templates <= MAX_WIDTH:
            raise ConfigError(f"n_templates is {self.n_templates}; expected 0 to {MAX_WIDTH}")
        if max(len(self.hidden), len(self.critic)) >= MAX_LAYERS:
            raise ConfigError(f"there are {len(self.hidden)} hidden layers; expected fewer than {MAX_LAYERS}")
        if not 0 <= self.prior_weight <= 1e6:
            raise ConfigError(f"prior_weight is {self.prior_weight}; expected 0 to 1e6")
        self._refuse_settings_of_other_kinds()

    def _refuse_settings_of_other_kinds(self) -> None:
        """Refuse settings that only another kind of network has."""
        if self.kind != "convolutional" and self.kernel_size != 1:
            raise ConfigError(
                f"kernel_size is {self.kernel_size}; {self.kind} networks see 1 frame, convolutional more"
            )
        if self.kind == "convolutional" and self.kernel_size not in range(3, 65, 2):
            raise ConfigError(f"kernel_size is {self.kernel_size}; expected an odd number of frames from 3 to 63")
        if self.kind in SHALLOW and self.hidden:
            raise ConfigError(f"hidden is {self.hidden}; {self.kind} networks have no hidden layers: expected ()")
        if self.kind == "recurrent" and not self.hidden:
            raise ConfigError("hidden is (); a recurrent network needs hidden layers: expected one or more")
        if self.kind == "nonnegative" and self.activation == "tanh":
            raise ConfigError("activation is 'tanh'; a nonnegative network needs relu, softplus or sigmoid")
        n_expected = {"nonnegative": self.code_size, "linear": 0}.get(self.kind, self.n_templates)
        if self.n_templates != n_expected:
            raise ConfigError(f"n_templates is {self.n_templates}; expected {n_expected} for this {self.kind} network")

    @property
    def sees_neighbors(self) -> bool:
        """Return whether a decoded frame depends on the codes of other frames."""
        return self.kernel_size > 1 or self.kind == "recurrent"

    @property
    def n_patch_frames(self) -> int:
        """Frames of the patches that training cuts recordings into: one where the network sees no more."""
        return PATCH_FRAMES if self.sees_neighbors else 1
