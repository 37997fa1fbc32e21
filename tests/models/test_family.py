"""The family of dictionaries: each member trains, saves, loads and separates, and obeys the law that defines it."""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from real_audio import RATE, SMALL, SOUNDS, shapes, solo, training_set_of
from sklearn.decomposition import PCA, non_negative_factorization
from torch import Tensor

from sepdict._core.devices import seeded_generator
from sepdict.audio.augmentation import AugmentationConfig
from sepdict.audio.signal import Audio
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError
from sepdict.models.autoencoder import build_autoencoder
from sepdict.models.network_config import NetworkConfig
from sepdict.separation.config import FitConfig, SeparationConfig
from sepdict.separation.engine import separate
from sepdict.separation.excitations import ExcitationFit, fit_excitations
from sepdict.spectral.divergences import beta_divergence
from sepdict.spectral.stft import magnitude, stft
from sepdict.training.config import PRESETS, REGULARIZERS, TrainingConfig, regularized
from sepdict.training.regularization import prior_divergence
from sepdict.training.train import train_dictionary
from sepdict.training.trainer import Trainer

DENSE = NetworkConfig(code_size=3, hidden=(12,), n_templates=8)
RECURRENT = replace(DENSE, kind="recurrent")
LINEAR = NetworkConfig("linear", 3, (), n_templates=0)
QUICK = TrainingConfig(DENSE, SMALL, RATE, n_steps=60, n_checks=3, batch_frames=64, learning_rate=5e-3, exemplars_s=0)
BRIEF = FitConfig(n_iterations=5)
TINY = {  # what is tiny of every preset
    "convolutional": {"code_size": 3, "hidden": (12,)},
    "recurrent": {"code_size": 3, "hidden": (12,), "n_templates": 8},
    "nonnegative": {"code_size": 8, "n_templates": 8},
    "linear": {"code_size": 3},
    "lecture": {"code_size": 3, "hidden": (12, 12, 12, 12)},
}
MEMBERS: dict[str, TrainingConfig] = {
    **{
        name: replace(QUICK, network=replace(config.network, **TINY[name])) if name in TINY else QUICK
        for name, config in PRESETS.items()
    },
    "lstm": replace(QUICK, network=replace(RECURRENT, cell="lstm")),
    **{name: regularized(QUICK, {name: amount}) for name, amount in REGULARIZERS.items()},
    "all regularizers": regularized(replace(QUICK, n_steps=120), REGULARIZERS),
    "linear, variational": regularized(replace(QUICK, network=LINEAR), {"variational": 1}),
    "recurrent, all regularizers": regularized(replace(QUICK, network=RECURRENT), REGULARIZERS),
    "autoencoders": replace(QUICK, pretraining="autoencoders"),
    "boltzmann": replace(
        QUICK, network=replace(DENSE, activation="sigmoid", n_templates=0), pretraining="boltzmann"
    ),
    "augmented": replace(QUICK, augmentation=AugmentationConfig()),
    "stochastic": replace(QUICK, batch_frames=1),
    "full batch": replace(QUICK, batch_frames=0),
}  # fmt: skip


def train(config: TrainingConfig = QUICK, source: str = "speech") -> Dictionary:
    return train_dictionary(solo(source), config, source=source, device="cpu", backgrounds=[solo("violin")])


@functools.cache
def piano() -> Dictionary:
    """The other source of every mixture here."""
    return train(source="piano")


def drawn(dictionary: Dictionary, name: str = "speech") -> Tensor:
    """What a dictionary makes of sound that it was not taught."""
    return dictionary.decode(dictionary.encode(shapes(name, start_s=6.0)))


def magnitudes(name: str) -> Tensor:
    """A solo's magnitudes (1, n_bins, n_frames)."""
    return magnitude(stft(solo(name, 6.0, 2.0).samples, SMALL))


# Each member, end to end


