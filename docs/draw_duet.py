"""Draw README's picture: the demo duet, what sepdict makes of it, and what was really played.

Run it with ``uv run python docs/draw_duet.py OUT.png``. All that goes in lies in the folder data: the whole duet, the
default settings, no moment or run chosen.
"""

import io
import math
import sys
from pathlib import Path

import librosa
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from sepdict import Audio, evaluate, read_audio, separate

DATA = Path(__file__).parents[1] / "data"
WIDTH_IN, HEIGHT_IN, DPI = 8.0, 7.6, 125
RANGE_DB = 50.0  # below the loudest point of the mixture, in all pictures: black
LOWEST_HZ, HIGHEST_HZ = 73.4, 7500.0  # from below the piano to what a rate of 16 kHz can hold
BINS_PER_OCTAVE = 24
N_BINS = int(BINS_PER_OCTAVE * math.log2(HIGHEST_HZ / LOWEST_HZ))
HOP_LENGTH = 256
TICKS_HZ = (125, 250, 500, 1000, 2000, 4000)
COLOURS = "magma"
N_COLOURS, N_GREYS = 192, 16  # of the file, which so is a third as large


def spectrum(audio: Audio) -> NDArray[np.float32]:
    """Transform the first channel: power, by note and time, (n_bins, n_frames)."""
    spectrum = librosa.cqt(
        audio.samples[0].numpy(),
        sr=audio.sample_rate,
        fmin=LOWEST_HZ,
        n_bins=N_BINS,
        bins_per_octave=BINS_PER_OCTAVE,
        hop_length=HOP_LENGTH,
        filter_scale=0.7,
    )
    return np.asarray(np.abs(spectrum) ** 2, dtype=np.float32)


def draw(sounds: dict[str, Audio]) -> Figure:
    """Draw the sounds below each other, the first of which sets the scale for all."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained", facecolor="white")
    panels = figure.subplots(len(sounds), 1, sharex=True, sharey=True)
    reference = float(spectrum(next(iter(sounds.values()))).max())
    edges_hz = LOWEST_HZ * 2 ** ((np.arange(N_BINS + 1) - 0.5) / BINS_PER_OCTAVE)
    for axes, (title, audio) in zip(panels, sounds.items(), strict=True):
        level_db = librosa.power_to_db(spectrum(audio), ref=reference, top_db=None)
        times_s = np.arange(level_db.shape[1] + 1) * HOP_LENGTH / audio.sample_rate
        image = axes.pcolormesh(times_s, edges_hz, level_db, cmap=COLOURS, vmin=-RANGE_DB, vmax=0, rasterized=True)
        axes.set_yscale("log")
        axes.set_yticks(TICKS_HZ, [f"{hz}" for hz in TICKS_HZ])
        axes.minorticks_off()
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xlim(0, audio.duration_s)
    panels[-1].set_xlabel("time in s")
    figure.supylabel("frequency in Hz", fontsize=10)
    figure.colorbar(image, ax=panels, label="dB relative to the loudest of the mixture", aspect=60, pad=0.01)
    return figure


def small(picture: bytes) -> bytes:
    """Reduce a PNG to the colors that it is made of."""
    colors = colormaps[COLOURS](np.linspace(0, 1, N_COLOURS), bytes=True)[:, :3]
    grays = np.linspace(0, 255, N_GREYS, dtype=np.uint8)[:, None].repeat(3, axis=1)
    palette, content = Image.new("P", (1, 1)), io.BytesIO()
    palette.putpalette(np.concatenate([colors, grays]).tobytes())
    drawn = Image.open(io.BytesIO(picture)).convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    drawn.save(content, "PNG", optimize=True)
    return content.getvalue()


def main(out: Path) -> None:
    """Separate the duet, measure, and draw."""
    mixture = read_audio(DATA / "duet.flac")
    stems = separate(mixture, [DATA / "violin.safetensors", DATA / "piano.safetensors"])
    references = {source: read_audio(DATA / "duet_references" / f"{source}.flac") for source in stems}
    sounds = {"the mixture": mixture}
    for score in evaluate(stems, references, mixture=mixture).scores:
        gain = f"SI-SDR {score.si_sdr_improvement_db:.1f} dB better than the mixture's"
        sounds[f"{score.source}, by sepdict: {gain}"] = stems[score.source]
        sounds[f"{score.source}, as played"] = references[score.source]
    content = io.BytesIO()
    draw(sounds).savefig(content, format="png", dpi=DPI)
    out.write_bytes(small(content.getvalue()))
    print(f"wrote {out}: {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("duet.png"))
