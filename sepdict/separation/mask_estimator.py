"""Composing: dictionaries that were trained apart learn, in a minute, to be told apart.

From what the dictionaries remember of what they heard, mixtures are drawn without end, and a small network learns
to share them out. Its masks ``m_s`` are where the excitation fit of exactly these dictionaries starts, and a
second guide on its result. Nothing but the dictionary files is needed, and nothing in them changes.

    M_t = | sum_s  g_s V_s,t  exp(i phi) |        V_s cut at random from exemplars s, random gains and phases
    min over the network   - sum  M-weighted  r_s log m_s(M),       r_s = V_s^2 / sum_k V_k^2
"""

import contextlib
import copy
import hashlib
import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from sepdict._core.devices import AUTO, choose_device, seeded_generator
from sepdict._core.fs import user_folder, write_atomically
from sepdict._core.settings import checks_types, refuse_other_types, refuse_out_of_range
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit, refuse_without_exemplars
from sepdict.dictionaries.exemplars import PASSAGE_FRAMES, decode_exemplars
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.dictionaries.tensor_file import TensorFileError, open_tensors
from sepdict.errors import ConfigError
from sepdict.models.layers import initialize
from sepdict.models.mask_network import MaskNetwork
from sepdict.models.optim import Adam
from sepdict.progress import OnProgress, Progress, closes_progress, ignore_progress
from sepdict.spectral.bands import band_widths, n_bands, to_bands, to_bins
from sepdict.spectral.stft import audible, spectral_shape

log = logging.getLogger(__name__)

CACHE_VERSION = 2  # rises when the same dictionaries would be composed in another way
MOST_CACHED = 64  # compositions, of some 2 MiB each; the least recently used go first
WARM_UP_STEPS = 30  # over which the learning rate rises, while Adam's averages fill
ADAPTATION_RATE = 1e-3  # what was learned from minutes of solos is only to be adjusted
SOFTEST_CUT = 0.1  # of the exemplars' level (-20 dB): a softer piece is a pause, and stays one


@dataclass(frozen=True)
class MaskEstimatorConfig:
    """How dictionaries are composed.

    Parameters
    ----------
    n_steps : int
        Updates of the network's weights, each on a new mixture.
    n_cuts : int
        Pieces that make up one such mixture.
    width : int
        Units of the network's layers.
    gain_range_db : float
        Each source of a piece is up to so much louder or softer than its usual level.
    doubled_share : float
        Share of the pieces in which a source sounds twice at once: solos of single notes also teach chords.
    learning_rate : float
        Of Adam at its height; it falls to zero along half a cosine.
    n_adaptation_steps : int
        Updates by which a trained mask estimator is then adapted to each segment of a mixture; 0 leaves it as it is.
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
    n_adaptation_steps: int = 50
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
            "seed": (0, 2**63 - 1),
        }
        refuse_out_of_range(self, ranges)


@dataclass(frozen=True, eq=False)
class MaskEstimator:
    """Who owns what in a mixture of certain sources.

    Attributes
    ----------
    sources : tuple of str
        In the order of the masks.
    network : MaskNetwork
    """

    sources: tuple[str, ...]
    network: MaskNetwork

    def __post_init__(self) -> None:
        self.network.requires_grad_(False).eval()

    def masks(self, magnitude: Tensor, sources: Sequence[str]) -> Tensor:
        """Share out a mixture.

        Parameters
        ----------
        magnitude : Tensor, shape (n_channels, n_bins, n_frames), >= 0
            At any level: the masks do not depend on it.
        sources : sequence of str
            The composition's, in the order in which the masks are wanted.

        Returns
        -------
        Tensor, shape (n_sources, n_channels, n_bins, n_frames)
            From 0 to 1, summing to one over the sources.

        Raises
        ------
        ConfigError
            If the sources are not those that were composed.
        """
        if sorted(sources) != sorted(self.sources):
            raise ConfigError(f"the mask estimator is of {self.sources}, the dictionaries are of {tuple(sources)}")
        # freed of their levels first, so that no square overflows; (n_channels, n_sources, n_bands, n_frames)
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
    """Learn to tell sources apart, from what their dictionaries remember.

    Parameters
    ----------
    dictionaries : sequence of Dictionary, path or installed name
        Two at least, of one rate and STFT.
    config : MaskEstimatorConfig, optional
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    on_progress : callable
        Called after every step; raising from it cancels.

    Returns
    -------
    MaskEstimator
        For :func:`sepdict.separate`, which makes its own where none is given.

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
    in_order = sorted(loaded, key=lambda dictionary: dictionary.source)
    chosen, generator = choose_device(device), seeded_generator(config.seed)
    widths = _widths(in_order[0].card.stft.n_bins, chosen)
    exemplars = [_recall(dictionary, widths) for dictionary in in_order]
    network = MaskNetwork(len(exemplars), len(widths), config.width)
    initialize(network, generator)
    torch.nn.init.zeros_(network.last.weight)  # begin with equal shares
    _learn(network.to(chosen), exemplars, widths, config, generator, "estimate", on_progress)
    return MaskEstimator(tuple(dictionary.source for dictionary in in_order), network.cpu())


