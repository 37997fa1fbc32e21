"""Regularizers, which keep a network from merely copying its input; they can be combined.

Penalties are in the unit of the training divergence, per bin. Sparsity and contraction do not depend on the code's
scale, as codes are standardized after training: a code of half the size and a decoder of twice the weights would give
the same output.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import softplus

from sepdict._core.settings import refuse_other_types, refuse_out_of_range
from sepdict.errors import ConfigError
from sepdict.models.autoencoder import Autoencoder
from sepdict.models.optim import Adam
from sepdict.spectral.stft import spectral_shape

EXACT_CODE_SIZE = 8  # up to so many numbers the Jacobian is exact: each costs a pass back through the encoder
CRITIC_RATE = 1e-3  # Adam's, constant
SMALLEST_SPREAD = 1e-6  # deviation below which a code is taken for constant


@dataclass(frozen=True)
class Regularization:
    """Amounts of regularization; 0 leaves a regularizer out.

    L2 on the weights is `TrainingConfig.weight_decay`; the size of the bottleneck, a prior on the code
    (variational) and the critic are the network's.

    Parameters
    ----------
    dropout : float
        Share of the hidden units that are silenced in each step [1]_.
    sparse : float
        Weight of the L1 norm of the code: its mean absolute value where its mean square is one.
    activity : float
        Weight of the Kullback-Leibler divergence of each code unit's mean activity from `target_activity` [2]_.
    target_activity : float
        Share of the time in which a unit should be active, where activity is the sigmoid of the code.
    noise : float
        Level of the noise that is added to the encoder's input, at most, relative to the frame; the target stays clean
        [3]_.
    masking : float
        Share of the bins that are set to zero in the encoder's input; the target keeps them.
    others : float
        Level of the frames of other sounds, the backgrounds, that are added to the encoder's input, at most, relative
        to the frame.
    contractive : float
        Weight of the squared Frobenius norm of the encoder's Jacobian [4]_.
    adversarial : float
        Weight of a critic's judgement of what interpolated codes decode to [5]_. The network must have a critic.

    Raises
    ------
    ConfigError
        If one of them is out of range.

    References
    ----------
    .. [1] Srivastava et al., "Dropout", JMLR 15, 2014.
    .. [2] Ng, "Sparse autoencoder", CS294A lecture notes, 2011.
    .. [3] Vincent et al., "Extracting and composing robust features with denoising autoencoders", ICML 2008.
    .. [4] Rifai et al., "Contractive auto-encoders", ICML 2011, eq. 1.
    .. [5] Goodfellow et al., "Generative adversarial nets", NIPS 2014, with interpolated codes as in Berthelot et al.,
       "Understanding and improving interpolation in autoencoders via an adversarial regularizer", ICLR 2019.
    """

    dropout: float = 0.0
    sparse: float = 0.0
    activity: float = 0.0
    target_activity: float = 0.1
    noise: float = 0.0
    masking: float = 0.0
    others: float = 0.0
    contractive: float = 0.0
    adversarial: float = 0.0

    def __post_init__(self) -> None:
        refuse_other_types(self)
        most = {"dropout": 0.95, "masking": 0.95, "target_activity": 0.99}
        refuse_out_of_range(self, {field.name: (0, most.get(field.name, 1e6)) for field in fields(self)})
        if not self.target_activity > 0:
            raise ConfigError("target_activity is 0; expected more")


def corrupt(shape: Tensor, config: Regularization, others: Tensor | None, generator: torch.Generator) -> Tensor:
    """Corrupt spectral shapes (..., n_bins, n_frames) for a denoising encoder; others is (n_other, n_bins)."""
    if config.noise:
        loudness = config.noise * _uniform(shape[..., :1, :].shape, generator).to(shape)
        shape = spectral_shape(shape + loudness * _normal(shape.shape, generator).to(shape).abs())
    if config.others:
        assert others is not None
        n_frames = shape[..., 0, :].numel()
        added = others[torch.randint(len(others), (n_frames,), generator=generator).to(others.device)].T
        added = added.unflatten(1, shape[..., 0, :].shape).movedim(0, -2)  # (..., n_bins, n_frames)
        loudness = config.others * _uniform(shape[..., :1, :].shape, generator).to(shape)
        shape = spectral_shape(shape + loudness * added)
    if config.masking:
        kept = _uniform(shape.shape, generator).to(shape) >= config.masking
        shape = spectral_shape(shape * kept)
    return shape


def penalty(
    network: Autoencoder,
    shape: Tensor,
    code: Tensor,
    log_variance: Tensor | None,
    config: Regularization,
    generator: torch.Generator,
) -> Tensor:
    """Add up, for each frame, the penalties of a code of shape (..., code_size, n_frames)."""
    total = torch.zeros_like(code[..., 0, :])
    if log_variance is not None:
        total = total + network.config.prior_weight * prior_divergence(code, log_variance) / shape.shape[-2]
    if config.sparse:
        total = total + config.sparse * sparsity(code)
    if config.activity:
        total = total + config.activity * activity_divergence(code, config.target_activity)
    if config.contractive:
        total = total + config.contractive * contraction(network, network.features(shape), generator)
    return total


def prior_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of normal codes from the standard normal prior, ``sum (m^2 + s^2 - log s^2 - 1) / 2`` [1]_.

    References
    ----------
    .. [1] Kingma and Welling, "Auto-encoding variational Bayes", ICLR 2014, appendix B.
    """
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=-2) / 2


