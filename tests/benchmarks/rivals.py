"""What sepdict is measured against: bounds, and separators that learn from the same solos.

Each is a function ``(scene, seed) -> Separated``. All see the mixture and the solos only (but for `ideal_masks`, the
ceiling), use the STFT that sepdict chooses for the mixture's rate, keep the mixture's phase, and return stems that sum
to the mixture. Scenes are mono. Libraries that only one rival needs are imported by it, before its clock starts: no
other pays for them in memory, and none in time.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sepdict import Audio, Label, read_audio, read_labels
from sepdict.audio.discovery import find_audio_files
from sepdict.spectral.masks import ratio_masks
from sepdict.spectral.stft import StftConfig, istft, magnitude, stft

SILENCE = 1e-3  # frames so far below a solo's loudest (-60 dB) are not learned from, as sepdict does
HIDDEN = 256  # units of the mask network
DROPOUT = 0.4  # this, the rate and the decay are open-unmix's
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-5
SEGMENT_S = 3.0  # length of the sums that the mask network is trained on
BATCH = 8
GAIN_RANGE_DB = 6.0  # each source of a sum is up to so much louder or softer than its usual level
BEST_SNR = 1e-3  # of the mixture's energy (-30 dB): an error below it counts no more


@dataclass(frozen=True)
class Scene:
    """A mixture and solos to learn each of its sources from; the true sources are read only where asked for."""

    folder: Path
    mixture: Audio
    solos: Mapping[str, Sequence[Audio]]

    @classmethod
    def read(cls, folder: Path) -> "Scene":
        """Read what ``make_scenes.py`` wrote of one scene."""
        mixture = read_audio(folder / "mixture.wav")
        sources = sorted(path.name for path in (folder / "solos").iterdir() if path.is_dir())
        solos = {
            source: [read_audio(path) for path in find_audio_files([folder / "solos" / source])] for source in sources
        }
        for audio in [mixture, *(solo for several in solos.values() for solo in several)]:
            if (audio.n_channels, audio.sample_rate) != (1, mixture.sample_rate):
                raise ValueError(f"{folder}: expected mono at one rate; {audio.name} is something else")
        return cls(folder, mixture, solos)

    def marked(self) -> "Scene":
        """The same scene, to be learned from the seconds of one recording in which each source is marked alone."""
        recording = read_audio(self.folder / "marked" / "recording.wav")
        moments = {label.name: recording.seconds(label.start_s, label.end_s) for label in self.labels()}
        return replace(self, solos={source: [moments[source]] for source in self.solos})

    def labels(self) -> list[Label]:
        """Read the labels of the marked recording."""
        return read_labels(self.folder / "marked" / "recording.txt")

    def references(self) -> dict[str, Audio]:
        """Read the true sources, in the order of the solos."""
        return {source: read_audio(self.folder / "references" / f"{source}.wav") for source in self.solos}

    @property
    def stft(self) -> StftConfig:
        """The STFT that all rivals share."""
        return StftConfig.for_sample_rate(self.mixture.sample_rate)

    def spectrum(self) -> Tensor:
        """Complex STFT of the mixture, (n_bins, n_frames)."""
        return stft(self.mixture.samples[0], self.stft)

    def apply(self, masks: Tensor) -> Tensor:
        """Turn masks (n_sources, n_bins, n_frames) into stems (n_sources, n_samples)."""
        return istft(masks * self.spectrum(), self.stft, n_samples=self.mixture.n_samples)


@dataclass(frozen=True)
class Separated:
    """Stems (n_sources, n_samples) in the order of the scene's solos, and what they cost."""

    stems: Tensor
    training_s: float
    separation_s: float


def mixture_itself(scene: Scene, seed: int) -> Separated:
    """Do nothing, the floor: every stem is an equal share of the mixture. No measure used here depends on its level."""
    n_sources = len(scene.solos)
    return Separated(scene.mixture.samples.expand(n_sources, -1) / n_sources, 0.0, 0.0)


def ideal_masks(scene: Scene, seed: int, *, exponent: float) -> Separated:
    """Share out the mixture by the true sources' magnitudes, the ceiling of masks: ``|S_s|^p / sum_k |S_k|^p``."""
    references = torch.stack([audio.samples[0] for audio in scene.references().values()])
    start = time.perf_counter()
    masks = ratio_masks(magnitude(stft(references, scene.stft)), exponent=exponent)
    return Separated(scene.apply(masks), 0.0, time.perf_counter() - start)


