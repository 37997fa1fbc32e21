"""The report of a separation or of an evaluation: one HTML page with players and pictures."""

import math
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import soundfile
import torch
from torch import Tensor

from sepdict._core.fs import to_json
from sepdict._core.names import RESIDUAL
from sepdict.audio.formats import ENCODINGS
from sepdict.audio.io import open_audio
from sepdict.dictionaries.card import Card
from sepdict.evaluation.scoring import RATIOS, Evaluation
from sepdict.reports import svg
from sepdict.reports.html import fill_page
from sepdict.reports.media import (
    CLIPPED,
    Look,
    embedded_rate,
    is_lossless,
    look_at,
    loudest,
    mask_picture,
    masks_of,
    picture,
    picture_url,
    sound_url,
    spectrogram,
)
from sepdict.separation.diagnostics import Timeline

NO_PATHS: Mapping[str, Path] = MappingProxyType({})
FAINTEST_GAIN_DB = -60.0  # below the loudest source's: where levels end and excitations fade to black
WIDEST_CODE = 2.5  # standard deviations
POOREST = 0.8  # steps with less explained energy are marked
SHORTEST_STEP_S = 0.25  # of explained energy over time
N_STEPS = 240  # of explained energy in a page, at most
N_LEVELS = 400  # points of a curve of levels
N_HUES = 6  # of stems, in player.css
N_POOREST = 3  # moments to jump to
APART_S = 1.0  # least distance between them, in seconds: closer ones sound like one
SOFTEST_DB = -30.0  # relative to the loudest step's energy: softer ones are not judged
ROUGH_DB = -60.0  # null test, relative to the mixture's peak: above it the difference can be heard
SCORES = {  # name of a score: heading of its column, and its meaning
    "si_sdr_db": ("SI-SDR", "scale-invariant signal to distortion: the figure to quote"),
    "si_sdr_improvement_db": ("gain", "how much better that is than for the mixture"),
    "sdr_db": ("SDR", "signal to distortion"),
    "sir_db": ("SIR", "signal to interference"),
    "sar_db": ("SAR", "signal to artifacts"),
}


def separation_page(
    manifest: Mapping[str, Any],
    stems: Mapping[str, Path],
    cards: Sequence[Card],
    timeline: Timeline,
    *,
    mixture: Path,
) -> str:
    """Return the page of one separated mixture.

    Parameters
    ----------
    manifest : mapping
        The content of ``manifest.json``. Its ``date``, ``seconds``, ``mask_estimator_s``, ``gain`` and ``excerpt`` may
        be missing.
    stems : mapping of name to Path
        The stems' present paths, which may differ from those in the manifest: their files may not be in place yet.
    cards : sequence of Card
        Of the manifest's dictionaries.
    timeline : Timeline
    mixture : Path
        The separated file: the manifest's mixture, or the excerpt of it.

    Returns
    -------
    str
        HTML. The page of a long mixture holds sound and pictures of its first minutes only (`media.SHOWN_S`).

    Raises
    ------
    AudioFileError
        If the mixture or a stem cannot be read.
    """
    name = Path(manifest["mixture"]["file"]).name
    paths = {"": mixture, **stems}  # no stem has an empty name
    looks = {stem: look_at(path) for stem, path in paths.items()}
    looks[""] = looks[""].softened(manifest.get("gain", 1.0))  # as the stems were
    sources = [card.source for card in cards]
    sound = _sound_facts(manifest, mixture, looks)
    tracks = _tracks(manifest, paths, looks, _excitations(timeline, sources, sound["shown_s"]), sound)
    data = {"tracks": tracks, "duration": sound["shown_s"], "total": sound["duration_s"], "sampleRate": sound["rate"]}
    return fill_page(
        "separation.html",
        scripts=("report.js", "copy.js"),
        data=data | {"spectrogramRate": manifest["mixture"]["sample_rate"]},
        title=name,
        manifest=manifest,
        manifest_text=to_json(manifest),
        sound=sound,
        cards=_with_files(manifest, cards),
        form=_form(manifest),
        trust=_trust(timeline, sound["duration_s"], has_rest=manifest["settings"]["residual"]),
        levels=_levels(timeline, sources),
        marks=svg.time_marks(sound["duration_s"]),
        loss=_loss(manifest["loss"]["curve"]),
        scores=None if manifest["scores"] is None else _scores(manifest["scores"], order=list(manifest["stems"])),
        command=_words(manifest["command"]),
        folder=Path.cwd(),
        date=manifest.get("date"),
        versions=_versions(),
    )