@pytest.mark.slow
@pytest.mark.parametrize("member", MEMBERS)
def test_each_member_trains_saves_loads_and_separates(member: str, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    dictionary = train(MEMBERS[member])
    assert torch.equal(torch.get_rng_state(), before)
    curve = dictionary.card.curves["validation"]
    assert min(curve) < untaught(MEMBERS[member])
    loaded = Dictionary.load(dictionary.save(tmp_path / "speech.safetensors"))
    assert loaded.card == dictionary.card
    assert loaded.sha256 == dictionary.sha256
    assert all(
        torch.equal(one, loaded.network.state_dict()[name]) for name, one in dictionary.network.state_dict().items()
    )
    assert torch.equal(drawn(loaded), drawn(dictionary))
    assert torch.equal(drawn(loaded), drawn(loaded))  # whatever is dropped out or drawn in training
    mixture = mixed(0.5)
    separation = separate(mixture, [loaded, piano()], SeparationConfig(BRIEF, device="cpu"))
    assert set(separation.stems) >= {"speech", "piano"}
    missed = sum(stem.samples for stem in separation.stems.values()) - mixture.samples
    assert float(missed.abs().max()) < 10 ** (-110 / 20) * float(mixture.samples.abs().max())


def untaught(config: TrainingConfig) -> float:
    """The validation divergence of the network that training begins with."""
    plain = replace(config, learning_rate=0, n_steps=1, n_checks=1, pretraining="none", augmentation=None)
    return train(plain).card.curves["validation"][0]


def mixed(share: float) -> Audio:
    speech, other = solo("speech", 6.0, 2.0), solo("piano", 6.0, 2.0)
    return replace(speech, samples=share * speech.samples + (1 - share) * other.samples)


@pytest.mark.slow
@pytest.mark.parametrize("member", ["all regularizers", "recurrent, all regularizers", "augmented", "stochastic"])
def test_each_member_is_the_same_for_the_same_seed(member: str) -> None:
    trained = []
    with torch.random.fork_rng():
        for n_before, seed in enumerate((3, 3, 4)):
            torch.manual_seed(n_before)  # the caller's random numbers do not matter
            trained.append(train(replace(MEMBERS[member], n_steps=9, seed=seed)))
    one, same, other = trained
    assert one.sha256 == same.sha256 != other.sha256


# dropout: in training only


def test_dropout_is_heard_in_training_and_nowhere_else() -> None:
    """What learns nothing draws the same, but on the way half of it was silenced."""
    idle = replace(QUICK, learning_rate=0)
    plain, dropped = train(idle), train(regularized(idle, {"dropout": 0.5}))
    assert torch.equal(drawn(plain), drawn(dropped))
    assert plain.card.curves["validation"] == dropped.card.curves["validation"]
    assert min(dropped.card.curves["training"]) > 1.01 * max(plain.card.curves["training"])


# linear: principal components


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUNDS)
def test_a_linear_dictionary_is_the_principal_components_of_its_frames(name: str) -> None:
    """In as many dimensions as end before the widest gap between variances."""
    heard = shapes(name).T.double().numpy()
    variances = PCA(7).fit(heard).explained_variance_
    code_size = 2 + int(np.argmax(variances[1:6] / variances[2:7]))
    network = replace(LINEAR, code_size=code_size)
    config = replace(
        QUICK, network=network, divergence="l2", level_exponent=0, weight_decay=0, validation_share=0, batch_frames=0
    )
    dictionary = train(replace(config, n_steps=1500, n_checks=1, learning_rate=5e-3), name)
    expected = PCA(code_size).fit(heard)
    components = torch.from_numpy(expected.components_).T  # (n_bins, code_size)
    learned, _ = torch.linalg.qr(dictionary.network.encoder.layers[0].weight.squeeze(2).double().T)
    sine = torch.linalg.matrix_norm(components - learned @ (learned.T @ components), 2)
    assert float(sine) < 1e-3
    shape = torch.from_numpy(heard).T.float()
    error = (dictionary.network.reconstruct(dictionary.encode(shape)) - shape).double().square().sum()
    least = np.square(expected.inverse_transform(expected.transform(heard)) - heard).sum()
    assert float(error) == pytest.approx(least, rel=1e-3)


# nonnegative: templates, added up


@functools.cache
def additive() -> Dictionary:
    """Ten templates of speech."""
    network = NetworkConfig("nonnegative", 10, (), "softplus", n_templates=10)
    return train(replace(QUICK, network=network, n_steps=300))