def kl_nmf(scene: Scene, seed: int, *, n_components: int, n_iterations: int = 200) -> Separated:
    """Supervised KL-NMF: ``min d(|S| | W_s H)`` over the solos of each source, then ``min d(|X| | [W_1 W_2 ...] H)``.

    Masks share by amplitude, ``W_s H_s / sum_k W_k H_k``, as sepdict's do. Computed by scikit-learn.

    References
    ----------
    .. [1] Lee and Seung, "Algorithms for non-negative matrix factorization", NIPS 2000, eq. 5.
    .. [2] Smaragdis, Raj and Shashanka, "Supervised and semi-supervised separation of sounds from single-channel
       mixtures", ICA 2007: components learned from solos and kept.
    """
    learn = [np.concatenate([_sounding(x) for x in several]) + 1e-8 for several in _solo_frames(scene)]
    observed = magnitude(scene.spectrum()).T.numpy() + 1e-8
    return _nmf(scene, seed, learn, observed, "kullback-leibler", n_components, n_iterations)


def is_nmf(scene: Scene, seed: int, *, n_components: int, n_iterations: int = 200) -> Separated:
    """Supervised IS-NMF: the same with the Itakura-Saito divergence of power spectra, and Wiener masks.

    The divergence is infinite where a power is zero: all get a floor 80 dB below the mean. Computed by scikit-learn.

    References
    ----------
    .. [1] Févotte, Bertin and Durrieu, "Nonnegative matrix factorization with the Itakura-Saito divergence: with
       application to music analysis", Neural Computation 21(3), 2009, eq. 3.9 and 5.1.
    """
    learn = [_positive_power(np.concatenate([_sounding(x) for x in several])) for several in _solo_frames(scene)]
    observed = _positive_power(magnitude(scene.spectrum()).T.numpy())
    return _nmf(scene, seed, learn, observed, "itakura-saito", n_components, n_iterations)


