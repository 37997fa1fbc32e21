"""Measures of what a dictionary has learned: the decoder's spectra, the encoder's units, the codes.

    code dimension, template  ->  the spectrum it decodes to                   atoms
    hidden unit               ->  the spectrum that excites it most            exciting_inputs
    exemplar frame            ->  its code, seen along two principal axes      manifold

:mod:`sepdict.reports.plots` makes pictures of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict._core.on_demand import load
from sepdict.dictionaries.card import Card
from sepdict.dictionaries.dictionary import Dictionary, refuse_without_exemplars
from sepdict.dictionaries.exemplars import decode_exemplars
from sepdict.dictionaries.synthesis import WALK_WIDTH
from sepdict.errors import ConfigError
from sepdict.models.layers import RecurrentStack, Stack
from sepdict.spectral.bands import band_edges, to_bins
from sepdict.spectral.stft import spectral_shape

N_REPEATS = 65  # of a frame, for a network that sees its neighbors: they are 63 at most
N_EXEMPLAR_STARTS = 1000  # frames of the exemplars that an ascent may start from
N_RANDOM_STARTS = 250  # frames of noise that it may start from, too
N_ASCENT_STEPS = 60  # as many again raise the demo dictionaries' activities by a ten-thousandth
SHORTER, LONGER = 0.5, 1.5  # what an ascent's step becomes after a failure and after a success
N_MANIFOLD_FRAMES = 3000  # as many dots as can still be told apart
FLAT = 10 ** (3 / 20)  # a template's upper quartile over its lower one; the bins of noise are farther apart
N_HARMONICS = 5
PITCH_RANGE_HZ = (60.0, 4000.0)
LEAST_SALIENCE = 3.5  # of a frame's mean; nine in ten frames of rain stay below, seven in ten of speech are above


@dataclass(frozen=True, eq=False)
class Atoms:
    """The spectra that a decoder combines, in frequency order.

    Attributes
    ----------
    dimensions : Tensor of int, shape (code_size,)
        Which dimension of the code each column of the next two belongs to.
    low, high : Tensor, shape (n_bins, code_size)
        Spectral shapes that it decodes at two standard deviations below the mean and above, the others at their means.
    templates : Tensor, shape (n_bins, n_templates)
        Spectral shapes that the decoder adds up; none where it computes every bin by itself.
    n_flat : int
        How many of the templates, the last ones here, are level: the middle half of their bins lies within 3 dB.
        The decoder hardly ever uses them, and weight decay has flattened them.
    """

    dimensions: Tensor
    low: Tensor
    high: Tensor
    templates: Tensor
    n_flat: int


@dataclass(frozen=True, eq=False)
class ExcitingInputs:
    """The spectra that excite the units of one hidden layer most, in frequency order.

    Attributes
    ----------
    units : Tensor of int, shape (n_units,)
        Which unit each column belongs to.
    shapes : Tensor, shape (n_bins, n_units)
        Spectral shapes, averaging one over the bins; all zero for a unit that no sound excites more than silence.
    activities : Tensor, shape (n_units,)
        The input of each unit's activation then.
    """

    units: Tensor
    shapes: Tensor
    activities: Tensor


@dataclass(frozen=True, eq=False)
class Manifold:
    """Codes of a dictionary's exemplars, along the two axes on which they vary most.

    Attributes
    ----------
    points : Tensor, shape (2, n_frames)
        In the code's own unit, the standard deviation of one of its dimensions over the training sound.
    shares : tuple of two floats
        Of all the codes' variance, how much lies along each axis.
    level_db : Tensor, shape (n_frames,)
        Relative to the loudest frame.
    pitch_hz : Tensor, shape (n_frames,)
        Of the most salient sum of harmonics; nan where none stands out.
    """

    points: Tensor
    shares: tuple[float, float]
    level_db: Tensor
    pitch_hz: Tensor


@torch.no_grad()
def atoms(dictionary: Dictionary) -> Atoms:
    """Decode every dimension of the code, far below its mean and far above, and collect the templates.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> noise = Audio(torch.randn(1, 8000), 8000)
    >>> dictionary = train_dictionary(noise, TrainingConfig(n_steps=1), source="noise")
    >>> atoms(dictionary).high.shape
    torch.Size([257, 16])
    """
    network, code_size = dictionary.network, dictionary.card.network.code_size
    decode = _frame_by_frame(network.decode, code_size)
    low, high = (decode(side * torch.eye(code_size)) for side in (-WALK_WIDTH, WALK_WIDTH))
    order = frequency_order(high)
    templates = network.template_shapes()
    ranked = templates.sort(dim=0).values
    flat = ranked[3 * len(ranked) // 4] < FLAT * ranked[len(ranked) // 4]
    sorts = [templates[:, flat == wanted] for wanted in (False, True)]
    templates = torch.cat([each[:, frequency_order(each)] for each in sorts], dim=1)
    return Atoms(order, low[:, order], high[:, order], templates, int(flat.sum()))


def exciting_inputs(
    dictionary: Dictionary, *, n_steps: int = N_ASCENT_STEPS, seed: int = 0
) -> tuple[ExcitingInputs, ...]:
    """Find for every hidden unit of the encoder the spectrum that excites it most: activation maximization [1]_.

        max over x   a(x)   where   x >= 0  and  |x|^2 = n_bins

    ``a`` is the input of the unit's activation and ``x`` the encoder's input, the root of a spectral shape. Where the
    unit is affine, as all of a first layer are, ``x = relu(w) / |relu(w)| sqrt(n_bins)``, with ``w`` the gradient,
    is the answer. Deeper units start at the best of many frames (exemplars, noise, and the answers for the
    units before) and go up their gradient, back on the sphere after each step; no step lowers an activity.

    Parameters
    ----------
    dictionary : Dictionary
        An encoder that sees neighboring frames is given one and the same frame for as long as it looks.
    n_steps : int
        Of the ascent, at least 0.
    seed : int
        Of the noise.

    Returns
    -------
    tuple of ExcitingInputs
        One per hidden layer, from the spectrum inwards.

    References
    ----------
    .. [1] Erhan et al., "Visualizing higher-layer features of a deep network", University of Montreal, 2009.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> noise = Audio(torch.randn(1, 8000), 8000)
    >>> dictionary = train_dictionary(noise, TrainingConfig(n_steps=1), source="noise")
    >>> [layer.shapes.shape for layer in exciting_inputs(dictionary, n_steps=2)]
    [torch.Size([257, 256]), torch.Size([257, 256])]
    """
    if n_steps < 0:
        raise ConfigError(f"n_steps is {n_steps}; expected 0 or more")
    encoder, n_bins = dictionary.network.encoder, dictionary.card.stft.n_bins
    silence, starts = torch.zeros(n_bins, 1), _starts(dictionary, seed)
    layers = list[ExcitingInputs]()
    for index in range(len(encoder.activities(silence))):
        layer_sums = _frame_by_frame(_sums_of_layer(encoder, index), n_bins)
        best, activities = _most_exciting(layer_sums, starts, n_steps)
        excited = activities > layer_sums(silence)[:, 0]  # (n_units,)
        starts = torch.cat([starts, best[:, excited]], dim=1)
        shapes = torch.where(excited, best.square(), 0)
        order = frequency_order(shapes)
        layers.append(ExcitingInputs(order, shapes[:, order], activities[order]))
    return tuple(layers)


@torch.no_grad()
def manifold(dictionary: Dictionary) -> Manifold:
    """Encode a dictionary's exemplars, and project the codes on their two principal components.

    Raises
    ------
    ConfigError
        If it has no exemplars.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> noise = Audio(torch.randn(1, 8000), 8000)
    >>> dictionary = train_dictionary(noise, TrainingConfig(n_steps=1), source="noise")
    >>> manifold(dictionary).points.shape
    torch.Size([2, 64])
    """
    refuse_without_exemplars([dictionary])
    bands = decode_exemplars(dictionary.exemplars)  # (n_bands, n_exemplar_frames)
    spectra = to_bins(bands, dictionary.card.stft.n_bins)
    codes = dictionary.encode(spectra)  # all of them: an encoder may look at neighbors
    points, shares = principal_axes(codes)
    shown = _spread(bands.shape[1], N_MANIFOLD_FRAMES)
    level = spectra.mean(dim=0)
    level_db = 20 * torch.log10(level / level.max())
    return Manifold(points[:, shown], shares, level_db[shown], pitches(bands[:, shown], dictionary.card))


def frequency_order(shapes: Tensor) -> Tensor:
    """Return the indices of spectral shapes (n_bins, n_shapes) from the lowest peak to the highest, silent ones last.

    Examples
    --------
    >>> frequency_order(torch.tensor([[0.0, 0.0, 2.0], [0.0, 1.0, 1.0]]))
    tensor([2, 1, 0])
    """
    silent = shapes.amax(dim=0) == 0
    return torch.where(silent, len(shapes), shapes.argmax(dim=0)).argsort(stable=True)


def principal_axes(codes: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """Project codes (code_size, n_frames) to (2, n_frames), and return the share of the variance along each axis.

    An axis points to where its largest loading is positive; of codes of one number the second axis is zero.
    """
    centered = codes - codes.mean(dim=1, keepdim=True)
    variances, axes = torch.linalg.eigh(
        centered @ centered.T / centered.shape[1]
    )  # from the least variance to the most
    axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    axes = torch.nn.functional.pad(axes.flip(1)[:, :2], (0, max(0, 2 - len(codes))))  # (code_size, 2)
    first, second = (axes.T @ centered).var(dim=1, correction=0) / variances.sum().clamp(min=1e-12)
    return axes.T @ centered, (float(first), float(second))


def pitches(bands: Tensor, card: Card) -> Tensor:
    """Find the pitch of every frame from the magnitudes of its bands: the peak whose harmonics are loudest on average.

    Parameters
    ----------
    bands : Tensor, shape (n_bands, n_frames), >= 0
    card : Card

    Returns
    -------
    Tensor, shape (n_frames,)
        In Hz, as exactly as the bands allow; nan where no peak's harmonics stand out from the rest.
    """
    edges = torch.tensor(band_edges(card.stft.n_bins), dtype=torch.float64)
    centers_hz = (edges[:-1] + edges[1:] - 1) / 2 * (card.sample_rate / card.stft.n_fft)
    candidate = (centers_hz >= PITCH_RANGE_HZ[0]) & (centers_hz <= PITCH_RANGE_HZ[1])
    if not candidate.any():
        return torch.full((bands.shape[1],), torch.nan)
    harmonics = list(range(1, N_HARMONICS + 1))
    salience = load("librosa", "salience")
    found = salience(bands.double().numpy(), freqs=centers_hz.numpy(), harmonics=harmonics, fill_value=0)
    strength, peak = torch.from_numpy(found)[candidate].max(dim=0)
    stands_out = strength > LEAST_SALIENCE * bands.double().mean(dim=0)
    return torch.where(stands_out, centers_hz[candidate][peak], torch.nan).float()


def _frame_by_frame(function: Callable[[Tensor], Tensor], n_features: int) -> Callable[[Tensor], Tensor]:
    """Make a function of (..., n_features, n_frames) treat each frame by itself, repeated where it sees neighbors."""

    def held(frames: Tensor) -> Tensor:
        long = frames.T[..., None].expand(-1, -1, N_REPEATS)  # (n_frames, n_features, N_REPEATS)
        return function(long)[..., N_REPEATS // 2].T

    frames = torch.rand(n_features, N_REPEATS, generator=seeded_generator(0))
    alone = torch.zeros_like(frames)
    alone[:, N_REPEATS // 2] = frames[:, N_REPEATS // 2]
    with torch.no_grad():
        in_company, by_itself = (function(each)[:, N_REPEATS // 2] for each in (frames, alone))
    return function if torch.allclose(in_company, by_itself, rtol=1e-4, atol=1e-5) else held


def _starts(dictionary: Dictionary, seed: int) -> Tensor:
    """Collect frames that an ascent may start from, (n_bins, n_starts): exemplars, noise, and a flat spectrum."""
    n_bins = dictionary.card.stft.n_bins
    frames = [torch.ones(n_bins, 1), torch.rand(n_bins, N_RANDOM_STARTS, generator=seeded_generator(seed))]
    if dictionary.has_exemplars:
        chosen = _spread(dictionary.exemplars.shape[1], N_EXEMPLAR_STARTS)
        frames.append(spectral_shape(to_bins(decode_exemplars(dictionary.exemplars[:, chosen]), n_bins)).sqrt())
    return _on_sphere(torch.cat(frames, dim=1))


def _sums_of_layer(encoder: Stack | RecurrentStack, index: int) -> Callable[[Tensor], Tensor]:
    """Make the function from an encoder's features to the activation inputs of one hidden layer."""
    return lambda features: encoder.activities(features)[index]


