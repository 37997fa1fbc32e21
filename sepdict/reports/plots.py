"""Pictures of what a dictionary has learned.

Every function returns a :class:`matplotlib.figure.Figure`, which a notebook shows; `encode_picture` turns it into the
bytes of a file. The functions use no display, and neither use nor change matplotlib's global state.
"""

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sepdict.dictionaries.card import Card
from sepdict.dictionaries.inspection import Atoms, ExcitingInputs, Manifold
from sepdict.dictionaries.synthesis import WALK_WIDTH
from sepdict.errors import ConfigError
from sepdict.spectral.bands import band_edges, to_bands
from sepdict.training.learning_curve import LearningCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PICTURE_FORMATS = ("png", "svg")
DPI = 150
FAINTEST_DB = -60.0  # below a spectrum's peak: black
FAINTEST_INPUT_DB = -40.0  # the same for inputs that excite units: random initial weights show in all of them
MEL_CORNER_HZ = 700.0  # O'Shaughnessy's: linear below, logarithmic above
FREQUENCY_TICKS_HZ = (100, 200, 500, 1000, 2000, 5000, 10000, 20000)
PITCH_TICKS_HZ = (50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500, 2000, 3000)
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#BBBBBB"  # Okabe and Ito's, told apart by all eyes
SPECTRA, CONTRAST, LOUDNESS, PITCH = "magma", "PuOr_r", "cividis", "viridis"  # their lightness is even
MOST_NUMBERED = 20  # columns; more are not numbered
MOST_RECORDINGS = 24  # bars; further recordings, the shortest, share a bar with their mean
LONGEST_IN_S = 600.0  # longer bars are drawn in minutes
LONGEST_NAME = 34  # characters


def draw_atoms(atoms: Atoms, card: Card) -> "Figure":
    """Draw the effect of each dimension of the code, and the templates: columns of spectra, sorted by frequency."""
    n_templates = atoms.templates.shape[1]
    figure = _figure(
        11, 8.5 if n_templates else 4.6, f"{card.source}: spectra at both ends of each dimension of the code"
    )
    rows = figure.subfigures(2 if n_templates else 1, 1, squeeze=False, hspace=0.04)[:, 0]
    panels = rows[0].subplots(1, 3, sharey=True)
    dimensions = [int(dimension) for dimension in atoms.dimensions]
    many = len(dimensions) > MOST_NUMBERED
    which = f"{len(dimensions)} dimensions, by peak" if many else "dimension of the code"
    for axes, shapes, sign in zip(panels, (atoms.low, atoms.high), "-+", strict=False):
        image = _draw_spectra(axes, shapes, card, dimensions)
        axes.set(title=f"at {sign}{WALK_WIDTH:g} standard deviations", xlabel=which)
    rows[0].colorbar(image, ax=panels[:2], label="dB relative to the peak", pad=0.01)
    change = _decibels(to_bands(atoms.high)) - _decibels(to_bands(atoms.low))
    image = _draw_columns(panels[2], change, card, CONTRAST, (-30, 30), dimensions)
    panels[2].set(title="change from one to the other", xlabel=which)
    rows[0].colorbar(image, ax=panels[2], label="dB", extend="both", pad=0.02)
    panels[0].set_ylabel("frequency in Hz")
    if n_templates:
        axes = rows[1].subplots()
        image = _draw_spectra(axes, atoms.templates, card)
        flat = f", then {atoms.n_flat} nearly flat ones, which it hardly uses" if atoms.n_flat else ""
        axes.set(title="the templates that the decoder adds up", ylabel="frequency in Hz")
        axes.set_xlabel(f"{n_templates - atoms.n_flat} templates by the frequency of their peak{flat}")
        rows[1].colorbar(image, ax=axes, label="dB relative to the peak", pad=0.01)
    return figure


