"""The mask estimator: a small network that learns, in a minute, to tell the sources of some dictionaries apart.

The dictionaries were trained separately, on one source each. The mask estimator is trained on mixtures of their
exemplars, of which there are as many as there are training steps:

    M_t = | sum_s  a_s E_s,t  exp(i phi) |      E_s pieces of the exemplars of source s, random gains a_s and phases phi
    min over the network   - sum_t,b  w  r_s log m_s(M),       r_s = E_s^2 / sum_k E_k^2,   w = sum_s E_s

Its masks ``m_s`` are the guide masks from which the excitation fit starts, and are combined with the fit's own masks in
the end. The training needs nothing but the dictionaries, and changes nothing in them. `adapt` then fits a trained mask
estimator to one mixture.

Where there is a dictionary of one source only, everyday sounds stand for all the rest, the residual, until something is
known of it: `adapt_to_residual` then adds what a first estimate leaves of the mixture.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sepdict._core.devices import AUTO, choose_device, seeded_generator
from sepdict._core.names import RESIDUAL
from sepdict._core.settings import checks_types
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit, refuse_without_exemplars
from sepdict.dictionaries.exemplars import PASSAGE_FRAMES, decode_exemplars
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.errors import ConfigError
from sepdict.models.layers import initialize
from sepdict.models.mask_network import MaskNetwork
from sepdict.models.optim import Adam
from sepdict.progress import OnProgress, Progress, closes_progress, ignore_progress
from sepdict.separation.config import MaskEstimatorConfig
from sepdict.separation.everyday import everyday_exemplars
from sepdict.spectral.bands import band_widths, to_bands, to_bins
from sepdict.spectral.stft import audible, spectral_shape

WARM_UP_STEPS = 30  # over which the learning rate rises, while Adam's averages fill
ADAPTATION_RATE = 1.5e-3  # lower than in training, which saw minutes of solos: the weights are only to be adjusted
RESIDUAL_RATE = 2e-3  # between the two: much is new in the residual, but the exemplars of the other sources stay
SOFTEST_PIECE = 0.1  # of the exemplars' level (-20 dB): softer pieces are pauses, and stay so


@dataclass(frozen=True, eq=False)
class MaskEstimator:
    """A network that estimates the masks of certain sources in their mixture.

    Attributes
    ----------
    sources : tuple of str
        In the order of the masks; the residual may be the last.
    network : MaskNetwork
    """

    sources: tuple[str, ...]
    network: MaskNetwork

    def __post_init__(self) -> None:
        self.network.requires_grad_(False).eval()

    def masks(self, magnitude: Tensor, sources: Sequence[str]) -> Tensor:
        """Estimate the masks of the sources in a mixture.

        Parameters
        ----------
        magnitude : Tensor, shape (n_channels, n_bins, n_frames), >= 0
            Of any level: the masks do not depend on it.
        sources : sequence of str
            The mask estimator's sources, in the order in which the masks are wanted.

        Returns
        -------
        Tensor, shape (n_sources, n_channels, n_bins, n_frames)
            From 0 to 1, summing to one over the sources.

        Raises
        ------
        ConfigError
            If the sources are not the mask estimator's.
        """
        if sorted(sources) != sorted(self.sources):
            raise ConfigError(f"the mask estimator is of {self.sources}, the dictionaries are of {tuple(sources)}")
        # normalized first, so that no square overflows; (n_channels, n_sources, n_bands, n_frames)
        log_masks = self.network.to(magnitude.device)(to_bands(spectral_shape(magnitude)))
        order = [self.sources.index(source) for source in sources]
        return to_bins(log_masks.exp(), magnitude.shape[-2]).movedim(1, 0)[order]


@checks_types
@closes_progress
def train_mask_estimator(
    dictionaries: Sequence[DictionaryLike],
    config: MaskEstimatorConfig | None = None,
    *,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> MaskEstimator:
    """Train a mask estimator on mixtures of the exemplars of dictionaries.

    Parameters
    ----------
    dictionaries : sequence of Dictionary, path or installed name
        Of one rate and STFT. With a single one the residual is the other source, and everyday sounds are its exemplars.
    config : MaskEstimatorConfig, optional
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    on_progress : callable
        Called after every step; raising from it cancels.

    Returns
    -------
    MaskEstimator
        For ``trained_mask_estimator`` of :func:`sepdict.separate`, which by default trains one itself.

    Raises
    ------
    ConfigError
        If a dictionary has no exemplars, or they do not go together.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> hiss, hum = torch.randn(1, 16000), torch.randn(1, 16000).cumsum(1) / 100
    >>> quick = TrainingConfig(n_steps=5)
    >>> dictionaries = [train_dictionary(Audio(x, 8000), quick, source=s) for x, s in [(hiss, "hiss"), (hum, "hum")]]
    >>> train_mask_estimator(dictionaries, MaskEstimatorConfig(n_steps=5)).sources
    ('hiss', 'hum')
    """
    config = MaskEstimatorConfig() if config is None else config
    loaded = as_dictionaries(dictionaries)
    refuse_unfit(loaded)
    refuse_without_exemplars(loaded)
    config = config.for_dictionaries(len(loaded))
    chosen, generator = choose_device(device), seeded_generator(config.seed)
    exemplars = exemplars_by_source(loaded, chosen)
    widths = _widths(loaded[0].card.stft.n_bins, chosen)
    network = MaskNetwork(len(exemplars), len(widths), config.width, n_ahead=config.n_ahead)
    initialize(network, generator)
    torch.nn.init.zeros_(network.last.weight)  # begin with equal shares
    _learn(network.to(chosen), list(exemplars.values()), widths, config, generator, "estimate", on_progress)
    return MaskEstimator(tuple(exemplars), network.cpu())


def sources_of(dictionaries: Sequence[Dictionary]) -> tuple[str, ...]:
    """Return the sources of the mask estimator of these dictionaries: by name, and beside a single one the residual."""
    names = sorted(dictionary.source for dictionary in dictionaries)
    return (*names, RESIDUAL) if len(names) == 1 else tuple(names)


def exemplars_by_source(dictionaries: Sequence[Dictionary], device: torch.device) -> dict[str, Tensor]:
    """Return the exemplars from which a mask estimator learns, in its order of the sources.

    Parameters
    ----------
    dictionaries : sequence of Dictionary
    device : torch.device

    Returns
    -------
    dict of str to Tensor, shape (n_bands, n_frames), >= 0
        Without infrasound, of unit energy in the mean frame. Beside a single dictionary's there are everyday sounds.
    """
    card = dictionaries[0].card
    coded = {dictionary.source: dictionary.exemplars for dictionary in dictionaries}
    if len(dictionaries) == 1:
        coded[RESIDUAL] = everyday_exemplars(card.sample_rate, card.stft)
    coded = {source: coded[source] for source in sources_of(dictionaries)}
    widths = _widths(card.stft.n_bins, device)
    heard = {  # low bands are bins
        source: audible(decode_exemplars(exemplars), card.stft, card.sample_rate).to(device)
        for source, exemplars in coded.items()
    }
    return {source: _at_unit_energy(exemplars, widths) for source, exemplars in heard.items()}


def adapt(
    mask_estimator: MaskEstimator,
    magnitudes: Tensor,
    sources: Sequence[str],
    *,
    n_steps: int,
    n_cuts: int = MaskEstimatorConfig.n_adaptation_cuts,
    on_progress: OnProgress = ignore_progress,
) -> MaskEstimator:
    """Adapt a mask estimator to one mixture, by training on pieces of its estimated sources instead of exemplars [1]_.

    Parameters
    ----------
    mask_estimator : MaskEstimator
        It stays unchanged: an adapted copy is returned.
    magnitudes : Tensor, shape (n_sources, n_channels, n_bins, n_frames), >= 0
        Estimates of the sources.
    sources : sequence of str
        Their names: the mask estimator's sources, in any order.
    n_steps : int
        Updates of the network's weights.
    n_cuts : int
        How many pieces each mixture of them consists of.
    on_progress : callable
        Called after every step; raising from it cancels.

    Returns
    -------
    MaskEstimator
        The same mask estimator if the sources are silent or ``n_steps`` is 0.

    References
    ----------
    .. [1] Tzinis, Adi, Ithapu, Xu, Smaragdis and Kumar, "RemixIT: continual self-training of speech enhancement
       models via bootstrapped remixing", IEEE J. Sel. Topics Signal Process. 16(6), 2022.
    """
    peak = magnitudes.amax()
    if not n_steps or not peak > 0:
        return mask_estimator
    order = [list(sources).index(source) for source in mask_estimator.sources]
    widths = _widths(magnitudes.shape[-2], magnitudes.device)
    exemplars = list(_as_exemplars(magnitudes[order] / peak, widths))  # silent sources stay so
    config = MaskEstimatorConfig(n_steps=n_steps, n_cuts=n_cuts, learning_rate=ADAPTATION_RATE)
    return _learned_on(mask_estimator, exemplars, widths, config, on_progress)


def adapt_to_residual(
    mask_estimator: MaskEstimator,
    exemplars: Mapping[str, Tensor],
    residual: Tensor,
    *,
    n_steps: int,
    on_progress: OnProgress = ignore_progress,
) -> MaskEstimator:
    """Adapt a mask estimator whose last source is the residual to what is left of one mixture.

    The other sources keep their exemplars. Those of the residual are everyday sounds and, repeated until they are half
    of all, what an estimate leaves of the mixture. It may hold remains of the other sources; the everyday sounds keep
    the network from believing it.

    Parameters
    ----------
    mask_estimator : MaskEstimator
        It stays unchanged: an adapted copy is returned.
    exemplars : mapping of str to Tensor
        As by `exemplars_by_source`.
    residual : Tensor, shape (n_channels, n_bins, n_frames), >= 0
        A first estimate of its magnitudes.

    The other parameters and the result are those of `adapt`.
    """
    peak = residual.amax()
    if not n_steps or not peak > 0:
        return mask_estimator
    widths = _widths(residual.shape[-2], residual.device)
    left = _as_exemplars(residual[None] / peak, widths)[0]
    everyday = exemplars[RESIDUAL]
    n_times = max(1, round(everyday.shape[1] / left.shape[1]))
    both = dict(exemplars) | {RESIDUAL: torch.cat([everyday, left.repeat(1, n_times)], dim=1)}
    config = MaskEstimatorConfig(n_steps=n_steps, learning_rate=RESIDUAL_RATE)
    return _learned_on(mask_estimator, [both[source] for source in mask_estimator.sources], widths, config, on_progress)


def _learned_on(
    mask_estimator: MaskEstimator,
    exemplars: Sequence[Tensor],
    widths: Tensor,
    config: MaskEstimatorConfig,
    on_progress: OnProgress,
) -> MaskEstimator:
    """Return a copy of a mask estimator that was trained further, on other exemplars."""
    network = copy.deepcopy(mask_estimator.network).to(widths.device).requires_grad_(True)
    _learn(network, exemplars, widths, config, seeded_generator(config.seed), "adapt", on_progress)
    return MaskEstimator(mask_estimator.sources, network)


@torch.enable_grad()
def _learn(
    network: MaskNetwork,
    exemplars: Sequence[Tensor],
    widths: Tensor,
    config: MaskEstimatorConfig,
    generator: torch.Generator,
    stage: str,
    on_progress: OnProgress,
) -> None:
    """Minimize the cross-entropy on mixtures of exemplars, (n_bands, n_frames) for each source."""
    weights: list[Tensor] = list(network.parameters())
    adam = Adam(weights, step=config.learning_rate)
    for step in range(config.n_steps):
        adam.step = config.learning_rate * _schedule(step, config.n_steps)
        sources = torch.stack([_mix_pieces(each, widths, config, generator) for each in exemplars])
        loss = _cross_entropy(network, sources, widths, generator)
        adam.update(torch.autograd.grad(loss, weights))
        on_progress(Progress(stage, step + 1, config.n_steps, float(loss.detach())))
    if not gives_masks(network):
        raise ConfigError(
            f"the training of the mask estimator diverged (stage {stage}), its masks are not finite; train the "
            "dictionaries again, or separate without it (--quality draft)"
        )


@torch.no_grad()
def gives_masks(network: MaskNetwork) -> bool:
    """Return whether a network's masks of silence, single bands and noise sum to one: finite weights may overflow."""
    n_bands = network.first.weight.shape[1]
    noise = torch.rand(n_bands, n_bands, generator=seeded_generator(0))
    frames = torch.cat([torch.zeros(n_bands, 1), torch.eye(n_bands), noise], dim=1)
    shares = network(frames.to(network.first.weight.device)).exp().sum(dim=0)
    return bool((shares - 1).abs().amax() < 1e-3)  # False of NaN


