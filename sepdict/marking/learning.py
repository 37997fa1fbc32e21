"""Dictionaries learned from moments of the recording that is to be separated.

Wherever one source is alone is a solo recording of it: from the same room, microphone and day as the mixture, which
solos from elsewhere never are. A source that has no dictionary gets one from its moments; to a source that has one the
moments are added as exemplars, so that the mask estimator learns from both.
"""

import contextlib
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import torch

from sepdict._core.cache import cache_folder, keep_latest, made_and_kept
from sepdict._core.devices import AUTO
from sepdict._core.settings import checks_types, refuse_other_types, refuse_out_of_range
from sepdict._core.version import __version__
from sepdict.audio.io import AudioLike, AudioReader, open_sound
from sepdict.audio.labels import Label, LabelsLike, as_labels
from sepdict.audio.marks import moments_by_source
from sepdict.audio.offset import centered
from sepdict.audio.signal import Audio, at_peak_of_one
from sepdict.dictionaries.dictionary import Dictionary, refuse_unfit
from sepdict.dictionaries.exemplars import encode_exemplars, join_exemplars
from sepdict.dictionaries.loading import DictionaryLike, as_dictionaries
from sepdict.errors import ConfigError, SepdictError
from sepdict.progress import OnProgress, closes_progress, ignore_progress, progress_of_part
from sepdict.separation.config import SeparationConfig
from sepdict.training.config import PRESETS, TrainingConfig
from sepdict.training.data import LEAST_SOUND_S, FrameConfig, extract_frames, stft_for
from sepdict.training.train import train_dictionary

MOST_CACHED = 32  # learned dictionaries, of some MiB each; the least recently used are deleted first
PREFIX = "learned"


@dataclass(frozen=True)
class MarkingConfig:
    """Settings of the learning from marked moments.

    Parameters
    ----------
    training : TrainingConfig
        How a dictionary is trained from the moments of a source that has none. Its steps are few: seconds of sound are
        learned soon.
    moments_share : float
        Where a source has a dictionary, too: the share of its moments among the exemplars. The moments are of the
        mixture's own session, and count for more than they last.
    n_estimator_steps : int
        At most so many training steps of the mask estimator where all sources are learned from moments.
    n_adaptation_steps : int
        At least so many steps of its adaptation there, on as many pieces as in training: it has learned from little,
        and much is new in the mixture.

    Raises
    ------
    ConfigError
        If the share is not from 0 to 0.95, or there is no step.
    """

    training: TrainingConfig = field(default_factory=lambda: replace(PRESETS["default"], n_steps=300))
    moments_share: float = 0.5
    n_estimator_steps: int = 600
    n_adaptation_steps: int = 100

    def __post_init__(self) -> None:
        refuse_other_types(self)
        at_least_one = {"n_estimator_steps": (1, math.inf), "n_adaptation_steps": (1, math.inf)}
        refuse_out_of_range(self, {"moments_share": (0, 0.95)} | at_least_one)

    def fitting(self, config: SeparationConfig, *, has_dictionaries: bool) -> SeparationConfig:
        """Return the settings of a separation by what was learned, beside given dictionaries or alone."""
        if has_dictionaries or config.mask_estimator is None:
            return config
        steps = replace(config.mask_estimator, n_steps=min(self.n_estimator_steps, config.mask_estimator.n_steps))
        if steps.n_adaptation_steps:
            n_steps = max(self.n_adaptation_steps, steps.n_adaptation_steps)
            steps = replace(steps, n_adaptation_steps=n_steps, n_adaptation_cuts=steps.n_cuts)
        return replace(config, mask_estimator=steps)


@checks_types
@closes_progress
def learn_from_labels(
    recording: AudioLike,
    labels: LabelsLike,
    dictionaries: Sequence[DictionaryLike] = (),
    config: MarkingConfig | None = None,
    *,
    device: str = AUTO,
    on_progress: OnProgress = ignore_progress,
) -> list[Dictionary]:
    """Learn the sources of a recording from the moments in which labels say that they are alone.

    What was learned is kept in the cache by its content: after a change of one label only its source is learned anew.

    Parameters
    ----------
    recording : Audio, path or (samples, sample_rate)
    labels : sequence of Label, or the path of their file
        Named after the sources. A label with frequency limits teaches what lies within them.
    dictionaries : sequence of Dictionary, path or installed name
        Of further sources, or of the same: these get the moments as further exemplars.
    config : MarkingConfig, optional
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    on_progress : callable
        Called during the training; raising from it cancels.

    Returns
    -------
    list of Dictionary
        The given ones first, in their order, then those that are learned, in the order of their first labels.

    Raises
    ------
    ConfigError
        If labels do not fit the recording, those of two sources overlap, a source is marked for less than a second, or
        the dictionaries do not go together.
    AudioError
        If the moments of a source hold less than a second of sound.

    Examples
    --------
    >>> from sepdict.audio.labels import Label
    >>> hiss, hum = torch.randn(16000), torch.randn(16000).cumsum(0) / 100
    >>> recording = Audio(torch.cat([hiss, hum, hiss.flip(0) + hum.flip(0)]), 8000)
    >>> quick = MarkingConfig(TrainingConfig(n_steps=5))
    >>> learn_from_labels(recording, [Label(0, 2, "hiss"), Label(2, 4, "hum")], config=quick)
    [Dictionary('hiss', dense, trained on 2.0 s at 8000 Hz), Dictionary('hum', dense, trained on 2.0 s at 8000 Hz)]
    """
    config = MarkingConfig() if config is None else config
    known = as_dictionaries(dictionaries)
    if known:
        refuse_unfit(known)
    with open_sound(recording, "recording") as mixture:
        solos = solos_of(mixture, as_labels(labels))
    training = _fitting(config.training, known, [solo for several in solos.values() for solo in several])
    extended = [
        with_moments(each, solos[each.source], share=config.moments_share) if each.source in solos else each
        for each in known
    ]
    new = [source for source in solos if source not in {each.source for each in known}]
    for source in new:
        _refuse_little(source, solos[source])
    parts = [progress_of_part(on_progress, index, len(new)) for index in range(len(new))]
    learned = [
        _cached_dictionary(solos[source], training, source, device=device, on_progress=part)
        for source, part in zip(new, parts, strict=True)
    ]
    return [*extended, *learned]