def convolutive_nmf(
    scene: Scene, seed: int, *, n_components: int = 25, n_patch_frames: int = 8, n_iterations: int = 200
) -> Separated:
    """Supervised convolutive KL-NMF: ``|X|_t = sum_s sum_u W_s,u H_s,t-u``, every component several frames long.

    Computed by torchnmf (NMFD). It measures convergence against a badly scaled start, so all iterations are taken.

    References
    ----------
    .. [1] Smaragdis, "Convolutive speech bases and their application to supervised speech separation", IEEE Trans.
       Audio, Speech, Language Process. 15(1), 2007, eq. 9 to 11.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script`")  # of a category that torch changes
        from torchnmf.nmf import NMFD
    start = time.perf_counter()
    learned = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for several in _solo_frames(scene):
            frames = torch.cat([torch.from_numpy(x) for x in several]).T[None] + 1e-8  # (1, n_bins, n_frames)
            model = NMFD(frames.shape, rank=n_components, T=n_patch_frames)
            model.fit(frames, beta=1, tol=0, max_iter=n_iterations)
            learned.append(model.W.detach())  # (n_bins, n_components, n_patch_frames)
        trained = time.perf_counter()
        observed = magnitude(scene.spectrum())[None] + 1e-8
        n_starts = observed.shape[2] - n_patch_frames + 1
        model = NMFD(W=torch.cat(learned, dim=1), H=(1, n_components * len(learned), n_starts), trainable_W=False)
        model.fit(observed, beta=1, tol=0, max_iter=n_iterations)
    parts = zip(model.H.detach().split(n_components, dim=1), learned, strict=True)
    masks = ratio_masks(torch.cat([NMFD.reconstruct(excitations, w) for excitations, w in parts]))
    return Separated(scene.apply(masks), trained - start, time.perf_counter() - trained)


def semi_supervised_nmf(
    scene: Scene,
    seed: int,
    *,
    n_components: int = 60,
    n_free: int = 20,
    n_iterations: int = 200,
    one_known: bool = False,
) -> Separated:
    """Semi-supervised KL-NMF [1]_: each stem from a run in which the source after it is unknown, and learned.

    Where one source is known, all others are unknown, and the rest is a stem, too.

    ``min over H, W_free  d(|X| | [W_1 W_2 ... W_free] H)`` by multiplicative updates, the components of the known
    sources learned from their solos and kept.

    References
    ----------
    .. [1] Smaragdis, Raj and Shashanka, "Supervised and semi-supervised separation of sounds from single-channel
       mixtures", ICA 2007.
    """
    start = time.perf_counter()
    learn = [np.concatenate([_sounding(x) for x in several]) + 1e-8 for several in _solo_frames(scene)]
    learned = [_components(frames, seed, "kullback-leibler", n_components, n_iterations) for frames in learn]
    known = [torch.from_numpy(components).float().T for components in learned]  # each (n_bins, n_components)
    known = [components / components.sum(dim=0) for components in known]
    trained = time.perf_counter()
    observed = magnitude(scene.spectrum()) + 1e-8
    observed = observed / observed.mean()
    generator = torch.Generator().manual_seed(seed)
    masks = []
    for index in range(len(known)):
        given = [other for other in range(len(known)) if other not in (index, (index + 1) % len(known))]
        others = [] if one_known else [known[other] for other in given]
        components = torch.cat(
            [known[index], *others, torch.rand(len(observed), n_free, generator=generator) + 0.1], dim=1
        )
        activations = torch.rand(components.shape[1], observed.shape[1], generator=generator)
        components = components / components.sum(dim=0)
        for _ in range(n_iterations):
            activations = activations * (components.T @ (observed / (components @ activations)))
            ratio = observed / (components @ activations)
            components[:, -n_free:] *= ratio @ activations[-n_free:].T + 1e-9
            components = components / components.sum(dim=0)
        own = components[:, :n_components] @ activations[:n_components]
        share = own / (components @ activations)
        masks += [share, 1 - share] if one_known else [share]
    return Separated(scene.apply(torch.stack(masks)), trained - start, time.perf_counter() - trained)


def noise_reduction(scene: Scene, seed: int) -> Separated:
    """Spectral gating as in noisereduce [1]_, of which each source in turn is the noise: stems are it and the rest.

    References
    ----------
    .. [1] Sainburg, Thielk and Gentner, "Finding, visualizing, and quantifying latent structure across diverse animal
       vocal repertoires", PLOS Computational Biology 16(10), 2020.
    """
    import noisereduce

    del seed
    start, rate, mixture = time.perf_counter(), scene.mixture.sample_rate, scene.mixture.samples[0]
    stems = []
    for solos in scene.solos.values():
        noise = torch.cat([solo.samples[0] for solo in solos]).numpy()
        rest = noisereduce.reduce_noise(y=mixture.numpy(), sr=rate, y_noise=noise, stationary=True)
        rest = torch.from_numpy(np.asarray(rest, np.float32))
        stems += [mixture - rest, rest]
    return Separated(torch.stack(stems), 0.0, (time.perf_counter() - start) / len(scene.solos))


def mask_network(
    scene: Scene, seed: int, *, budget_s: float, clock: Callable[[], float] = time.perf_counter
) -> Separated:
    """A discriminative rival in the manner of open-unmix [1]_: a BLSTM learns to share out sums of the solos.

    Every step draws for each source a random segment of its solos at a random gain, and descends on the error of the
    masked sum, ``log10( |S_s - m_s X|^2 + 0.001 |X|^2 )`` [2]_, which is the SNR up to a constant and stays finite for
    a source that is silent. The learning rate falls to zero along half a cosine over ``budget_s`` seconds.

    References
    ----------
    .. [1] Stöter, Uhlich, Liutkus and Mitsufuji, "Open-Unmix: a reference implementation for music source separation",
       JOSS 4(41), 2019.
    .. [2] Wisdom et al., "Unsupervised sound separation using mixture invariant training", NeurIPS 2020, eq. 2.
    """
    _wake_adam()
    start = clock()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        spectra = _leveled_spectra(scene)
        n_frames = round(SEGMENT_S * scene.mixture.sample_rate / scene.stft.hop_length)
        n_frames = min([n_frames, *(len(frames) for frames in spectra)])
        network = _MaskNetwork(len(spectra), scene.stft.n_bins)
        network.standardize(magnitude(_draw(spectra, n_frames).sum(dim=1)))
        adam = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        while (spent := (clock() - start) / budget_s) < 1:
            adam.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * spent)) / 2
            adam.zero_grad()
            _error_db(network, _draw(spectra, n_frames)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adam.step()
    trained = clock()
    with torch.no_grad():
        masks = network.eval()(magnitude(scene.spectrum()).T[None])[0]  # (n_sources, n_frames, n_bins)
    return Separated(scene.apply(masks.transpose(1, 2)), trained - start, clock() - trained)


def _wake_adam() -> None:
    """Take a step of no consequence: the first of a process imports half of torch, for seconds."""
    weight = nn.Parameter(torch.zeros(1))
    weight.sum().backward()
    torch.optim.Adam([weight]).step()


def _solo_frames(scene: Scene) -> list[list[np.ndarray]]:
    """Magnitudes (n_frames, n_bins) of every solo of every source."""
    return [[magnitude(stft(x.samples[0], scene.stft)).T.numpy() for x in several] for several in scene.solos.values()]


def _sounding(frames: np.ndarray) -> np.ndarray:
    """Drop silence."""
    level = frames.mean(axis=1)
    return frames[level > level.max() * SILENCE]


def _positive_power(magnitudes: np.ndarray) -> np.ndarray:
    """Square, at a scale where scikit-learn's own floor of 1e-7 lies below ours of 1e-4."""
    power = magnitudes.astype(np.float64) ** 2  # in float32 the updates crawl through denormal numbers
    return power * (1e4 / power.mean()) + 1e-4