def sparsity(code: Tensor) -> Tensor:
    """Mean over the code units of ``|z| / rms(z)``, for each frame."""
    root_mean_square = _over_frames(code.square()).clamp(min=SMALLEST_SPREAD**2).sqrt()
    return (code.abs() / root_mean_square).mean(dim=-2)


def activity_divergence(code: Tensor, target: float) -> Tensor:
    """Sum over the units of ``KL(target || mean activity)``, the same for each frame."""
    activity = _over_frames(torch.sigmoid(code)).clamp(1e-6, 1 - 1e-6)  # (code_size, 1)
    divergence = target * (target / activity).log() + (1 - target) * ((1 - target) / (1 - activity)).log()
    return divergence.sum(dim=-2) * torch.ones_like(code[..., 0, :])


def contraction(network: Autoencoder, features: Tensor, generator: torch.Generator) -> Tensor:
    """Squared Frobenius norm of the Jacobian of the standardized code by the encoder's features, for each frame.

    What a code is standardized by, its deviation over the frames, is a constant in the Jacobian; a code that does not
    vary, as over a single frame, counts nothing. Where frames are encoded one by one and the code has at most
    ``EXACT_CODE_SIZE`` numbers the norm is exact, one pass back for each. Otherwise it is Hutchinson's estimate [1]_,
    ``|v^T J|^2`` for one vector ``v`` of random signs, whose mean is the norm.

    References
    ----------
    .. [1] Hutchinson, "A stochastic estimator of the trace of the influence matrix", Comm. Stat. Sim. 19(2), 1990.
    """
    features = features.detach().requires_grad_()
    code = network.encoder(features)[..., : network.config.code_size, :]
    variance = _over_frames((code - _over_frames(code)).square())  # (code_size, 1)
    scale = torch.where(variance > SMALLEST_SPREAD**2, variance, torch.inf).rsqrt()
    if network.config.code_size <= EXACT_CODE_SIZE and not network.config.sees_neighbors:
        probes = list(torch.eye(network.config.code_size).to(code)[..., None])
    else:
        probes = [_uniform(code.shape, generator).to(code).sub(0.5).sign()]
    gradients = [
        torch.autograd.grad(code, features, (scale * probe).expand_as(code), create_graph=True)[0] for probe in probes
    ]
    return torch.stack([gradient.square().sum(dim=-2) for gradient in gradients]).sum(dim=0)


class CriticTrainer:
    """Trains a network's critic to tell decoded spectra from real ones, and computes the penalty it imposes."""

    def __init__(self, network: Autoencoder) -> None:
        assert network.critic is not None
        self.network = network
        self.adam = Adam(list(network.critic.parameters()), step=CRITIC_RATE)

    def penalty(self, code: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``-log(probability of being real)`` of what codes between those of two frames decode to."""
        along = -1 if code.ndim == 2 else 0  # single frames lie side by side, pieces one behind the other
        order = torch.randperm(code.shape[along], generator=generator).to(code.device)
        shape = [code.shape[along] if axis == along % code.ndim else 1 for axis in range(code.ndim)]
        self.decoded = self.network.decode(
            code.lerp(code.index_select(along, order), _uniform(shape, generator).to(code))
        )
        return softplus(-self.network.criticize(self.decoded))

    def update(self, real: Tensor, weight: Tensor) -> None:
        """Take a step towards calling the real spectra real and the last decoded ones decoded."""
        decoded = self.decoded.detach()
        surprise = softplus(-self.network.criticize(real)) + softplus(self.network.criticize(decoded))
        loss = (weight * surprise).sum() / weight.sum()
        self.adam.update(torch.autograd.grad(loss, self.adam.parameters))


def _over_frames(values: Tensor) -> Tensor:
    """Mean over all frames, of all pieces: (..., code_size, n_frames) to (code_size, 1)."""
    return values.movedim(-2, 0).flatten(1).mean(dim=1)[:, None]


def _uniform(shape: torch.Size | list[int], generator: torch.Generator) -> Tensor:
    """Draw from 0 to 1, on the CPU so that every device draws the same."""
    return torch.rand(shape, generator=generator)


def _normal(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draw from the standard normal distribution, on the CPU so that every device draws the same."""
    return torch.randn(shape, generator=generator)