def draw_units(layers: Sequence[ExcitingInputs], card: Card) -> "Figure":
    """Draw the spectra that excite the encoder's hidden units most, a panel for each layer."""
    figure = _figure(
        11, 1 + 3.4 * max(1, len(layers)), f"{card.source}: spectra that excite each hidden unit of the encoder most"
    )
    if not layers:
        figure.text(0.5, 0.4, "its encoder has no hidden layer", ha="center")
        return figure
    panels = figure.subplots(len(layers), 1, squeeze=False)[:, 0]
    for number, (axes, layer) in enumerate(zip(panels, layers, strict=True), 1):
        n_dead = int((layer.shapes.amax(dim=0) == 0).sum())
        dead = f"; {n_dead} (gray, at the right) that nothing excites" if n_dead else ""
        image = _draw_spectra(axes, layer.shapes, card, faintest_db=FAINTEST_INPUT_DB)
        axes.set(title=f"hidden layer {number}", ylabel="frequency in Hz")
        axes.set_xlabel(f"{len(layer.units)} units, by the frequency of the peak{dead}")
    figure.colorbar(image, ax=list(panels), label="dB relative to the peak", pad=0.01)
    return figure


def draw_manifold(manifold: Manifold, card: Card) -> "Figure":
    """Draw the codes of the exemplars' frames in two dimensions, colored by loudness and by pitch."""
    from matplotlib.colors import LogNorm

    figure = _figure(11, 5.2, f"{card.source}: codes of its exemplars")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    x, y = manifold.points.numpy()
    level_db, pitch_hz = manifold.level_db.numpy(), manifold.pitch_hz.numpy()
    reach = 1.05 * max(float(manifold.points.abs().max()), 1e-6)
    dots: dict[str, Any] = {"s": 7, "linewidths": 0, "rasterized": True}
    shown = panels[0].scatter(x, y, c=level_db, cmap=LOUDNESS, vmin=np.quantile(level_db, 0.02), vmax=0, **dots)
    figure.colorbar(shown, ax=panels[0], label="level in dB relative to the loudest", extend="min", pad=0.01)
    panels[0].set_title("by loudness")
    pitched = np.isfinite(pitch_hz)
    panels[1].scatter(x[~pitched], y[~pitched], color=GREY, label="no pitch stands out", **dots)
    lowest, highest = np.quantile(pitch_hz[pitched], (0.02, 0.98)) if pitched.any() else (100, 1000)
    norm = LogNorm(lowest, max(highest, 1.1 * lowest))  # else a few outliers would take most of the colors
    shown = panels[1].scatter(x[pitched], y[pitched], c=pitch_hz[pitched], cmap=PITCH, norm=norm, **dots)
    bar = figure.colorbar(shown, ax=panels[1], label="pitch in Hz", extend="both", pad=0.01)
    ticks = [hz for hz in PITCH_TICKS_HZ if lowest <= hz <= highest]
    bar.set_ticks(ticks, labels=[str(hz) for hz in ticks])
    bar.minorticks_off()
    panels[1].set_title("by pitch")
    if not pitched.all():
        panels[1].legend(loc="best", markerscale=2, fontsize="small")
    for axes in panels:
        axes.set_xlabel(f"first principal axis ({manifold.shares[0]:.0%} of the variance)")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))  # distances mean the same along both axes
    panels[0].set_ylabel(f"second principal axis ({manifold.shares[1]:.0%})")
    return figure