def _nmf(
    scene: Scene,
    seed: int,
    learn: list[np.ndarray],
    observed: np.ndarray,
    divergence: str,
    n_components: int,
    n_iterations: int,
) -> Separated:
    """Learn components from each source's frames (n_frames, n_bins), fit their activations to the mixture's."""
    from sklearn.decomposition import non_negative_factorization
    from sklearn.exceptions import ConvergenceWarning

    options = {"solver": "mu", "beta_loss": divergence, "max_iter": n_iterations, "random_state": seed}
    start = time.perf_counter()
    learned = [_components(frames, seed, divergence, n_components, n_iterations) for frames in learn]
    trained = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        components = np.concatenate(learned)
        activations, _, _ = non_negative_factorization(
            observed, H=components, n_components=len(components), update_H=False, **options
        )
    parts = [a @ w for a, w in zip(np.split(activations, len(learned), axis=1), learned, strict=True)]
    masks = ratio_masks(torch.from_numpy(np.stack(parts)).transpose(1, 2)).float()  # (n_sources, n_bins, n_frames)
    return Separated(scene.apply(masks), trained - start, time.perf_counter() - trained)


def _components(frames: np.ndarray, seed: int, divergence: str, n_components: int, n_iterations: int) -> np.ndarray:
    """Learn components (n_components, n_bins) from frames (n_frames, n_bins)."""
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    options = {"solver": "mu", "beta_loss": divergence, "max_iter": n_iterations, "random_state": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        components: np.ndarray = NMF(n_components, init="random", **options).fit(frames).components_
    return components


class _MaskNetwork(nn.Module):
    """Log-magnitudes, linear, BLSTM with a way around it, linear, softmax over the sources."""

    def __init__(self, n_sources: int, n_bins: int) -> None:
        super().__init__()
        self.n_sources = n_sources
        self.register_buffer("mean", torch.zeros(n_bins))
        self.register_buffer("scale", torch.ones(n_bins))
        self.enter = nn.Linear(n_bins, HIDDEN)
        self.lstm = nn.LSTM(HIDDEN, HIDDEN // 2, 2, batch_first=True, bidirectional=True, dropout=DROPOUT)
        self.leave = nn.Linear(2 * HIDDEN, n_sources * n_bins)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Map (n_segments, n_frames, n_bins) to masks (n_segments, n_sources, n_frames, n_bins)."""
        entered = torch.tanh(self.enter((self._log(magnitudes) - self.mean) / self.scale))
        logits = self.leave(torch.cat([entered, self.lstm(entered)[0]], dim=-1))
        return logits.unflatten(-1, (self.n_sources, -1)).transpose(1, 2).softmax(dim=1)

    def standardize(self, magnitudes: Tensor) -> None:
        """Set the mean and scale of every bin by some mixtures."""
        logs = self._log(magnitudes).flatten(0, 1)
        self.mean.copy_(logs.mean(dim=0))
        self.scale.copy_(logs.std(dim=0).clamp(min=0.1))

    @staticmethod
    def _log(magnitudes: Tensor) -> Tensor:
        """Free a segment of its level and take logarithms, down to 60 dB below its mean."""
        level = magnitudes.mean(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        return (magnitudes / level + 1e-3).log()


def _leveled_spectra(scene: Scene) -> list[Tensor]:
    """Complex frames (n_frames, n_bins) of each source's solos, at a mean energy of one."""
    joined = [torch.cat([stft(x.samples[0], scene.stft).T for x in several]) for several in scene.solos.values()]
    return [frames / frames.abs().square().mean().sqrt() for frames in joined]


def _draw(spectra: list[Tensor], n_frames: int) -> Tensor:
    """Draw segments of each source at random gains, (BATCH, n_sources, n_frames, n_bins)."""
    drawn = []
    for frames in spectra:
        starts = torch.randint(len(frames) - n_frames + 1, (BATCH, 1))
        gains_db = GAIN_RANGE_DB * (2 * torch.rand(BATCH, 1, 1) - 1)
        drawn.append(10 ** (gains_db / 20) * frames[starts + torch.arange(n_frames)])
    return torch.stack(drawn, dim=1)


def _error_db(network: nn.Module, sources: Tensor) -> Tensor:
    """Mean over segments and sources of the error in dB, relative to the mixture."""
    mixture = sources.sum(dim=1)  # (n_segments, n_frames, n_bins)
    error = sources - network(magnitude(mixture)) * mixture[:, None]
    energy = magnitude(mixture).square().sum(dim=(1, 2))[:, None].clamp(min=1e-12)
    share = error.abs().square().sum(dim=(2, 3)) / energy  # (n_segments, n_sources)
    return 10 * (share + BEST_SNR).log10().mean()