def test_a_nonnegative_dictionary_draws_convex_combinations_of_its_templates(generator: torch.Generator) -> None:
    network = additive().network
    templates, code = network.template_shapes(), 3 * torch.randn(10, 50, generator=generator)
    assert (templates >= 0).all()
    torch.testing.assert_close(templates.mean(dim=0), torch.ones(10))
    amounts = torch.nn.functional.softplus(code * network.code_deviation + network.code_mean) + 1e-6
    torch.testing.assert_close(network.decode(code), templates @ (amounts / amounts.sum(dim=0)))
    for template in range(10):  # one amount alone draws its template
        alone = torch.full((10, 1), -30.0)
        alone[template] = 5.0
        unscaled = (alone - network.code_mean) / network.code_deviation
        torch.testing.assert_close(network.decode(unscaled), templates[:, [template]], atol=1e-4, rtol=1e-4)


def test_more_of_all_templates_draws_the_same_shape(generator: torch.Generator) -> None:
    network = additive().network
    amounts = torch.rand(10, 50, generator=generator) + 0.1
    codes = [(torch.expm1(louder * amounts).log() - network.code_mean) / network.code_deviation for louder in (1, 7)]
    torch.testing.assert_close(network.decode(codes[1]), network.decode(codes[0]), atol=1e-4, rtol=1e-4)


def test_the_fit_of_a_nonnegative_dictionary_costs_what_nmf_with_its_templates_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """KL-NMF is convex in the amounts: scikit-learn's transform reaches the least cost there is."""
    monkeypatch.setattr("sepdict.separation.excitations.band_sums", lambda values, _: values)  # every bin by itself
    monkeypatch.setattr("sepdict.models.autoencoder.band_sums", lambda values, _: values)
    dictionary, mixture = additive(), magnitudes("speech")
    fit = fit_excitations(mixture, [dictionary], FitConfig(n_iterations=400, tolerance=0, prior_weight=0))
    frames = mixture[0].T.double().numpy()
    templates = np.ascontiguousarray(dictionary.network.template_shapes().T.double().numpy())
    nmf = {"solver": "mu", "beta_loss": "kullback-leibler", "max_iter": 3000, "tol": 1e-7}
    amounts, _, _ = non_negative_factorization(frames, H=templates, n_components=10, update_H=False, **nmf)
    least = torch.from_numpy(amounts @ templates).T
    observed, found = torch.from_numpy(frames).T, fit.magnitudes[0, 0].double()
    costs = [float(beta_divergence(observed, model, beta=1).sum()) for model in (found, least)]
    assert costs[0] < 1.01 * costs[1]
    assert costs[0] > 0.999 * costs[1]


# recurrent: frames that depend on those before


@pytest.mark.slow
@pytest.mark.parametrize(("member", "coupled"), [("recurrent", True), ("lstm", True), ("dense", False)])
def test_the_fit_of_a_recurrent_dictionary_makes_frames_depend_on_those_before(member: str, coupled: bool) -> None:
    """Two pairs of frames change places; the mean level, which all frames know of, stays."""
    dictionary, mixture = train(MEMBERS[member]), magnitudes("speech")
    order = torch.arange(mixture.shape[-1])
    order[10:12], order[60:62] = order[60:62].clone(), order[10:12].clone()
    fits = [fit_excitations(each, [dictionary], BRIEF) for each in (mixture, mixture[..., order])]
    moved = (fits[0].excitations[0] - fits[1].excitations[0]).abs().amax(dim=0)
    assert float(moved[10:12].min()) > 1e-2
    assert (float(moved[12:15].min()) > 1e-2) is coupled


# variational: a prior, in training and in the fit


@functools.cache
def variational(prior_weight: float = 1.0) -> Dictionary:
    return train(regularized(replace(QUICK, n_steps=200), {"variational": prior_weight}))


