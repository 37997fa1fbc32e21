"""What corrections bring: ten strokes over the worst five seconds of every scene, as a patient user would draw them.

    uv run python tests/benchmarks/corrections.py SCENES_FOLDER

SCENES_FOLDER is what `make_scenes.py` wrote. Each scene is separated by its marked seconds alone. A scripted user, who
knows the true sources, then labels where the stems are furthest from them, and the scene is separated again.
CORRECTIONS.md is written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from rivals import Scene
from scenes import HERE, find_scenes
from torch import Tensor

import sepdict
from sepdict import Label, LabelGuide, SeparationConfig, StftConfig
from sepdict.evaluation.metrics import si_sdr, si_sdr_improvement
from sepdict.spectral.stft import magnitude, stft

WORST_S = 5.0
N_STROKES = 10
STROKE_S = 0.25
STROKE_RATIO = 2**0.5  # of its upper limit to its lower one: half an octave
LOWEST_HZ = 110.0

HEADING = f"""# What corrections bring

Written by `uv run python tests/benchmarks/corrections.py SCENES_FOLDER`. Every scene was learned from ten marked
seconds of each source. {N_STROKES} labels of half an octave and a quarter of a second, placed by the true sources where
the stems were worst, then corrected the worst five seconds. SI-SDR improvements (mean of the stems, one seed), in dB.

| scene | worst five seconds | corrected | | elsewhere | |
| --- | ---: | ---: | ---: | ---: | ---: |
"""


class Marked:
    """A scene that was learned from its marked seconds, and can be separated with corrections."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.labels = scene, tuple(scene.labels())
        self.recording = sepdict.read_audio(scene.folder / "marked" / "recording.wav")
        self.references = torch.cat([audio.samples for audio in scene.references().values()])
        self.dictionaries = sepdict.learn_from_labels(self.recording, self.labels)
        self.config = sepdict.MarkingConfig().fitting(SeparationConfig(), has_dictionaries=False)
        self.mask_estimator = sepdict.train_mask_estimator(self.dictionaries, self.config.mask_estimator)

    def stems(self, corrections: Sequence[Label] = ()) -> Tensor:
        """Separate; return the stems of the mixture, the end of the recording, (n_sources, n_samples)."""
        guides = [LabelGuide(labels) for labels in (self.labels, tuple(corrections)) if labels]
        stems = sepdict.separate(
            self.recording, self.dictionaries, self.config, guides=guides, trained_mask_estimator=self.mask_estimator
        ).stems
        return torch.cat([stems[source].samples for source in self.scene.solos])[:, -self.scene.mixture.n_samples :]

    def gain(self, stems: Tensor, inside: Tensor) -> float:
        """Average the SI-SDR improvement of the stems over the samples in question."""
        mixture = self.scene.mixture.samples[0, inside]
        return float(si_sdr_improvement(stems[:, inside], self.references[:, inside], mixture).mean())

    def worst_span(self, stems: Tensor) -> slice:
        """Find the samples of the seconds in which the stems are worst."""
        rate = self.scene.mixture.sample_rate
        n_samples = round(WORST_S * rate)
        spans = [slice(start, start + n_samples) for start in range(0, stems.shape[1] - n_samples + 1, rate // 2)]
        return min(spans, key=lambda span: float(si_sdr(stems[:, span], self.references[:, span]).mean()))

    def corrections(self, stems: Tensor, span: slice) -> list[Label]:
        """Correct the stems there, in the times of the recording."""
        rate, config = self.scene.mixture.sample_rate, self.scene.stft
        start_s = self.recording.duration_s - (stems.shape[1] - span.start) / rate
        sources = list(self.scene.solos)
        return strokes(stems[:, span], self.references[:, span], sources, config, rate, start_s=start_s)


def strokes(
    stems: Tensor, references: Tensor, sources: Sequence[str], config: StftConfig, sample_rate: int, *, start_s: float
) -> list[Label]:
    """Label where stems (n_sources, n_samples) are furthest from the truth, with the source that is loudest there.

    They begin at ``start_s`` of the recording.
    """
    heard, true = (magnitude(stft(each, config)) for each in (stems, references))
    error = (heard - true).square().sum(dim=0)  # (n_bins, n_frames)
    bin_hz, frame_s = sample_rate / config.n_fft, config.hop_length / sample_rate
    end_s = start_s + stems.shape[1] / sample_rate
    labels = []
    for _ in range(N_STROKES):
        bins, frames = _worst_box(error, bin_hz, max(1, round(STROKE_S / frame_s)))
        loudest = int(true[:, bins, frames].square().sum(dim=(1, 2)).argmax())
        error[bins, frames] = 0
        begin_s, until_s = (min(start_s + frame * frame_s, end_s) for frame in (frames.start, frames.stop))
        limits = {"low_hz": bins.start * bin_hz, "high_hz": bins.stop * bin_hz}
        labels.append(Label(begin_s, until_s, sources[loudest], **limits))
    return labels


def _worst_box(error: Tensor, bin_hz: float, n_frames: int) -> tuple[slice, slice]:
    """Find the bins and frames of the box that holds most of the error."""
    boxes, low_hz = [], LOWEST_HZ
    while low_hz * STROKE_RATIO < bin_hz * len(error):
        low = int(low_hz / bin_hz)
        bins = slice(low, max(low + 1, int(low_hz * STROKE_RATIO / bin_hz)))
        held = error[bins].sum(dim=0).unfold(0, n_frames, 1).sum(dim=1)
        start = int(held.argmax())
        boxes.append((float(held[start]), bins, slice(start, start + n_frames)))
        low_hz *= STROKE_RATIO**0.5
    _, bins, frames = max(boxes, key=lambda box: box[0])
    return bins, frames


def row_of(folder: Path) -> str:
    """Measure one scene."""
    marked = Marked(Scene.read(folder))
    plain = marked.stems()
    span = marked.worst_span(plain)
    corrected = marked.stems(marked.corrections(plain, span))
    worst = torch.zeros(plain.shape[1], dtype=torch.bool)
    worst[span] = True
    cells = []
    for inside in (worst, ~worst):
        before, after = marked.gain(plain, inside), marked.gain(corrected, inside)
        cells += [f"{before:.1f}", f"{after:.1f}", f"{after - before:+.1f}"]
    del cells[4]  # what it is elsewhere with corrections: the difference says it
    return f"| {folder.name} | " + " | ".join(cells) + " |\n"


def main(scenes: Annotated[Path, typer.Argument(help="What make_scenes.py wrote.")]) -> None:
    """Measure all scenes and write CORRECTIONS.md."""
    rows = []
    for name in find_scenes(scenes):
        rows.append(row_of(scenes / name))
        typer.echo(rows[-1], nl=False)
    (HERE / "CORRECTIONS.md").write_text(HEADING + "".join(rows))


if __name__ == "__main__":
    typer.run(main)
