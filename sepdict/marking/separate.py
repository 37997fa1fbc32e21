"""From a recording and its labels to stems, in one call."""

from collections.abc import Sequence

from sepdict._core.settings import checks_types
from sepdict.audio.io import AudioLike, as_audio
from sepdict.audio.labels import LabelsLike, as_labels
from sepdict.dictionaries.loading import DictionaryLike
from sepdict.marking.learning import MarkingConfig, learn_from_labels
from sepdict.progress import OnProgress, closes_progress, ignore_progress
from sepdict.separation.config import SeparationConfig
from sepdict.separation.engine import separate
from sepdict.separation.guides import LabelGuide
from sepdict.separation.result import Separation


@checks_types
@closes_progress
def separate_marked(
    recording: AudioLike,
    labels: LabelsLike,
    dictionaries: Sequence[DictionaryLike] = (),
    config: SeparationConfig | None = None,
    *,
    marking: MarkingConfig | None = None,
    on_progress: OnProgress = ignore_progress,
) -> Separation:
    """Separate a recording whose sources are learned from moments of it in which labels say that they are alone.

    Parameters
    ----------
    recording : Audio, path or (samples, sample_rate)
    labels : sequence of Label, or the path of their file
        Named after the sources. With a single name, the other stem is the residual.
    dictionaries : sequence of Dictionary, path or installed name
        As in `learn_from_labels`.
    config : SeparationConfig, optional
    marking : MarkingConfig, optional
    on_progress : callable
        Called after every step; raising from it cancels.

    Returns
    -------
    Separation
        Of the whole recording. Where a label says that a source is alone, it has all of the recording.

    Raises
    ------
    AudioError, ConfigError
        As `learn_from_labels` and `separate` do.

    Examples
    --------
    >>> import torch
    >>> from sepdict import Audio, Label, TrainingConfig
    >>> hiss, hum = torch.randn(16000), torch.randn(16000).cumsum(0) / 100
    >>> recording = Audio(torch.cat([hiss, hum, hiss.flip(0) + hum.flip(0)]), 8000)
    >>> labels = [Label(0, 2, "hiss"), Label(2, 4, "hum")]
    >>> quick, draft = MarkingConfig(TrainingConfig(n_steps=5)), SeparationConfig().at_quality("draft")
    >>> list(separate_marked(recording, labels, config=draft, marking=quick))
    ['hiss', 'hum']
    """
    sound, labels = as_audio(recording, "recording"), as_labels(labels)
    marking = MarkingConfig() if marking is None else marking
    config = marking.fitting(SeparationConfig() if config is None else config, has_dictionaries=bool(dictionaries))
    learned = learn_from_labels(sound, labels, dictionaries, marking, device=config.device, on_progress=on_progress)
    return separate(sound, learned, config, guides=[LabelGuide(tuple(labels))], on_progress=on_progress)