def test_variational_training_minimizes_the_negative_evidence_bound() -> None:
    """Of Poisson counts with the drawing as their mean; what does not depend on the model is the same everywhere."""
    config = regularized(replace(QUICK, level_exponent=0), {"variational": 1.0})
    training_set = training_set_of(solo("speech"))
    trainers = [
        Trainer(training_set, SMALL.n_bins, replace(config, seed=seed), seeded_generator(seed), None) for seed in (0, 1)
    ]
    counts, differences = shapes("speech").round(), []
    for trainer in trainers:
        trainer.generator = seeded_generator(5)
        divergence, punished = trainer._divergence_and_penalty(counts)
        mean, log_variance = trainer.network.posterior(counts)
        noise = torch.randn(mean.shape, generator=seeded_generator(5))
        means = trainer.network.decode(mean + (log_variance / 2).exp() * noise)
        log_likelihood = torch.distributions.Poisson(means + 1e-6).log_prob(counts).sum(dim=0)
        bound = log_likelihood - prior_divergence(mean, log_variance)
        differences.append((divergence + punished) * SMALL.n_bins + bound)
    torch.testing.assert_close(differences[0], differences[1], rtol=0, atol=0.05)


def test_the_codes_of_a_variational_dictionary_stay_as_its_prior_has_them() -> None:
    network = variational().network
    assert not network.code_mean.any()
    assert (network.code_deviation == 1).all()


@pytest.mark.slow
def test_the_more_the_prior_counts_the_nearer_to_it_are_the_codes() -> None:
    found = [float(variational(weight).encode(shapes("speech")).square().mean()) for weight in (0.1, 1.0, 100.0)]
    assert found[0] > found[1] > found[2]
    assert found[2] < 0.1


def with_prior(dictionary: Dictionary, prior_weight: float) -> Dictionary:
    """The same dictionary, its prior counting otherwise."""
    network = build_autoencoder(replace(dictionary.card.network, prior_weight=prior_weight), SMALL.n_bins)
    network.load_state_dict(dictionary.network.state_dict())
    return Dictionary(replace(dictionary.card, network=network.config), network)