def _most_exciting(layer_sums: Callable[[Tensor], Tensor], starts: Tensor, n_steps: int) -> tuple[Tensor, Tensor]:
    """Find each unit's best input (n_bins, n_units), and its activity (n_units,) there."""
    with torch.no_grad():
        activities = layer_sums(starts)

    def rise(features: Tensor) -> tuple[Tensor, Tensor]:
        """Each unit's activity at its own frame (n_units,), and the gradient (n_bins, n_units)."""
        with torch.enable_grad():
            features = features.detach().requires_grad_()
            activities = layer_sums(features).diagonal()
            (slopes,) = torch.autograd.grad(activities.sum(), features)
        return activities.detach(), slopes

    best_start = starts[:, activities.argmax(dim=1)]
    answer = _on_sphere(rise(best_start)[1])  # where units are affine, in closed form
    features = torch.where(rise(answer)[0] > activities.amax(dim=1), answer, best_start)
    activities, slopes = rise(features)
    step = torch.full_like(activities, 0.5)  # of the input's own norm
    for _ in range(n_steps):
        length = features.norm(dim=0) / slopes.norm(dim=0).clamp(min=1e-12)
        tried = _on_sphere(features + step * length * slopes)
        tried_activities, tried_slopes = rise(tried)
        better = tried_activities > activities
        features, slopes = torch.where(better, tried, features), torch.where(better, tried_slopes, slopes)
        activities = torch.where(better, tried_activities, activities)
        step = torch.where(better, LONGER * step, SHORTER * step)
    return features, activities


def _on_sphere(features: Tensor) -> Tensor:
    """Bring frames to the nearest roots of spectral shapes: no negative ones, a mean square of one; or zero."""
    positive = features.clamp(min=0)
    return positive * (positive.square().mean(dim=0, keepdim=True).clamp(min=1e-20).rsqrt())


def _spread(n_frames: int, n_most: int) -> Tensor:
    """Return the indices of at most ``n_most`` frames, evenly spread."""
    return torch.linspace(0, n_frames - 1, min(n_frames, n_most)).round().long()
