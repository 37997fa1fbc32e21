"""What stands behind the benchmark's rows of sepdict: dictionaries of all kinds, streams, marks, single sources."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from rivals import Scene, Separated

import sepdict
from sepdict import Audio, FitConfig, SeparationConfig, TrainingConfig, read_audio, train_dictionary
from sepdict.separation.config import Quality

CRITIC_WEIGHT = 0.03  # beside the divergence per bin, which is some tenths
DEFAULT = sepdict.PRESETS["default"]
VARIATIONAL = sepdict.regularized(DEFAULT, {"variational": sepdict.REGULARIZERS["variational"]})
QUICK = replace(DEFAULT, n_steps=1000)  # for separations of quick quality
AUGMENTED = replace(DEFAULT, augmentation=sepdict.AugmentationConfig())


def sepdict_dictionaries(
    scene: Scene,
    seed: int,
    *,
    config: TrainingConfig,
    quality: Quality = "standard",
    solos_s: float = math.inf,
    prior_weight: float = 0.0,
    critic_weight: float = 0.0,
) -> Separated:
    """Train a dictionary per source and separate; the mask estimator counts as training.

    Drafts have no mask estimator. They are fitted without a prior, unless it is asked for, to show what they are alone.
    Where a regularizer needs other sounds, these are the solos of the scene's other sources.
    """
    config = replace(config, seed=seed)
    lessons = {source: beginning(solos, solos_s) for source, solos in scene.solos.items()}
    start = time.perf_counter()
    dictionaries = []
    for source, solos in lessons.items():
        others = [solo for other in lessons if other != source for solo in lessons[other]]
        backgrounds = others if config.regularization.others else []
        dictionaries.append(train_dictionary(solos, config, source=source, backgrounds=backgrounds))
    estimator_config = SeparationConfig().at_quality(quality).mask_estimator
    if estimator_config is not None:
        mask_estimator = sepdict.train_mask_estimator(dictionaries, replace(estimator_config, seed=seed))
        separate = partial(sepdict.separate, trained_mask_estimator=mask_estimator)
    else:
        fit = FitConfig(prior_weight=prior_weight, critic_weight=critic_weight)
        separate = partial(sepdict.separate, config=SeparationConfig(fit, mask_estimator=None))
    trained = time.perf_counter()
    stems = separate(scene.mixture, dictionaries).stems
    separated = time.perf_counter()
    samples = torch.cat([stems[source].samples for source in scene.solos])
    return Separated(samples, trained - start, separated - trained)


def sepdict_live(scene: Scene, seed: int) -> Separated:
    """Separate block by block, as a stream, each source kept on its own; what comes out is moved back by its delay."""
    start = time.perf_counter()
    config = replace(DEFAULT, seed=seed)
    trained = [train_dictionary(list(solos), config, source=name) for name, solos in scene.solos.items()]
    keeping = partial(sepdict.open_live, trained, config=sepdict.MaskEstimatorConfig(seed=seed))
    streams = [keeping(keep=[name]) for name in scene.solos]
    ready = time.perf_counter()
    stems = [torch.from_numpy(live.process_whole(scene.mixture.samples.numpy())) for live in streams]
    return Separated(torch.cat(stems), ready - start, (time.perf_counter() - ready) / len(streams))


def sepdict_marked(
    scene: Scene, seed: int, *, marking: sepdict.MarkingConfig | None = None, with_dictionaries: bool = False
) -> Separated:
    """Learn from the marked seconds of one recording, alone or beside dictionaries of the solos, and separate it.

    The mixture is the end of that recording, and only that is scored.
    """
    marking = sepdict.MarkingConfig() if marking is None else marking
    marking = replace(marking, training=replace(marking.training, seed=seed))
    recording, labels = read_audio(scene.folder / "marked" / "recording.wav"), scene.labels()
    start = time.perf_counter()
    solos, default = scene.solos.items() if with_dictionaries else (), replace(DEFAULT, seed=seed)
    dictionaries = [train_dictionary(list(several), default, source=source) for source, several in solos]
    learned = sepdict.learn_from_labels(recording, labels, dictionaries, marking)
    config = marking.fitting(SeparationConfig(), has_dictionaries=with_dictionaries)
    assert config.mask_estimator is not None
    mask_estimator = sepdict.train_mask_estimator(learned, replace(config.mask_estimator, seed=seed))
    trained = time.perf_counter()
    guides = [sepdict.LabelGuide(tuple(labels))]
    stems = sepdict.separate(recording, learned, config, guides=guides, trained_mask_estimator=mask_estimator)
    separated = time.perf_counter()
    samples = torch.cat([stems[source].samples for source in scene.solos])[:, -scene.mixture.n_samples :]
    return Separated(samples, trained - start, separated - trained)


def one_unknown(scene: Scene, seed: int, *, background_model: bool) -> Separated:
    """Separate each source while the dictionary of the source after it is missing, and no mask estimator helps."""
    start = time.perf_counter()
    config = replace(DEFAULT, seed=seed)
    trained = {name: train_dictionary(list(solos), config, source=name) for name, solos in scene.solos.items()}
    ready = time.perf_counter()
    names, stems = list(trained), []
    for source, missing in zip(names, [*names[1:], names[0]], strict=True):
        known = [dictionary for name, dictionary in trained.items() if name != missing]
        alone = SeparationConfig(mask_estimator=None, residual=True, background_model=background_model)
        separation = sepdict.separate(scene.mixture, known, alone)
        stems.append(separation.stems[source].samples)
    return Separated(torch.cat(stems), ready - start, (time.perf_counter() - ready) / len(names))


def one_known(scene: Scene, seed: int) -> Separated:
    """Separate each source from all the rest by its dictionary alone."""
    start = time.perf_counter()
    config = replace(DEFAULT, seed=seed)
    trained = [train_dictionary(list(solos), config, source=name) for name, solos in scene.solos.items()]
    estimators = [sepdict.train_mask_estimator([each], sepdict.MaskEstimatorConfig(seed=seed)) for each in trained]
    ready = time.perf_counter()
    stems = [
        stem.samples
        for dictionary, estimator in zip(trained, estimators, strict=True)
        for stem in sepdict.separate(scene.mixture, [dictionary], trained_mask_estimator=estimator).stems.values()
    ]
    return Separated(torch.cat(stems), ready - start, (time.perf_counter() - ready) / len(trained))


def beginning(recordings: Sequence[Audio], duration_s: float) -> list[Audio]:
    """Keep so many seconds, from the first recording on."""
    kept = []
    for recording in recordings:
        if duration_s > 0:
            n_samples = round(min(duration_s, recording.duration_s) * recording.sample_rate)
            kept.append(Audio(recording.samples[:, :n_samples], recording.sample_rate, recording.name))
            duration_s -= recording.duration_s
    return kept


def family() -> dict[str, tuple[TrainingConfig, dict[str, Any]]]:
    """All kinds of dictionaries and ways to train them by name, each with options of the separation."""
    rows = {name: sepdict.PRESETS[name] for name in ("linear", "nonnegative", "convolutional", "recurrent", "lecture")}
    rows["recurrent, LSTM"] = _with_network(rows["recurrent"], cell="lstm")
    rows |= {name: sepdict.regularized(DEFAULT, {name: amount}) for name, amount in sepdict.REGULARIZERS.items()}
    rows["one frame a step, 30000 steps"] = replace(DEFAULT, batch_frames=1, n_steps=30000)
    rows["all frames a step, 150 steps"] = replace(DEFAULT, batch_frames=0, n_steps=150, learning_rate=5e-3)
    rows["pretrained by autoencoders"] = replace(DEFAULT, pretraining="autoencoders")
    rows["sigmoid, no templates"] = _with_network(DEFAULT, activation="sigmoid", n_templates=0)
    rows["the same, pretrained by Boltzmann machines"] = replace(rows["sigmoid, no templates"], pretraining="boltzmann")
    members: dict[str, tuple[TrainingConfig, dict[str, Any]]] = {name: (config, {}) for name, config in rows.items()}
    members["default, the prior in the fit"] = DEFAULT, {"prior_weight": FitConfig().prior_weight}
    members["adversarial, the critic in the fit"] = rows["adversarial"], {"critic_weight": CRITIC_WEIGHT}
    members["from 30 s of each source"] = DEFAULT, {"solos_s": 30}
    members["from 30 s of each source, augmented"] = AUGMENTED, {"solos_s": 30}
    return members


def _with_network(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    """Change something in the network."""
    return replace(config, network=replace(config.network, **changes))