def _widths(n_bins: int, device: torch.device) -> Tensor:
    """Count the bins of every band, (n_bands, 1)."""
    return band_widths(n_bins)[:, None].float().to(device)


def _as_exemplars(magnitudes: Tensor, widths: Tensor) -> Tensor:
    """Turn magnitudes (n_sources, n_channels, n_bins, n_frames) into exemplars, channel after channel."""
    bands = to_bands(magnitudes).movedim(1, 2).flatten(2)  # (n_sources, n_bands, n_channels * n_frames)
    return _at_unit_energy(bands, widths)


def _at_unit_energy(bands: Tensor, widths: Tensor) -> Tensor:
    """Scale bands (..., n_bands, n_frames) to a mean energy of one over all their frames; silence stays silent."""
    energy = (widths * bands.square()).sum(dim=-2).mean().clamp(min=1e-30)
    return bands / energy.sqrt()


def _schedule(step: int, n_steps: int) -> float:
    """Return the learning rate relative to its highest: it rises to one, then falls to zero along half a cosine."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def _mix_pieces(exemplars: Tensor, widths: Tensor, config: MaskEstimatorConfig, generator: torch.Generator) -> Tensor:
    """Join pieces of exemplars, (n_bands, n_cuts * n_cut_frames), each at a random level, some sounding twice."""
    n_doubled = round(config.doubled_share * config.n_cuts)
    n_cut = min(PASSAGE_FRAMES, exemplars.shape[1])
    starts = torch.randint(exemplars.shape[1] - n_cut + 1, (config.n_cuts + n_doubled, 1), generator=generator)
    cuts = exemplars[:, (starts + torch.arange(n_cut)).to(exemplars.device)]  # (n_bands, n_pieces, n_cut_frames)
    level = (widths[..., None] * cuts.square()).sum(dim=0).mean(dim=1).sqrt()  # (n_pieces,)
    gains_db = config.gain_range_db * (2 * torch.rand(len(level), generator=generator) - 1).to(level.device)
    cuts = cuts * (10 ** (gains_db / 20) / level.clamp(min=SOFTEST_PIECE))[:, None]
    pieces, again = cuts.split([config.n_cuts, n_doubled], dim=1)
    doubled = _sum(pieces[:, :n_doubled], again, widths[..., None], generator)
    return torch.cat([doubled, pieces[:, n_doubled:]], dim=1).flatten(1)


def _sum(one: Tensor, other: Tensor, widths: Tensor, generator: torch.Generator) -> Tensor:
    """Add magnitudes at random phases: ``sqrt(a^2 + b^2 + 2 a b cos(phi))``; wide bands average the last term out."""
    cosines = torch.cos(math.pi * torch.rand(one.shape, generator=generator)).to(one.device)
    return (one.square() + other.square() + 2 * cosines / widths.sqrt() * one * other).clamp(min=0).sqrt()


def _cross_entropy(network: MaskNetwork, sources: Tensor, widths: Tensor, generator: torch.Generator) -> Tensor:
    """Average ``-sum_s r_s log m_s`` over bands and frames, weighted by their magnitudes and widths."""
    mixture = sources[0]
    for source in sources[1:]:
        mixture = _sum(mixture, source, widths, generator)
    power = sources.square()
    shares = power / power.sum(dim=0).clamp(min=1e-12)
    log_masks: Tensor = network(mixture)  # (n_sources, n_bands, n_frames)
    weights = widths * sources.sum(dim=0)
    return -(weights * (shares * log_masks).sum(dim=0)).sum() / weights.sum()
