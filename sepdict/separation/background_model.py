"""The background model: a dictionary of everything that no other dictionary knows, made from the mixture itself.

    min over W, H, z, a   sum_t  d( M_t | sum_s V_st + (W H)_t )        V_st = exp(a_st) D_s(z_s)_t

``W`` are templates and ``H`` their amounts, as in semi-supervised NMF [1]_, beside the frozen decoders ``D_s``. Two
steps alternate: the templates are updated to the part of the mixture that the decoders do not explain (multiplicative
updates), and all excitations are fitted anew, in which the templates act as one more dictionary.

References
----------
.. [1] Smaragdis, Raj and Shashanka, "Supervised and semi-supervised separation of sounds from single-channel
   mixtures", ICA 2007.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict._core.names import RESIDUAL
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.models.autoencoder import DenseAutoencoder
from sepdict.models.layers import Layer, Stack
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import OnProgress, ignore_progress, progress_of_part
from sepdict.separation.config import FitConfig
from sepdict.separation.excitations import ExcitationFit, fit_excitations

N_TEMPLATES = 20  # 50 were worse, and so was a start without the dictionaries, in the mean of 12 cases
N_ROUNDS = 4
N_UPDATES = 20  # of the templates in each round
FAINTEST = 1e-9  # relative to the mixture's mean: keeps ratios finite


def fit_with_background_model(
    magnitude: Tensor,
    dictionaries: Sequence[Dictionary],
    config: FitConfig,
    *,
    n_fitted_bins: int | None = None,
    on_progress: OnProgress = ignore_progress,
) -> ExcitationFit:
    """Fit excitations as `fit_excitations` does, with one more source at the end: the background.

    Parameters, exceptions and results are those of `fit_excitations`; there are no guide masks.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> noise = Audio(torch.randn(1, 8000), 8000)
    >>> dictionary = train_dictionary(noise, TrainingConfig(n_steps=1), source="noise")
    >>> fit_with_background_model(torch.rand(1, 257, 30), [dictionary], FitConfig(n_iterations=3)).magnitudes.shape
    torch.Size([2, 1, 257, 30])
    """
    config = replace(config, prior_weight=0.0)  # amounts of templates are not normally distributed
    scale = magnitude.mean().clamp(min=1e-30)  # silence stays silent
    observed = magnitude.mean(dim=0) / scale  # (n_bins, n_frames)

    def fitted(sources: Sequence[Dictionary], n_before: int) -> tuple[ExcitationFit, Tensor]:
        report = progress_of_part(on_progress, n_before, 1 + N_ROUNDS)
        fit = fit_excitations(magnitude, sources, config, n_fitted_bins=n_fitted_bins, on_progress=report)
        return fit, fit.magnitudes.mean(dim=1) / scale  # (n_sources, n_bins, n_frames)

    fit, decoded = fitted(dictionaries, 0)
    known = decoded.sum(dim=0)
    templates, amounts = _start(observed, known)
    for n_before in range(1, N_ROUNDS + 1):
        templates, amounts = _update(observed, known, templates, amounts)
        fit, decoded = fitted([*dictionaries, _dictionary_of(templates, like=dictionaries[0])], n_before)
        known, amounts = decoded[:-1].sum(dim=0), templates.T @ decoded[-1]
    return fit


def _start(observed: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Start from frames of what the dictionaries leave, sampled by loudness, in random amounts."""
    generator = seeded_generator(0)
    rest = (observed - known).clamp(min=1e-6)
    frames = torch.multinomial(rest.sum(dim=0).cpu(), N_TEMPLATES, replacement=True, generator=generator)
    templates = rest[:, frames.to(rest.device)]
    amounts = torch.rand(N_TEMPLATES, observed.shape[1], generator=generator).to(rest.device) * rest.mean()
    return templates / templates.sum(dim=0), amounts


def _update(observed: Tensor, known: Tensor, templates: Tensor, amounts: Tensor) -> tuple[Tensor, Tensor]:
    """Update templates (n_bins, n_templates) and amounts (n_templates, n_frames) in turn, the known part fixed.

    These are Lee and Seung's multiplicative updates for the Kullback-Leibler divergence; each template sums to one.
    """
    for _ in range(N_UPDATES):
        ratio = observed / (known + templates @ amounts + FAINTEST)
        amounts = amounts * (templates.T @ ratio)
        ratio = observed / (known + templates @ amounts + FAINTEST)
        templates = templates * (ratio @ amounts.T) + FAINTEST
        templates = templates / templates.sum(dim=0)
    return templates, amounts


def _dictionary_of(templates: Tensor, *, like: Dictionary) -> Dictionary:
    """Make a dictionary of templates: its code holds their amounts, and its encoder gives zeros."""
    n_bins, n_templates = templates.shape
    config = NetworkConfig(code_size=n_templates, hidden=(), n_templates=n_templates)
    network = DenseAutoencoder(config, n_bins).to(templates.device).requires_grad_(False)
    for parameter in network.parameters():
        parameter.zero_()
    cast(Layer, cast(Stack, network.decoder).layers[0]).weight.copy_(torch.eye(n_templates)[..., None])
    network.set_templates(templates / templates.mean(dim=0), faintest=1e-4)
    return Dictionary(replace(like.card, source=RESIDUAL, network=config), network)