def test_the_prior_draws_fitted_codes_to_zero_by_as_much_as_it_counts() -> None:
    mixture = magnitudes("speech")

    def fitted(prior_weight: float) -> Tensor:
        dictionary = with_prior(variational(), prior_weight)
        return fit_excitations(mixture, [dictionary], FitConfig(n_iterations=100, tolerance=0)).excitations[0]

    sizes = [float(fitted(weight).square().mean()) for weight in (1e-3, 1.0, 30.0, 1e6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 2 * sizes[1]
    assert sizes[3] < 1e-4


def test_a_prior_that_hardly_counts_leaves_the_fit_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture, dictionary = magnitudes("speech"), with_prior(variational(), 1e-9)
    fits = [fit_excitations(mixture, [dictionary], FitConfig(n_iterations=20, tolerance=0))]
    monkeypatch.setattr(
        "sepdict.separation.excitations._Problem._penalty", lambda _, __, code: torch.zeros_like(code[0])
    )
    fits.append(fit_excitations(mixture, [dictionary], FitConfig(n_iterations=20, tolerance=0)))
    missed = (fits[0].magnitudes - fits[1].magnitudes).abs().sum()
    assert float(missed) < 1e-2 * float(fits[1].magnitudes.sum())
    assert fits[0].loss_curve[-1] == pytest.approx(fits[1].loss_curve[-1], rel=1e-4)


# adversarial: a critic, in training and in the fit


@pytest.mark.slow
def test_the_critic_makes_fitted_drawings_look_more_real() -> None:
    dictionary, mixture = train(regularized(replace(QUICK, n_steps=200), {"adversarial": 0.1})), magnitudes("piano")
    odds = []
    for weight in (0.0, 0.3, 3.0):
        fit = fit_excitations(mixture, [dictionary], FitConfig(critic_weight=weight, n_iterations=30))
        level = magnitudes("piano").mean(dim=(0, 1)).sqrt()
        real = dictionary.network.criticize(dictionary.decode(fit.excitations[0]))
        odds.append(float((level * real).sum() / level.sum()))
    assert odds[0] < odds[1] < odds[2]


def test_a_critic_that_is_not_asked_does_not_matter() -> None:
    dictionary, mixture = train(regularized(QUICK, {"adversarial": 0.1})), magnitudes("speech")

    def fitted() -> ExcitationFit:
        return fit_excitations(mixture, [dictionary], BRIEF)

    before = fitted()
    dictionary.network.critic.layers[0].weight.mul_(-3)
    assert torch.equal(fitted().excitations[0], before.excitations[0])


# Batches, and what is held out


@pytest.mark.parametrize("batch_frames", [1, 50, 0])
def test_steps_see_as_many_frames_as_they_are_told_to(batch_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    inner: Callable[..., tuple[Tensor, Tensor]] = Trainer._divergence_and_penalty

    def counted(self: Trainer, shape: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(shape.shape[-1])
        return inner(self, shape)

    monkeypatch.setattr(Trainer, "_divergence_and_penalty", counted)
    card = train(replace(QUICK, batch_frames=batch_frames, n_steps=4, n_checks=1)).card
    (heard,) = card.heard
    n_learned = round((heard["duration_s"] - heard["silence_s"] - heard["held_out_s"]) * RATE / SMALL.hop_length)
    assert seen == pytest.approx([batch_frames or n_learned] * 4, abs=0 if batch_frames else 2)


def test_the_card_says_how_many_exemplar_frames_were_held_out() -> None:
    dictionary = train(replace(QUICK, exemplars_s=600, validation_share=0.2))
    n_frames, n_held_out = dictionary.exemplars.shape[1], dictionary.card.training["held_out_frames"]
    assert n_held_out == pytest.approx(0.2 * n_frames, abs=2)
    (heard,) = dictionary.card.heard
    assert n_held_out == pytest.approx(heard["held_out_s"] * RATE / SMALL.hop_length, abs=1)
    assert train(QUICK).card.training["held_out_frames"] == 0  # where nothing is remembered


# Augmentation


def test_validation_hears_the_sound_as_it_is() -> None:
    """What learns nothing is validated alike, whatever the training hears."""
    idle = replace(QUICK, learning_rate=0)
    plain, varied = (train(replace(idle, augmentation=each)).card.curves for each in (None, AugmentationConfig()))
    assert plain["validation"] == varied["validation"]
    assert plain["training"][0] != pytest.approx(varied["training"][0], rel=1e-3)


def test_every_check_hears_another_rendition() -> None:
    idle = replace(QUICK, learning_rate=0, batch_frames=0, n_checks=6, n_steps=6)
    plain, varied = (
        train(replace(idle, augmentation=each)).card.curves["training"] for each in (None, AugmentationConfig())
    )
    assert len({round(each, 5) for each in plain}) == 1
    assert len({round(each, 5) for each in varied}) == 6


def test_what_is_held_out_is_not_varied_and_taught() -> None:
    """The end, which is held out, may be anything: renditions for the training stay the same."""
    speech = solo("speech")
    other = speech.samples.clone()
    other[:, -RATE // 4 :] = 0.5 * solo("piano").samples[:, -RATE // 4 :]
    config = replace(QUICK, augmentation=AugmentationConfig(stretch_percent=0, filter_db=0), validation_share=0.2)
    config = replace(config, level_exponent=0, silence_db=-200)
    curves = [
        train_dictionary(replace(speech, samples=each), config, source="speech", device="cpu").card.curves
        for each in (speech.samples, other)
    ]
    assert curves[0]["training"] == pytest.approx(curves[1]["training"], rel=1e-4)
    assert curves[0]["validation"] != pytest.approx(curves[1]["validation"], rel=1e-2)


def test_others_cannot_be_heard_where_there_are_none() -> None:
    config = regularized(QUICK, {"others": 0.5})
    for backgrounds in ([], [Audio(torch.zeros(1, RATE), RATE)]):
        with pytest.raises(ConfigError, match="there are no backgrounds to learn to ignore"):
            train_dictionary(solo("speech"), config, source="speech", device="cpu", backgrounds=backgrounds)


@pytest.mark.parametrize("kind", ["linear", "nonnegative"])
def test_dropout_is_refused_where_there_are_no_hidden_units(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"dropout is 0.2; a {kind} network has no hidden units"):
        regularized(PRESETS[kind], {"dropout": 0.2})


@pytest.mark.parametrize("divergence", ["is", "beta=0.5"])
def test_a_linear_network_is_refused_divergences_that_cannot_stand_nothing(divergence: str) -> None:
    with pytest.raises(ConfigError, match="a linear network learns next to nothing"):
        replace(PRESETS["linear"], divergence=divergence)