def solos_of(recording: Audio | AudioReader, labels: Sequence[Label]) -> dict[str, list[Audio]]:
    """Cut the moments of each source out of a recording; of a label with frequency limits, what lies within them.

    Raises
    ------
    ConfigError
        If labels do not fit the recording, or those of two sources overlap.
    """
    rate = recording.sample_rate
    moments = moments_by_source(labels, recording.n_samples / rate, recording.name)
    in_order = sorted((moment for several in moments.values() for moment in several), key=lambda each: each.start_s)
    for moment in in_order:
        if moment.low_hz is not None and moment.low_hz >= rate / 2:
            what = f"the label {moment.name!r} at {moment.start_s:g} s begins at {moment.low_hz:g} Hz"
            raise ConfigError(f"{what}; expected less than {rate / 2:g} Hz, where {recording.name} ends")
    spans = [slice(round(each.start_s * rate), round(each.end_s * rate)) for each in in_order]
    solos: dict[str, list[Audio]] = {name: [] for name in moments}
    for moment, part in zip(in_order, recording.blocks(spans), strict=True):
        solos[moment.name].append(_within(part, moment))
    return solos


def _refuse_little(source: str, solos: Sequence[Audio]) -> None:
    """Refuse to learn a source from less than a second."""
    marked_s = sum(solo.duration_s for solo in solos)
    if marked_s < LEAST_SOUND_S:
        what = f"{solos[0].name}: {marked_s:.2f} s are marked as {source!r}"
        raise ConfigError(f"{what}; expected {LEAST_SOUND_S:g} s at least, and ten seconds are better")


def _within(part: Audio, moment: Label) -> Audio:
    """Remove what lies outside of a moment's frequency limits."""
    if moment.low_hz is None and moment.high_hz is None:
        return part
    spectrum = torch.fft.rfft(part.samples)
    hz = torch.fft.rfftfreq(part.n_samples, 1 / part.sample_rate)
    within = (hz >= (moment.low_hz or 0.0)) & (hz <= (moment.high_hz or part.sample_rate))
    return replace(part, samples=torch.fft.irfft(spectrum * within, part.n_samples))


def with_moments(dictionary: Dictionary, solos: Sequence[Audio], *, share: float) -> Dictionary:
    """Add solos to the exemplars of a dictionary, repeated until they make up a share of them; its decoder stays.

    Parameters
    ----------
    dictionary : Dictionary
        It stays unchanged.
    solos : sequence of Audio
    share : float
        From 0 to less than 1.

    Returns
    -------
    Dictionary
        The same one if it has no exemplars, or the share is 0.
    """
    if not dictionary.has_exemplars or not share:
        return dictionary
    card = dictionary.card
    frame_config = FrameConfig(card.sample_rate, card.stft, PRESETS["default"].silence_db, n_gap_frames=0)
    sounds = [extract_frames(solo, frame_config) for solo in at_peak_of_one(solos)]
    frames = torch.cat([sound.magnitude[:, sound.active.flatten()] for sound in sounds], dim=1)
    if not frames.shape[1]:
        return dictionary
    moments = encode_exemplars(frames, n_most_frames=frames.shape[1])
    return replace(dictionary, exemplars=join_exemplars(moments, dictionary.exemplars, share=share))


def _fitting(training: TrainingConfig, known: Sequence[Dictionary], solos: Sequence[Audio]) -> TrainingConfig:
    """Choose the rate and STFT that all dictionaries of the mixture share."""
    if known:
        return replace(training, sample_rate=known[0].card.sample_rate, stft=known[0].card.stft)
    sample_rate = training.sample_rate or solos[0].sample_rate
    leveled = [centered(solo) for solo in at_peak_of_one(solos)]
    return replace(training, sample_rate=sample_rate, stft=training.stft or stft_for(leveled, sample_rate))


def _cached_dictionary(
    solos: Sequence[Audio], training: TrainingConfig, source: str, *, device: str, on_progress: OnProgress
) -> Dictionary:
    """Load what was learned from the same moments before, or learn it and keep it in the cache."""
    facts = [__version__, source, [solo.sha256 for solo in solos], [solo.name for solo in solos], asdict(training)]
    file = f"{PREFIX}-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.safetensors"
    with contextlib.suppress(SepdictError):  # it is not there, or damaged: learn it anew
        path = cache_folder() / file
        dictionary = Dictionary.load(path)
        with contextlib.suppress(OSError):  # a read-only folder will do
            path.touch()
        return dictionary

    def keep(dictionary: Dictionary) -> None:
        dictionary.save(cache_folder() / file)
        keep_latest(f"{PREFIX}-*.safetensors", MOST_CACHED)

    return made_and_kept(
        lambda: train_dictionary(
            solos, training, source=source, keeps_interrupted=False, device=device, on_progress=on_progress
        ),
        keep,
        otherwise=f"what is learned of {source} cannot be kept, it will be learned again",
    )