def draw_curves(card: Card) -> "Figure":
    """Draw the divergences during training, and the durations of the recordings."""
    bars = _bars(card.heard)
    figure = _figure(11, max(4.2, 1.6 + 0.22 * len(bars)), f"{card.source}: its training")
    learned, heard = figure.subplots(1, 2)
    _draw_divergences(learned, card)
    unit, unit_s = ("minutes", 60) if any(math.fsum(lengths) > LONGEST_IN_S for _, lengths in bars) else ("seconds", 1)
    heard.set(title=f"recordings: {card.trained_s / 60:.1f} minutes", xlabel=unit)
    left = np.zeros(len(bars))
    parts = {"training": BLUE, "validation": ORANGE, "silence": GREY}
    for index, (what, color) in enumerate(parts.items()):
        seconds = np.array([lengths[index] for _, lengths in bars]) / unit_s
        heard.barh(np.arange(len(bars)), seconds, left=left, color=color, label=what, height=0.75)
        left += seconds
    heard.set_yticks(
        np.arange(len(bars)), labels=[_shortened(name) for name, _ in bars], parse_math=False, fontsize=8.5
    )
    heard.tick_params(axis="y", length=0)
    heard.invert_yaxis()
    heard.spines[["top", "right", "left"]].set_visible(False)
    if bars:
        figure.legend(*heard.get_legend_handles_labels(), loc="outside lower right", ncols=3, frameon=False)
    else:
        heard.set_axis_off()
    return figure


def draw_learning_curve(curve: LearningCurve, card: Card) -> "Figure":
    """Draw the divergence of held-out sound over the minutes of training sound."""
    figure = _figure(6.5, 4.4, f"{card.source}: the effect of more sound")
    axes = figure.subplots()
    axes.plot(curve.minutes, curve.divergences, "o-", color=BLUE)
    for minutes, divergence in zip(curve.minutes, curve.divergences, strict=True):
        axes.annotate(f"{divergence:.3g}", (minutes, divergence), (6, 6), textcoords="offset points")
    axes.set_xscale("log", base=2)
    axes.set_xticks(curve.minutes, labels=[f"{minutes:.2g}" for minutes in curve.minutes])
    axes.minorticks_off()
    axes.set(xlabel="minutes trained on", ylabel="divergence of held-out frames")
    axes.margins(x=0.08, y=0.15)
    _frame(axes)
    return figure


def encode_picture(figure: "Figure", picture_format: str) -> bytes:
    """Encode a figure as the bytes of a PNG or SVG file; the same figure gives the same bytes.

    Raises
    ------
    ConfigError
        If the format is neither.
    """
    from matplotlib import rc_context

    refuse_format(picture_format)
    file = io.BytesIO()
    with (
        rc_context({"svg.hashsalt": "sepdict"}),
        warnings.catch_warnings(),
    ):  # without it an SVG's parts get random names
        warnings.filterwarnings("ignore", "Glyph")  # its font lacks some scripts, whose names then show boxes
        figure.savefig(file, format=picture_format, dpi=DPI, metadata={"Date": None} if picture_format == "svg" else {})
    return file.getvalue()


def refuse_format(picture_format: str) -> None:
    """Refuse a format that pictures cannot have."""
    if picture_format not in PICTURE_FORMATS:
        raise ConfigError(f"picture format is {picture_format!r}; expected one of {', '.join(PICTURE_FORMATS)}")


