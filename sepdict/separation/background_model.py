"""What no dictionary knows gets one of its own, made on the spot from the mixture itself.

    min over W, H, z, a   sum_t  d( M_t | sum_s V_st + (W H)_t )        V_st = exp(a_st) D_s(z_s)_t

``W`` are some templates and ``H`` how much of each there is, as in semi-supervised NMF [1]_, beside the frozen decoders
``D_s``. In turn, the templates learn what the decoders leave (multiplicative updates), and the excitations of both are
fitted anew, for which the templates are a dictionary like any other.

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
from sepdict.dictionaries.dictionary import RESIDUAL, Dictionary
from sepdict.models.autoencoder import DenseAutoencoder
from sepdict.models.layers import Layer, Stack
from sepdict.models.network_config import NetworkConfig
from sepdict.progress import OnProgress, ignore_progress, progress_of_part
from sepdict.separation.excitations import ExcitationFit, FitConfig, fit_excitations

N_TEMPLATES = 20  # 50 and none of the dictionaries at first were worse, mean of 12 cases
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
    """Do what `fit_excitations` does, with one more source at the end: all that the dictionaries do not know.

    Parameters, exceptions and results are those of `fit_excitations`; there is no guide on who owns what.

    Examples
    --------
    >>> from sepdict import Audio, TrainingConfig, train_dictionary
    >>> noise = Audio(torch.randn(1, 8000), 8000)
    >>> dictionary = train_dictionary(noise, TrainingConfig(n_steps=1), source="noise")
    >>> fit_with_background_model(torch.rand(1, 257, 30), [dictionary], FitConfig(n_iterations=3)).magnitudes.shape
    torch.Size([2, 1, 257, 30])
    """
    config = replace(config, prior_weight=0.0)  # amounts of templates are nothing like normal
    scale = magnitude.mean().clamp(min=1e-30)  # silence stays silent
    heard = magnitude.mean(dim=0) / scale  # (n_bins, n_frames)

    def fitted(sources: Sequence[Dictionary], n_before: int) -> tuple[ExcitationFit, Tensor]:
        report = progress_of_part(on_progress, n_before, 1 + N_ROUNDS)
        fit = fit_excitations(magnitude, sources, config, n_fitted_bins=n_fitted_bins, on_progress=report)
        return fit, fit.magnitudes.mean(dim=1) / scale  # (n_sources, n_bins, n_frames)

    fit, drawn = fitted(dictionaries, 0)
    known = drawn.sum(dim=0)
    templates, amounts = _start(heard, known)
    for n_before in range(1, N_ROUNDS + 1):
        templates, amounts = _learned(heard, known, templates, amounts)
        fit, drawn = fitted([*dictionaries, _dictionary_of(templates, like=dictionaries[0])], n_before)
        known, amounts = drawn[:-1].sum(dim=0), templates.T @ drawn[-1]
    return fit


def _start(heard: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Begin with frames of what the dictionaries leave, drawn by loudness, in random amounts."""
    generator = seeded_generator(0)
    rest = (heard - known).clamp(min=1e-6)
    frames = torch.multinomial(rest.sum(dim=0).cpu(), N_TEMPLATES, replacement=True, generator=generator)
    templates = rest[:, frames.to(rest.device)]
    amounts = torch.rand(N_TEMPLATES, heard.shape[1], generator=generator).to(rest.device) * rest.mean()
    return templates / templates.sum(dim=0), amounts


def _learned(heard: Tensor, known: Tensor, templates: Tensor, amounts: Tensor) -> tuple[Tensor, Tensor]:
    """Update templates (n_bins, n_templates) and amounts (n_templates, n_frames) in turn, what is known staying so.

    Multiplicative updates for Kullback-Leibler, as Lee and Seung have them; every template keeps the sum one.
    """
    for _ in range(N_UPDATES):
        ratio = heard / (known + templates @ amounts + FAINTEST)
        amounts = amounts * (templates.T @ ratio)
        ratio = heard / (known + templates @ amounts + FAINTEST)
        templates = templates * (ratio @ amounts.T) + FAINTEST
        templates = templates / templates.sum(dim=0)
    return templates, amounts


def _dictionary_of(templates: Tensor, *, like: Dictionary) -> Dictionary:
    """Make templates a dictionary: its code says how much of each there is, and its encoder hears nothing."""
    n_bins, n_templates = templates.shape
    config = NetworkConfig(code_size=n_templates, hidden=(), n_templates=n_templates)
    network = DenseAutoencoder(config, n_bins).to(templates.device).requires_grad_(False)
    for parameter in network.parameters():
        parameter.zero_()
    cast(Layer, cast(Stack, network.decoder).layers[0]).weight.copy_(torch.eye(n_templates)[..., None])
    network.set_templates(templates / templates.mean(dim=0), faintest=1e-4)
    return Dictionary(replace(like.card, source=RESIDUAL, network=config), network)