def adapt(
    mask_estimator: MaskEstimator,
    magnitudes: Tensor,
    sources: Sequence[str],
    *,
    n_steps: int,
    on_progress: OnProgress = ignore_progress,
) -> MaskEstimator:
    """Teach a composition one mixture: what it was taken for, source by source, is drawn from as from exemplars [1]_.

    Parameters
    ----------
    mask_estimator : MaskEstimator
        Unchanged: a adapted copy is returned.
    magnitudes : Tensor, shape (n_sources, n_channels, n_bins, n_frames), >= 0
        The sources as far as they are known.
    sources : sequence of str
        Their names: the composition's, in any order.
    n_steps : int
        Updates of the network's weights.
    on_progress : callable
        Called after every step; raising from it cancels.

    Returns
    -------
    MaskEstimator
        Of silence, the composition itself.

    References
    ----------
    .. [1] Tzinis, Adi, Ithapu, Xu, Smaragdis and Kumar, "RemixIT: continual self-training of speech enhancement
       models via bootstrapped remixing", IEEE J. Sel. Topics Signal Process. 16(6), 2022.
    """
    peak = magnitudes.amax()
    if not n_steps or not peak > 0:
        return mask_estimator
    config = MaskEstimatorConfig(n_steps=n_steps, learning_rate=ADAPTATION_RATE)
    order = [list(sources).index(source) for source in mask_estimator.sources]
    bands = to_bands(magnitudes[order] / peak).movedim(1, 2).flatten(2)  # (n_sources, n_bands, channels * frames)
    widths = _widths(magnitudes.shape[-2], bands.device)
    exemplars = list(bands / (widths * bands.square()).sum(dim=1).mean().sqrt())  # levels stay: who is silent stays so
    network = copy.deepcopy(mask_estimator.network).to(bands.device).requires_grad_(True)
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
    """Descend on the cross-entropy of mixtures that are drawn from exemplars (n_bands, n_frames), one per source."""
    weights: list[Tensor] = list(network.parameters())
    adam = Adam(weights, step=config.learning_rate)
    for step in range(config.n_steps):
        adam.step = config.learning_rate * _schedule(step, config.n_steps)
        sources = torch.stack([_mix_pieces(each, widths, config, generator) for each in exemplars])
        loss = _cross_entropy(network, sources, widths, generator)
        adam.update(torch.autograd.grad(loss, weights))
        on_progress(Progress(stage, step + 1, config.n_steps, float(loss.detach())))
    if not _shares_out(network):
        raise ConfigError(
            f"learning to tell the sources apart ({stage}) diverged: what it shares out are no numbers; train the "
            "dictionaries again, or do without (--no-compose)"
        )