def _figure(width: float, height: float, title: str) -> "Figure":
    """Make an empty figure of a size in inches; its title is shown as it is, dollar signs included."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, parse_math=False, fontsize=13, fontweight="bold")
    return figure


def _draw_spectra(
    axes: "Axes", shapes: Tensor, card: Card, numbers: Sequence[int] = (), faintest_db: float = FAINTEST_DB
) -> "QuadMesh":
    """Draw spectral shapes (n_bins, n_shapes) as columns, in dB relative to the peak of each."""
    decibels = _decibels(to_bands(shapes))
    return _draw_columns(axes, decibels - decibels.max(axis=0), card, SPECTRA, (faintest_db, 0), numbers)


def _draw_columns(
    axes: "Axes",
    decibels: "NDArray[np.float64]",
    card: Card,
    colors: str,
    limits: tuple[float, float],
    numbers: Sequence[int] = (),
) -> "QuadMesh":
    """Draw columns of bands (n_bands, n_columns) on the mel scale of frequency; those that are not finite stay gray."""
    n_columns = decibels.shape[1]
    nyquist_hz = card.sample_rate / 2
    edges_hz = (np.array(band_edges(card.stft.n_bins)) - 0.5) * (card.sample_rate / card.stft.n_fft)
    image = axes.pcolormesh(
        np.arange(n_columns + 1) - 0.5,
        edges_hz.clip(0, nyquist_hz),
        decibels,
        cmap=colors,
        vmin=limits[0],
        vmax=limits[1],
        rasterized=True,  # an SVG with a path per cell is slow to open
    )
    axes.set_yscale("function", functions=(_to_mel, _from_mel))
    axes.set_ylim(0, nyquist_hz)
    ticks = [hz for hz in FREQUENCY_TICKS_HZ if hz <= nyquist_hz]
    axes.set_yticks(ticks, labels=[str(hz) for hz in ticks])
    axes.set_facecolor(GREY)
    axes.set_xticks([])
    if 0 < len(numbers) <= MOST_NUMBERED:
        axes.set_xticks(range(n_columns), labels=[str(number + 1) for number in numbers], fontsize=7.5)
    return image


def _decibels(bands: Tensor) -> "NDArray[np.float64]":
    """Convert magnitudes to dB; a column of zeros becomes nan."""
    decibels: NDArray[np.float64] = 20 * bands.double().clamp(min=1e-12).log10().numpy()
    decibels[:, bands.amax(dim=0).numpy() == 0] = np.nan
    return decibels


def _to_mel(hz: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Convert frequency to mel, up to a factor."""
    return np.log1p(np.maximum(hz, 0) / MEL_CORNER_HZ)


def _from_mel(mel: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Convert mel to frequency, the inverse of `_to_mel`."""
    return MEL_CORNER_HZ * np.expm1(mel)


def _draw_divergences(axes: "Axes", card: Card) -> None:
    """Draw training and validation divergence over the checks, and mark the best."""
    from matplotlib.ticker import MaxNLocator

    axes.set(title="divergence", xlabel="check", ylabel="divergence per bin")
    for name, color in (("training", BLUE), ("validation", ORANGE)):
        curve = card.curves.get(name, ())
        axes.plot(range(1, len(curve) + 1), curve, color=color, label=name, marker="." if len(curve) < 3 else "")
    validation = card.curves.get("validation", ())
    if validation:
        best = min(range(len(validation)), key=validation.__getitem__)
        label = f"best: {validation[best]:.3g}, after {best + 1} of {len(validation)}"
        axes.plot(best + 1, validation[best], "o", color=ORANGE, markeredgecolor="black", label=label)
        axes.legend(frameon=False)
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
        axes.set_axis_off()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _frame(axes)


def _bars(heard: Sequence[Mapping[str, Any]]) -> list[tuple[str, tuple[float, float, float]]]:
    """Split each recording into seconds of training, validation and silence; the shortest of very many share a bar."""
    bars = list[tuple[str, tuple[float, float, float]]]()
    for recording in heard:
        duration, held_out, silence = (recording[name] for name in ("duration_s", "held_out_s", "silence_s"))
        bars.append((recording["name"], (max(duration - held_out - silence, 0), held_out, silence)))
    if len(bars) <= MOST_RECORDINGS:
        return bars
    bars.sort(key=lambda bar: -math.fsum(bar[1]))
    others = [lengths for _, lengths in bars[MOST_RECORDINGS - 1 :]]
    learned, held_out, silence = (math.fsum(column) / len(others) for column in zip(*others, strict=True))
    return [*bars[: MOST_RECORDINGS - 1], (f"mean of {len(others)} shorter ones", (learned, held_out, silence))]


def _shortened(name: str) -> str:
    """Shorten a long name in its middle, because names of recordings often differ at the end."""
    half = (LONGEST_NAME - 1) // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def _frame(axes: "Axes") -> None:
    """Hide the axes without numbers, and draw a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
