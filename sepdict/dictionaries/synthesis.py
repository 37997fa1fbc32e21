"""Sound from a dictionary alone, to listen to what it has learned.

    excitations z -> magnitudes g D(z) -> samples, phases by Griffin and Lim

Only the decoder makes the sound: no recording is played back.
"""

import torch
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict._core.on_demand import load
from sepdict._core.settings import checks_types
from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.dictionaries.exemplars import PASSAGE_FRAMES, decode_exemplars
from sepdict.dictionaries.loading import DictionaryLike, as_dictionary
from sepdict.errors import ConfigError
from sepdict.spectral.bands import to_bins
from sepdict.spectral.stft import WINDOWS

LONGEST_S = 600.0
FADE_FRAMES = 8  # over which one passage's excitations fade into the next one's
WANDERING_FRAMES = 16  # from one random code to the next, in a dictionary without exemplars
WALK_WIDTH = 2.0  # standard deviations of the code over the training sound, to either side
PEAK = 0.5
N_PHASE_STEPS = 60


@checks_types
def synthesize(dictionary: DictionaryLike, duration_s: float = 5.0, *, walk: bool = False, seed: int = 0) -> Audio:
    """Synthesize sound from a dictionary alone.

    Parameters
    ----------
    dictionary : Dictionary, path or installed name
    duration_s : float
        At most ten minutes.
    walk : bool
        Whether to walk along each dimension of the code in turn, from two standard deviations below its mean to two
        above, the others at their means. Otherwise random passages of the exemplars are encoded and decoded, each
        fading into the next; without exemplars the codes are random and change slowly.
    seed : int
        Same seed, same machine, same sound.

    Returns
    -------
    Audio
        One channel at the dictionary's rate, with a peak of 0.5.

    Raises
    ------
    ConfigError
        If the duration is not above 0 or above ten minutes.
    LibraryError
        If torchaudio does not load.

    References
    ----------
    .. [1] Perraudin, Balazs and Søndergaard, "A fast Griffin-Lim algorithm", WASPAA 2013.

    Examples
    --------
    >>> from sepdict import TrainingConfig, train_dictionary
    >>> noise = Audio(torch.randn(1, 8000), 8000)
    >>> dictionary = train_dictionary(noise, TrainingConfig(n_steps=1), source="noise")
    >>> synthesize(dictionary, 1.5).duration_s
    1.5
    """
    dictionary = as_dictionary(dictionary)
    if not 0 < duration_s <= LONGEST_S:
        raise ConfigError(f"duration is {duration_s} s; expected more than 0 and at most {LONGEST_S:g}")
    card, generator = dictionary.card, seeded_generator(seed)
    n_samples = max(1, round(duration_s * card.sample_rate))
    n_made = max(n_samples, 2 * card.stft.n_fft)  # phases need a few windows to go by
    n_frames = n_made // card.stft.hop_length + 1
    if walk:
        code, level = _walk(card.network.code_size, n_frames), torch.ones(n_frames)
    elif dictionary.has_exemplars:
        code, level = _passages(dictionary, n_frames, generator)
    else:
        code, level = _wander(card.network.code_size, n_frames, generator), torch.ones(n_frames)
    samples = _sounding(level * dictionary.decode(code), dictionary, n_made, generator)[:n_samples]
    return Audio(PEAK * samples / samples.abs().max().clamp(min=1e-9), card.sample_rate, card.source)


def _walk(code_size: int, n_frames: int) -> Tensor:
    """Move one dimension after the other, each through zero, (code_size, n_frames)."""
    code = torch.zeros(code_size, n_frames)
    for dimension, frames in enumerate(torch.arange(n_frames).tensor_split(code_size)):
        code[dimension, frames] = torch.linspace(-WALK_WIDTH, WALK_WIDTH, len(frames))
    return code


def _wander(code_size: int, n_frames: int, generator: torch.Generator) -> Tensor:
    """Interpolate between random codes of mean zero and variance one, (code_size, n_frames)."""
    n_stations = n_frames // WANDERING_FRAMES + 2
    stations = torch.randn(1, code_size, n_stations, generator=generator)
    return torch.nn.functional.interpolate(stations, size=n_frames, mode="linear", align_corners=True)[0]


def _passages(dictionary: Dictionary, n_frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Join random passages of the exemplars: codes (code_size, n_frames), and levels (n_frames,)."""
    exemplars = to_bins(
        decode_exemplars(dictionary.exemplars), dictionary.card.stft.n_bins
    )  # (n_bins, n_exemplar_frames)
    n_passage = min(PASSAGE_FRAMES, exemplars.shape[1])
    n_fade = min(FADE_FRAMES, n_passage // 2)
    unknowns, n_joined = torch.zeros(0), 0
    while n_joined < n_frames:
        start = int(torch.randint(exemplars.shape[1] - n_passage + 1, (), generator=generator))
        passage = exemplars[:, start : start + n_passage]
        new = torch.cat([dictionary.encode(passage), passage.mean(dim=0, keepdim=True)])
        if n_joined and n_fade:
            share = torch.linspace(0, 1, n_fade + 2)[1:-1]
            new[:, :n_fade] = (1 - share) * unknowns[:, -n_fade:] + share * new[:, :n_fade]
            unknowns = unknowns[:, :-n_fade]
        unknowns = torch.cat([unknowns, new], dim=1) if n_joined else new
        n_joined = unknowns.shape[1]
    return unknowns[:-1, :n_frames], unknowns[-1, :n_frames]


def _sounding(magnitude: Tensor, dictionary: Dictionary, n_samples: int, generator: torch.Generator) -> Tensor:
    """Find phases that go with magnitudes (n_bins, n_frames), and transform back to (n_samples,)."""
    griffinlim = load("torchaudio.functional", "griffinlim")
    config = dictionary.card.stft
    with torch.random.fork_rng(devices=[]):  # the library draws its first phases from the global generator
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        samples: Tensor = griffinlim(
            magnitude,
            WINDOWS[config.window](config.n_fft),
            config.n_fft,
            config.hop_length,
            config.n_fft,
            power=1.0,
            n_iter=N_PHASE_STEPS,
            momentum=0.99,
            length=n_samples,
            rand_init=True,
        )
    return samples