def cached_mask_estimator(
    dictionaries: Sequence[Dictionary],
    config: MaskEstimatorConfig | None = None,
    *,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> MaskEstimator:
    """Load the mask estimator of these dictionaries and settings from the cache, or train it and save it there.

    The cache is the folder that the environment variable ``SEPDICT_CACHE`` names, by default ``~/.cache/sepdict``;
    it can be deleted at any time.

    Parameters and exceptions are those of :func:`train_mask_estimator`.
    """
    config = MaskEstimatorConfig() if config is None else config
    refuse_unfit(dictionaries)
    sources = tuple(sorted(dictionary.source for dictionary in dictionaries))
    checksums = sorted(dictionary.sha256 for dictionary in dictionaries)
    settings = {name: value for name, value in asdict(config).items() if name != "n_adaptation_steps"}  # comes later
    facts = json.dumps([CACHE_VERSION, settings, checksums])
    key = hashlib.sha256(facts.encode()).hexdigest()[:32]
    network = MaskNetwork(len(sources), n_bands(dictionaries[0].card.stft.n_bins), config.width)
    if _found(network, key):
        log.debug("composed before, from %s", cache_folder())
        return MaskEstimator(sources, network)
    mask_estimator = train_mask_estimator(dictionaries, config, device=device, on_progress=on_progress)
    try:
        _keep(mask_estimator, key)
    except OSError as error:
        why = f"{cache_folder()}: {error.strerror}; have SEPDICT_CACHE name a folder that can be written to"
        log.warning("the composition cannot be kept, it will be made again (%s)", why)
    except ConfigError as error:
        log.warning("the composition cannot be kept, it will be made again (%s)", error)
    return mask_estimator


def _found(network: MaskNetwork, key: str) -> bool:
    """Load the weights from the cache, if they are there, what their file's name promises, and can be used."""
    try:
        folder = cache_folder()
    except ConfigError:  # said when what is composed cannot be kept
        return False
    promised = {name: (weight.dtype, tuple(weight.shape)) for name, weight in network.state_dict().items()}
    for path in folder.glob(f"composition-{key}-*.safetensors"):
        with contextlib.suppress(OSError, TensorFileError):  # damaged or foreign: make it anew
            with open_tensors(path) as file:
                weights = file.read(promised)
            network.load_state_dict(weights)
            if path == _cache_path(key, safetensors.torch.save(weights)) and _shares_out(network):
                with contextlib.suppress(OSError):  # a folder that can only be read will do
                    path.touch()
                return True
    return False


@torch.no_grad()
def _shares_out(network: MaskNetwork) -> bool:
    """Try a network on silence, on every band alone and on noise: weights that are finite may still overflow there."""
    n_bands = network.first.weight.shape[1]
    noise = torch.rand(n_bands, n_bands, generator=seeded_generator(0))
    frames = torch.cat([torch.zeros(n_bands, 1), torch.eye(n_bands), noise], dim=1)
    shares = network(frames.to(network.first.weight.device)).exp().sum(dim=0)
    return bool((shares - 1).abs().amax() < 1e-3)  # False of NaN


def _keep(mask_estimator: MaskEstimator, key: str) -> None:
    """Write a composition to the cache, and make room for it."""
    content = safetensors.torch.save(mask_estimator.network.state_dict())
    cache_folder().mkdir(parents=True, exist_ok=True)
    write_atomically(_cache_path(key, content), content)
    kept = sorted(cache_folder().glob("composition-*.safetensors"), key=lambda file: file.stat().st_mtime)
    for oldest in kept[:-MOST_CACHED]:
        oldest.unlink(missing_ok=True)


def _cache_path(key: str, content: bytes) -> Path:
    """Name a file after what was composed, and after its content: a flipped bit is noticed."""
    return cache_folder() / f"composition-{key}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"


def cache_folder() -> Path:
    """Say where compositions are kept."""
    return user_folder("cache", variable="SEPDICT_CACHE")


def _widths(n_bins: int, device: torch.device) -> Tensor:
    """Count the bins of every band, (n_bands, 1)."""
    return band_widths(n_bins)[:, None].float().to(device)


def _recall(dictionary: Dictionary, widths: Tensor) -> Tensor:
    """Read a dictionary's exemplars, less the infrasound of older ones, scaled to frames of unit energy on average."""
    card = dictionary.card
    exemplars = audible(decode_exemplars(dictionary.exemplars), card.stft, card.sample_rate).to(
        widths.device
    )  # low bands are bins
    return exemplars / (widths * exemplars.square()).sum(dim=0).mean().sqrt()


def _schedule(step: int, n_steps: int) -> float:
    """Rise to one, then fall to zero along half a cosine."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / n_steps))


def _mix_pieces(exemplars: Tensor, widths: Tensor, config: MaskEstimatorConfig, generator: torch.Generator) -> Tensor:
    """Join pieces of exemplars, (n_bands, n_cuts * n_cut_frames), each at a random level, some sounding twice."""
    n_doubled = round(config.doubled_share * config.n_cuts)
    n_cut = min(PASSAGE_FRAMES, exemplars.shape[1])
    starts = torch.randint(exemplars.shape[1] - n_cut + 1, (config.n_cuts + n_doubled, 1), generator=generator)
    cuts = exemplars[:, (starts + torch.arange(n_cut)).to(exemplars.device)]  # (n_bands, n_pieces, n_cut_frames)
    level = (widths[..., None] * cuts.square()).sum(dim=0).mean(dim=1).sqrt()  # (n_pieces,)
    gains_db = config.gain_range_db * (2 * torch.rand(len(level), generator=generator) - 1).to(level.device)
    cuts = cuts * (10 ** (gains_db / 20) / level.clamp(min=SOFTEST_CUT))[:, None]
    pieces, again = cuts.split([config.n_cuts, n_doubled], dim=1)
    doubled = _sum(pieces[:, :n_doubled], again, widths[..., None], generator)
    return torch.cat([doubled, pieces[:, n_doubled:]], dim=1).flatten(1)


def _sum(one: Tensor, other: Tensor, widths: Tensor, generator: torch.Generator) -> Tensor:
    """Add at random phases: ``sqrt(a^2 + b^2 + 2 a b cos(phi))``, whose last term averages out in wide bands."""
    cosines = torch.cos(math.pi * torch.rand(one.shape, generator=generator)).to(one.device)
    return (one.square() + other.square() + 2 * cosines / widths.sqrt() * one * other).clamp(min=0).sqrt()


def _cross_entropy(network: MaskNetwork, sources: Tensor, widths: Tensor, generator: torch.Generator) -> Tensor:
    """Mean of ``-sum_s r_s log m_s`` over bands and frames, each counting with its magnitude and width."""
    mixture = sources[0]
    for source in sources[1:]:
        mixture = _sum(mixture, source, widths, generator)
    power = sources.square()
    shares = power / power.sum(dim=0).clamp(min=1e-12)
    log_masks: Tensor = network(mixture)  # (n_sources, n_bands, n_frames)
    weights = widths * sources.sum(dim=0)
    return -(weights * (shares * log_masks).sum(dim=0)).sum() / weights.sum()