def evaluation_page(
    evaluation: Evaluation, *, title: str, paths: Mapping[str, Path] = NO_PATHS, command: Sequence[str] = ()
) -> str:
    """Return the page of an evaluation as HTML.

    Parameters
    ----------
    evaluation : Evaluation
    title : str
    paths : mapping of str to Path, optional
        The paths that were read, by their role: ``{"stems": Path("separated/duet"), ...}``.
    command : sequence of str, optional
        The words of the command that made the evaluation.

    Examples
    --------
    >>> from sepdict.evaluation.scoring import SourceScore
    >>> page = evaluation_page(Evaluation((SourceScore("<flute>", 1.5, 2, 3, 4, 5, silent=False),)), title="trio")
    >>> "&lt;flute&gt;" in page, "<flute>" in page
    (True, False)
    """
    return fill_page(
        "evaluation.html",
        scripts=("copy.js",) if command else (),
        title=title,
        paths=paths,
        scores=_scores(evaluation.as_dict()),
        command=_words(command),
        folder=Path.cwd(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
    )


def _sound_facts(manifest: Mapping[str, Any], mixture: Path, looks: Mapping[str, Look]) -> dict[str, Any]:
    """Describe how much of the sounds is embedded, and in which format."""
    with open_audio(mixture) as reader:
        lossless, rate = is_lossless(len(looks), reader), embedded_rate(reader.sample_rate)
        duration_s = reader.n_samples / reader.sample_rate
    peak = max(look.peak for look in looks.values())
    gain = min(1.0, CLIPPED / peak) if peak > 0 else 1.0
    facts = {"duration_s": duration_s, "shown_s": looks[""].shown_s, "rate": rate, "lossless": lossless, "gain": gain}
    return facts | {"softer_db": -_as_db(gain), "stems_db": _as_db(manifest.get("gain", 1.0))}


def _as_db(gain: float) -> float:
    """Express a gain in dB."""
    return 20 * math.log10(gain)


def _tracks(
    manifest: Mapping[str, Any],
    paths: Mapping[str, Path],
    looks: Mapping[str, Look],
    excitations: Mapping[str, Tensor],
    sound: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Return the tracks that the player plays and shows: the mixture, then the stems."""
    reference = loudest(looks[""].energy)
    masks = masks_of({name: look.energy for name, look in looks.items() if name}, looks[""].energy)
    hues = {source: number % N_HUES + 1 for number, source in enumerate(excitations)}
    tracks = []
    for name, path in paths.items():
        gain = sound["gain"] if name else sound["gain"] * manifest.get("gain", 1.0)
        track: dict[str, Any] = {
            "name": name or Path(manifest["mixture"]["file"]).name,
            "role": _role(name, manifest["settings"]),
            "url": sound_url(path, gain=gain, lossless=sound["lossless"]),
            "spectrogram": picture_url(spectrogram(looks[name].energy, reference)),
        }
        if name in masks:
            track["mask"] = picture_url(mask_picture(masks[name]))
        if name in excitations and track["role"] == "stem":
            drawn = picture(excitations[name], "berlin", lowest=-WIDEST_CODE, highest=WIDEST_CODE)
            track |= {"excitation": picture_url(drawn), "hue": hues[name]}
        tracks.append(track)
    return tracks


def _form(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the stems' format, and whether they sum to the mixture exactly or nearly."""
    name = manifest["settings"].get("format", "wav")
    return {"name": name.upper(), "lossy": not ENCODINGS[name], "rough": manifest["null_test_db"] > ROUGH_DB}


def _role(name: str, settings: Mapping[str, Any]) -> str:
    """Return the role of a track; the mixture has no name."""
    if not name:
        return "mixture"
    if name == settings.get("residual_name", RESIDUAL):
        return "residual"
    wanted = settings.get("two_stems")
    return "rest" if wanted is not None and name == f"no_{wanted}" else "stem"


def _with_files(manifest: Mapping[str, Any], cards: Sequence[Card]) -> list[tuple[Card, Path | None]]:
    """Return the dictionaries' cards, each with the path of its file if that is known."""
    files = {facts["source"]: Path(facts["file"]) for facts in manifest["dictionaries"] if "file" in facts}
    return [(card, files.get(card.source)) for card in cards]


def _words(command: Sequence[str]) -> list[str]:
    """Quote the words of a command for a shell."""
    return [shlex.quote(word) for word in command]


def _excitations(timeline: Timeline, sources: Sequence[str], shown_s: float) -> dict[str, Tensor]:
    """Return the excitations of the part that is shown, standardized, and faded to zero where their source is soft."""
    n_shown = max(1, round(shown_s / timeline.step_s))
    loudness = 1 - _gains_db(timeline) / FAINTEST_GAIN_DB  # (n_sources, n_columns), 1 at the loudest, 0 where silent
    pictures = {}
    for source, codes, weights in zip(sources, timeline.excitations, loudness, strict=True):
        total = weights.sum().clamp(min=1e-9)
        centered = codes - (weights * codes).sum(dim=1, keepdim=True) / total
        deviations = ((weights * centered.square()).sum(dim=1, keepdim=True) / total).sqrt()
        pictures[source] = (weights * centered / deviations.clamp(min=1e-9))[:, :n_shown]
    return pictures


def _gains_db(timeline: Timeline) -> Tensor:
    """Express all sources' gains in dB relative to the largest, `FAINTEST_GAIN_DB` at least: (n_sources, n_columns)."""
    largest = float(timeline.gains.max()) or 1.0
    return 20 * torch.log10((timeline.gains / largest).clamp(min=10 ** (FAINTEST_GAIN_DB / 20)))


def _levels(timeline: Timeline, sources: Sequence[str]) -> list[tuple[str, str, int]]:
    """Draw each source's level over time, in its hue."""
    n_joined = max(1, timeline.gains.shape[1] // N_LEVELS)
    gains_db = torch.nn.functional.avg_pool1d(_gains_db(timeline), n_joined, ceil_mode=True)
    outlines = [svg.area(row, FAINTEST_GAIN_DB, 0) for row in gains_db.tolist()]
    return [(*pair, number % N_HUES + 1) for number, pair in enumerate(zip(sources, outlines, strict=True))]


def _trust(timeline: Timeline, duration_s: float, *, has_rest: bool) -> dict[str, Any]:
    """Draw the explained energy over time as bars: good, poor, and faint ones, which are too soft to be judged.

    Where the rest has a stem of its own, none is poor: what is not explained is there.
    """
    step_s, explained = timeline.explained(max(SHORTEST_STEP_S, duration_s / N_STEPS))
    energy = torch.stack([part.sum() for part in timeline.energy.split(round(step_s / timeline.step_s))])
    judged = energy > 10 ** (SOFTEST_DB / 10) * energy.max()
    poor = judged & (explained < POOREST) & (not has_rest)
    kinds = {"good": judged & ~poor, "poor": poor, "faint": ~judged}
    bars = {kind: svg.bars(torch.where(there, explained, torch.nan).tolist(), 0, 1) for kind, there in kinds.items()}
    moments = _poorest(torch.where(poor, explained, torch.nan), step_s)
    return {"bars": bars, "poorest": moments, "poor_share": POOREST, "softest_db": SOFTEST_DB, "has_rest": has_rest}


def _poorest(shares: Tensor, step_s: float) -> list[tuple[float, float]]:
    """Find the moments of the lowest shares, as (time in s, share); leave out those next to a lower one."""
    chosen: list[int] = []
    n_apart = max(2, math.ceil(APART_S / step_s))
    for index in shares.argsort().tolist():
        near = any(abs(index - other) < n_apart for other in chosen)
        if not near and not shares[index].isnan() and len(chosen) < N_POOREST:
            chosen.append(index)
    return [(index * step_s, float(shares[index])) for index in sorted(chosen)]


def _loss(curve: Sequence[float]) -> dict[str, Any]:
    """Draw the cost per iteration, on a logarithmic scale if all costs are positive."""
    lowest, highest = min(curve), max(curve)
    if lowest > 0:
        outline = svg.line([math.log(cost) for cost in curve], math.log(lowest), math.log(highest))
    else:
        outline = svg.line(curve, lowest, highest)
    return {"outline": outline, "n_iterations": len(curve) - 1, "lowest": lowest, "highest": highest}


def _scores(evaluation: Mapping[str, Any], *, order: Sequence[str] = ()) -> dict[str, Any]:
    """Arrange the scores of `Evaluation.as_dict` in a table, each with the length of its bar, from 0 to 1.

    Sources named in ``order`` come first, in that order; the others follow in their own.
    """
    places = {source: place for place, source in enumerate(order)}
    sources = sorted(evaluation["sources"], key=lambda score: places.get(score["source"], len(places)))
    scores = [*sources, evaluation["mean"]]
    ratios = [math.nan if score[name] is None else float(score[name]) for score in scores for name in RATIOS]
    longest = max([1.0, *(abs(ratio) for ratio in ratios if math.isfinite(ratio))])
    cells = iter((ratio, 0.0 if math.isnan(ratio) else min(1.0, abs(ratio) / longest)) for ratio in ratios)
    rows = [(score["source"], [next(cells) for _ in RATIOS]) for score in scores]
    standard = f"SDR, SIR and SAR are those of BSS Eval v3, mir_eval {version('mir_eval')}"
    return {"columns": [SCORES[name] for name in RATIOS], "rows": rows, "standard": standard}


def _versions() -> dict[str, str]:
    """Return the versions of the programs that computed and read the files."""
    names = ("sepdict", "torch", "numpy", "soundfile")
    versions = {name: version(name) for name in names}
    return {"Python": platform.python_version(), **versions, "libsndfile": soundfile.__libsndfile_version__}
