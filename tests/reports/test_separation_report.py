"""The page of a separation: needs nothing but itself, believes no name, and holds what it says."""

import base64
import hashlib
import html.parser
import io
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from front_end import SAMPLE_RATE, fail, mixture, read_json, sound, succeed, trained, write_mixtures, write_references
from PIL import Image

import sepdict.reports.separation_report
from sepdict.audio.io import read_audio
from sepdict.audio.signal import Audio
from sepdict.audio.writing import write_audio
from sepdict.batch.config import BatchConfig
from sepdict.batch.layout import NO_FILES
from sepdict.batch.run import TrackResult, separate_files
from sepdict.dictionaries.dictionary import Dictionary
from sepdict.errors import ConfigError
from sepdict.evaluation.scoring import Evaluation, SourceScore
from sepdict.reports import media, svg
from sepdict.reports.html import join_modules
from sepdict.separation.config import FitConfig, SeparationConfig
from sepdict.separation.diagnostics import Timeline

DRAFT = SeparationConfig(FitConfig(n_iterations=3), mask_estimator=None)
WICKED = '<script>alert(1)<b title="x">&amp; \'ü“{{ 7 * 7 }}'
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}


@dataclass
class Page(html.parser.HTMLParser):
    """What is in a page."""

    tags: list[str] = field(default_factory=list)
    attributes: list[tuple[str, str]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.scripts += [""] if tag == "script" else []

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    @classmethod
    def of(cls, text: str) -> "Page":
        page = cls()
        page.feed(text)
        page.close()
        return page

    @property
    def data(self) -> Any:
        return json.loads(self.scripts[0])


def report(
    folder: Path,
    mixed: Audio,
    *,
    name: str = "song",
    dictionaries: list[Dictionary] | None = None,
    command: Sequence[str] = (),
    dictionary_files: Mapping[str, Path] = NO_FILES,
    **options: Any,
) -> tuple[TrackResult, Page]:
    """Separate a mixture with a report."""
    folder.mkdir(exist_ok=True)
    path = write_audio(folder / f"{name}.wav", mixed)
    sources = [trained("hiss"), trained("hum")] if dictionaries is None else dictionaries
    how = {name: options.pop(name) for name in SeparationConfig.__annotations__ if name in options}
    config = BatchConfig(replace(DRAFT, **how), report=True, **options)
    (result,) = separate_files(
        [path], sources, folder / "out", config, command=command, dictionary_files=dictionary_files
    )
    assert result.error is None, result.error
    assert result.report is not None
    return result, Page.of(result.report.read_text("utf-8"))


def redrawn(result: TrackResult, *, heard: Path | None = None, file: str | None = None, **facts: Any) -> Page:
    """Make the page of two stems again, as if its manifest said something else; settings are said in addition."""
    assert result.manifest is not None
    manifest = read_json(result.manifest)
    settings = manifest["settings"] | facts.pop("settings", {})
    ones = torch.ones(2, 50)
    timeline = Timeline(result.duration_s / 50, ones[0], 0.1 * ones[0], ones, (ones, ones))
    cards = [trained("hiss").card, trained("hum").card]
    manifest |= facts | {"settings": settings}
    manifest["mixture"]["file"] = file or manifest["mixture"]["file"]
    stems = {name: Path(path) for name, path in manifest["stems"].items()}
    heard = result.mixture if heard is None else heard
    return Page.of(sepdict.reports.separation_report.separation_page(manifest, stems, cards, timeline, mixture=heard))


def renamed(result: TrackResult, names: dict[str, str], *, gain: float = 1.0) -> dict[str, Path]:
    """Write stems again under other names, in other forms and with a gain: these, as a manifest has them."""
    stems = {}
    for old, new in names.items():
        stem = read_audio(result.stems[old])
        path = result.stems[old].with_name(new)
        soundfile.write(path, gain * stem.samples.T.numpy(), stem.sample_rate)
        stems[path.stem] = path
    return stems


def heard(url: str) -> tuple[np.ndarray, int]:
    """Decode an embedded sound, (n_samples, n_channels)."""
    return soundfile.read(io.BytesIO(base64.b64decode(url.partition(",")[2])), always_2d=True)


def seen(url: str) -> np.ndarray:
    """Decode an embedded picture, (n_rows, n_columns, 3), the lowest row at the bottom."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


def test_a_report_asks_nobody_for_anything(tmp_path: Path) -> None:
    result, page = report(tmp_path, mixture())
    assert result.report is not None
    links = [value for name, value in page.attributes if name in ("src", "href", "action", "poster", "srcset")]
    assert all(value.startswith(("data:", "#")) for value in links)
    assert set(re.findall(r"https?://[^\s\"'`)<]+", result.report.read_text("utf-8"))) <= NAMESPACES
    assert not re.search(r"@import|url\((?!data:)", result.report.read_text("utf-8"))
    policy = next(value for name, value in page.attributes if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; ")


def test_the_policy_allows_the_pages_own_script_and_no_other(tmp_path: Path) -> None:
    _, page = report(tmp_path, mixture())
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert next(value for _, value in page.attributes if "default-src" in value).endswith(
        f"script-src 'sha256-{digest}'"
    )
    assert "</" not in page.scripts[0] + page.scripts[1]


def test_names_are_shown_as_they_are_and_never_believed(tmp_path: Path) -> None:
    wicked = Dictionary(replace(trained("hum").card, source=WICKED), trained("hum").network)
    _, plain = report(tmp_path / "plain", mixture())
    result, page = report(
        tmp_path,
        mixture(),
        name=WICKED,
        dictionaries=[trained("hiss"), wicked],
        dictionary_files={WICKED: write_audio(tmp_path / f"{WICKED}.flac", sound())},
        command=["sepdict", "separate", WICKED],
    )
    assert page.tags.count("script") == plain.tags.count("script") == 2
    assert set(page.tags) == {*plain.tags, "code", "pre", "wbr"}
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count(WICKED) >= 4  # heading, legend, table, manifest
    assert [track["name"] for track in page.data["tracks"]] == [f"{WICKED}.wav", "hiss", WICKED]
    assert "49" not in re.findall(r"ü“(.{0,9})", page.text)
    assert set(result.stems) == {"hiss", WICKED}


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_the_sounds_embedded_are_those_of_the_files(tmp_path: Path, n_channels: int) -> None:
    result, page = report(tmp_path, mixture(n_channels=n_channels), residual=True)
    paths = [result.mixture, *result.stems.values()]
    assert [track["role"] for track in page.data["tracks"]] == ["mixture", "stem", "stem", "residual"]
    for track, path in zip(page.data["tracks"], paths, strict=True):
        samples, sample_rate = heard(track["url"])
        expected = read_audio(path).samples
        expected = expected if n_channels <= 2 else expected.mean(dim=0, keepdim=True)
        assert sample_rate == SAMPLE_RATE == page.data["sampleRate"]
        np.testing.assert_allclose(samples.T, expected.numpy(), atol=2**-15)


def test_the_stems_embedded_add_up_to_the_mixture_also_where_they_had_to_be_softer(tmp_path: Path) -> None:
    loud = mixture(n_channels=2)
    _, page = report(tmp_path, replace(loud, samples=2 * loud.samples / loud.samples.abs().max()))
    mixed, *stems = (heard(track["url"])[0] for track in page.data["tracks"])
    np.testing.assert_allclose(sum(stems), mixed, atol=3 * 2**-15)
    assert 0.5 < np.abs(mixed).max() <= 1
    assert re.search(r"All sounds in this page are \d\.\d dB softer than in their files, for some peaks are", page.text)


def test_masks_share_out_what_is_audible(tmp_path: Path) -> None:
    quiet_end = mixture(n_samples=16000)
    quiet_end.samples[:, 8000:] = 0
    _, page = report(tmp_path, quiet_end, residual=True)
    masks = [seen(track["mask"])[..., 0] / 255 for track in page.data["tracks"] if "mask" in track]
    assert len(masks) == 3
    half = masks[0].shape[1] // 2
    np.testing.assert_allclose(sum(masks)[:, : half - 2], 1, atol=0.02)
    assert not sum(masks)[:, half + 4 :].any()


def test_pictures_of_all_tracks_are_of_one_size_and_show_when_there_is_sound(tmp_path: Path) -> None:
    late = mixture(n_samples=16000)
    late.samples[:, :8000] = 0
    _, page = report(tmp_path, late)
    pictures = [seen(track["spectrogram"]) for track in page.data["tracks"]]
    assert {picture.shape for picture in pictures} == {(media.N_ROWS, 125, 3)}
    for picture in pictures:
        assert picture[:, :56].max() < 10  # windows of the separation reach back from the middle
        assert picture[:, 66:].max() > 100


def test_a_low_source_is_drawn_low(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "hum.wav", sound("hum"))
    low = media.look_at(path).energy.mean(dim=1)
    assert low.shape == (media.N_ROWS,)
    assert low[: media.N_ROWS // 2].sum() > 10 * low[-media.N_ROWS // 8 :].sum()
    drawn = media.picture(low[:, None], "gray", lowest=0, highest=float(low.max()))
    picture = seen(media.picture_url(drawn))[:, 0, 0]
    assert picture[len(picture) // 2 :].sum() > 10 * picture[: len(picture) // 8].sum()  # the lower half, at the bottom


def test_a_file_read_in_blocks_looks_as_it_does_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_audio(tmp_path / "song.wav", mixture(n_samples=30001, n_channels=2))
    whole = media.look_at(path)
    monkeypatch.setattr(media, "BLOCK_FRAMES", 7)
    blocks = media.look_at(path)
    torch.testing.assert_close(blocks.energy, whole.energy, rtol=1e-5, atol=1e-9)
    assert blocks.peak == whole.peak


def test_excitations_are_drawn_for_each_dictionary_and_not_for_the_rest(tmp_path: Path) -> None:
    _, page = report(tmp_path, mixture(), background_model=True)
    drawn = {track["name"]: seen(track["excitation"]).shape for track in page.data["tracks"] if "excitation" in track}
    assert list(drawn) == ["hiss", "hum"]
    assert {shape[0] for shape in drawn.values()} == {2}  # dimensions of the code


def test_of_a_long_track_the_page_holds_the_beginning_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "SHOWN_S", 0.5)
    _, page = report(tmp_path, mixture(n_samples=16000))
    assert (page.data["duration"], page.data["total"]) == (0.5, 2.0)
    assert all(len(heard(track["url"])[0]) == 4000 for track in page.data["tracks"])
    assert "This page has the first 0:00" in page.text
    beyond = [name for name in page.attributes if name == ("class", "chart-beyond")]
    assert len(beyond) == 3  # what is explained, and two levels


def test_large_sounds_are_compressed_and_the_page_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "LOSSLESS_BYTES", 1000)
    result, page = report(tmp_path, mixture(n_samples=16000))
    assert all(track["url"].startswith("data:audio/mpeg;base64,") for track in page.data["tracks"])
    assert "compressed copies (MP3)" in page.text
    samples, sample_rate = heard(page.data["tracks"][0]["url"])
    assert sample_rate == SAMPLE_RATE
    assert (
        np.corrcoef(samples[:16000, 0], read_audio(result.mixture).samples[0])[0, 1] > 0.7
    )  # noise, which MP3 simplifies


def test_a_page_is_no_larger_than_its_sounds_and_pictures_need(tmp_path: Path) -> None:
    result, page = report(tmp_path, mixture(n_samples=16000, n_channels=2))
    assert result.report is not None
    embedded = sum(len(value) for track in page.data["tracks"] for value in map(str, track.values()))
    assert result.report.stat().st_size < embedded + 110_000  # the page and its player
    assert embedded < 4 / 3 * 3 * (16000 * 2 * 2 + 60_000)  # 16 bits, and pictures


def test_silence_has_a_report(tmp_path: Path) -> None:
    _, page = report(tmp_path, Audio(torch.zeros(1, 8000), SAMPLE_RATE))
    assert "The mixture is silent" in page.text
    assert "nan" not in page.scripts[0].lower()
    assert not any(name == "d" and "nan" in value for name, value in page.attributes)


def test_one_dictionary_leaves_a_residual_to_hear(tmp_path: Path) -> None:
    _, page = report(tmp_path, mixture(), dictionaries=[trained("hum")])
    assert [track["role"] for track in page.data["tracks"]] == ["mixture", "stem", "residual"]


def test_a_report_tells_scores_versions_and_the_command(tmp_path: Path) -> None:
    references = write_references(tmp_path / "references")
    result, page = report(tmp_path, mixture(), references=references, command=["sepdict", "separate", "a b"])
    assert result.evaluation is not None
    assert f"{result.evaluation.mean.si_sdr_db:.2f}" in page.text
    assert "sepdict separate 'a b'" in page.text
    assert f"torch {torch.__version__.partition('+')[0]}" in page.text
    assert read_json(result.manifest)["command"] == ["sepdict", "separate", "a b"]


def test_a_report_says_from_how_much_sound_a_dictionary_was_learned_in_seconds_where_that_is_little(
    tmp_path: Path,
) -> None:
    result, _ = report(tmp_path, mixture())
    page = redrawn(result)
    assert "2.0 s of sound in 1 recording" in page.text
    assert page.text.count("not kept in a file") == 2  # of the dictionaries


def test_a_report_says_when_it_was_made_and_how_long_that_took(tmp_path: Path) -> None:
    result, _ = report(tmp_path, mixture())
    page = redrawn(result, date="2026-03-01T12:34:56Z", seconds=83.2)
    assert "2026-03-01, 12:34 UTC" in page.text
    assert ("datetime", "2026-03-01T12:34:56Z") in page.attributes
    assert re.search(r"separated in\s*1 min 23 s\s*\n", page.text)
    learned = redrawn(result, seconds=3.7, mask_estimator_s=140.0)
    assert "3.7 s after 2 min 20 s of learning to tell the sources apart" in learned.text
    assert "of learning" not in redrawn(result, seconds=3.7, mask_estimator_s=0.02).text
    assert "of learning" not in page.text  # of a test's own settings nothing is learned


def test_every_word_of_the_command_stays_whole_and_all_of_them_are_the_command(tmp_path: Path) -> None:
    words = ["sepdict", "separate", "a b/c.wav", "--quality=draft"]
    result, page = report(tmp_path, mixture(), command=words)
    assert result.report is not None
    (command,) = re.findall(r'<pre class="command" id="command">(.*?)</pre>', result.report.read_text("utf-8"))
    shown = command.replace("<wbr>", "").replace("&#39;", "'")
    assert shown == " ".join(f"<span>{shlex.quote(word)}</span>" for word in words)
    assert shlex.join(words) in page.text


def test_a_report_says_where_its_command_runs_and_that_it_would_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, page = report(tmp_path, mixture(), command=["sepdict", "separate", "song.wav"])
    assert f"Run it in {tmp_path}; add --overwrite to replace what it made." in page.text
    _, page = report(tmp_path, mixture(), command=["sepdict", "separate", "song.wav", "--overwrite"], overwrite=True)
    assert f"Run it in {tmp_path}." in page.text
    _, page = report(tmp_path, mixture(), overwrite=True)
    assert "Run it" not in page.text


def shared_out(explained: Sequence[float], energy: Sequence[float], *, has_rest: bool = False) -> dict[str, Any]:
    """Make what a page shows of shares explained and of energies, in steps of a quarter of a second."""
    loud = torch.tensor(energy)
    error = loud * (1 - torch.tensor(explained))
    timeline = Timeline(0.25, loud, error, torch.ones(1, len(loud)), (torch.ones(1, len(loud)),))
    return sepdict.reports.separation_report._trust(timeline, 0.25 * len(loud), has_rest=has_rest)


def test_soft_steps_are_neither_drawn_as_poor_nor_listed() -> None:
    trust = shared_out([0.9, 0.5, 0.4, 0.9], [1, 1, 1e-4, 0])
    assert trust["bars"] == {
        "good": svg.bars([0.9, np.nan, np.nan, np.nan], 0, 1),
        "poor": svg.bars([np.nan, 0.5, np.nan, np.nan], 0, 1),
        "faint": svg.bars([np.nan, np.nan, 0.4, np.nan], 0, 1),
    }
    assert trust["poorest"] == [(0.25, pytest.approx(0.5))]


def test_nothing_is_poor_where_the_rest_has_a_stem_of_its_own(tmp_path: Path) -> None:
    trust = shared_out([0.9, 0.5], [1, 1], has_rest=True)
    assert trust["bars"] == {"good": svg.bars([0.9, 0.5], 0, 1), "poor": svg.bars([np.nan] * 2, 0, 1), "faint": ""}
    assert trust["poorest"] == []
    _, page = report(tmp_path, mixture(n_samples=16000), residual=True)
    assert "All else is in the stem residual." in page.text
    assert "80 %" not in page.text


def test_only_what_is_poor_is_listed_and_moments_are_apart() -> None:
    assert shared_out([0.85, 0.81, 0.95], [1, 1, 1])["poorest"] == []
    shares = [0.9] * 40
    shares[3:6] = [0.6, 0.5, 0.55]  # one moment
    shares[20] = shares[30] = shares[35] = 0.7
    moments = shared_out(shares, [1] * 40)["poorest"]
    assert moments[0] == (1.0, pytest.approx(0.5))
    assert [start_s for start_s, _ in moments[1:]] in ([5.0, 7.5], [5.0, 8.75], [7.5, 8.75])


def test_a_page_says_what_its_bars_are(tmp_path: Path) -> None:
    result, _ = report(tmp_path, mixture(n_samples=16000))
    assert "Nowhere is less than 80 % explained." in redrawn(result).text  # of which 90 % is, all of it as loud
    late = mixture(n_samples=16000)
    late.samples[:, :8000] *= 1e-3
    _, page = report(tmp_path, late, overwrite=True)
    assert "too soft to judge by: over 30 dB below the loudest moment" in page.text
    assert "too soft" not in redrawn(result).text


def test_scores_come_in_the_order_of_the_stems(tmp_path: Path) -> None:
    result, _ = report(tmp_path, mixture())
    scores = [SourceScore(name, *[1.0] * 5, silent=False) for name in ("harp", "hiss", "hum")]
    stems = dict(reversed(list(result.stems.items())))
    assert list(stems) == ["hum", "hiss"]
    page = redrawn(result, scores=Evaluation(tuple(scores)).as_dict(), stems={n: str(p) for n, p in stems.items()})
    table = page.text[page.text.index("Compared with the true sources") : page.text.index("all in dB")]
    assert re.findall(r"\b(hum|hiss|harp|mean)\b", table) == ["hum", "hiss", "harp", "mean"]


def test_the_player_marks_the_frequencies_that_pictures_are_drawn_of(tmp_path: Path) -> None:
    script = join_modules(["player.js"])
    (lowest,), (highest,) = (re.findall(rf"^const {name}_HZ = (\d+);", script, re.M) for name in ("LOWEST", "HIGHEST"))
    assert (float(lowest), float(highest)) == (media.LOWEST_HZ, media.HIGHEST_HZ)
    odd = replace(mixture(), sample_rate=9000)
    path = write_audio(tmp_path / "odd.wav", odd)
    config = BatchConfig(DRAFT, report=True)
    (result,) = separate_files([path], [trained("hiss")], tmp_path / "out", config)
    assert result.report is not None
    data = Page.of(result.report.read_text("utf-8")).data
    assert (data["spectrogramRate"], data["sampleRate"]) == (9000, 8000)  # of the files, and of the sounds in the page


@pytest.mark.parametrize("form", ["flac", "mp3", "ogg"])
def test_stems_may_be_of_any_form(tmp_path: Path, form: str) -> None:
    result, before = report(tmp_path, mixture(n_samples=16000))
    after = redrawn(result, stems=renamed(result, {name: f"{name}.{form}" for name in ("hiss", "hum")}))
    for one, other in zip(before.data["tracks"][1:], after.data["tracks"][1:], strict=True):
        assert {name: other[name] for name in ("name", "role", "hue")} == {
            name: one[name] for name in ("name", "role", "hue")
        }
        assert seen(other["mask"]).shape == seen(one["mask"]).shape
        expected, found = (heard(track["url"])[0] for track in (one, other))
        if form == "flac":
            np.testing.assert_allclose(found, expected, atol=2**-14)
        assert np.corrcoef(found[:16000, 0], expected[:, 0])[0, 1] > 0.6  # noise, which compression simplifies


def test_the_residual_is_what_the_settings_call_it(tmp_path: Path) -> None:
    result, _ = report(tmp_path, mixture(), residual=True)
    stems = renamed(result, {"hiss": "hiss.wav", "hum": "hum.wav", "residual": "noise.wav"})
    called = redrawn(result, stems=stems, settings={"residual_name": "noise"}).data["tracks"]
    assert [track["role"] for track in called] == ["mixture", "stem", "stem", "residual"]
    none = redrawn(result, stems=stems, settings={"residual_name": None}).data["tracks"]
    assert [track["role"] for track in none] == ["mixture", "stem", "stem", "stem"]


def test_of_two_stems_one_is_everything_else_and_the_other_has_its_own_color(tmp_path: Path) -> None:
    result, _ = report(tmp_path, mixture())
    stems = renamed(result, {"hum": "hum.wav", "hiss": "no_hum.wav"})
    page = redrawn(result, stems=stems, settings={"two_stems": "hum"})
    assert [(track["name"], track["role"]) for track in page.data["tracks"][1:]] == [
        ("hum", "stem"),
        ("no_hum", "rest"),
    ]
    assert ["excitation" in track for track in page.data["tracks"]] == [False, True, False]
    assert page.data["tracks"][1]["hue"] == 2  # as in the charts, where all dictionaries are


def test_where_all_stems_are_softer_the_mixture_is_played_as_soft_and_the_page_says_so(tmp_path: Path) -> None:
    result, plain = report(tmp_path, mixture(n_channels=2))
    gain = 10 ** (-1.6 / 20)
    stems = renamed(result, {"hiss": "hiss.flac", "hum": "hum.flac"}, gain=gain)
    page = redrawn(result, stems=stems, gain=gain)
    mixed, *parts = (heard(track["url"])[0] for track in page.data["tracks"])
    np.testing.assert_allclose(mixed.T, gain * read_audio(result.mixture).samples.numpy(), atol=2**-15)
    np.testing.assert_allclose(sum(parts), mixed, atol=5 * 2**-15)
    assert "In their files all stems are 1.6 dB softer than the mixture so that none clips" in page.text
    assert "in this page the mixture is made as soft" in page.text
    assert "softer" not in plain.text
    for track, before in zip(page.data["tracks"], plain.data["tracks"], strict=True):
        difference = seen(track["spectrogram"]).astype(int) - seen(before["spectrogram"])
        assert np.abs(difference).mean() < 2  # drawn to the softer mixture's scale


def test_of_stems_and_page_softened_both_the_page_says_by_how_much_more(tmp_path: Path) -> None:
    loud = mixture(n_channels=2)
    loud = replace(loud, samples=4 * loud.samples / loud.samples.abs().max())
    result, _ = report(tmp_path, loud)
    stems = renamed(result, {"hiss": "hiss.flac", "hum": "hum.flac"}, gain=0.5)
    page = redrawn(result, stems=stems, gain=0.5)
    softer_db = 20 * np.log10(2 / 0.99)
    assert "all stems are 6.0 dB softer than the mixture" in page.text
    assert f"All sounds in this page are another {softer_db:.1f} dB softer, for some" in page.text
    mixed = heard(page.data["tracks"][0]["url"])[0]
    assert np.abs(mixed).max() == pytest.approx(4 * 10 ** (-(6.02 + softer_db) / 20), rel=0.01)


@pytest.mark.parametrize(
    ("settings", "null_test_db", "rough"),
    [({"format": "wav"}, -140.0, False), ({"format": "flac", "bit_depth": "16"}, -74.0, False),
     ({"format": "flac", "clip_mode": "clamp"}, -16.6, True), ({"format": "mp3"}, -18.8, True)],
)  # fmt: skip
def test_a_page_says_how_well_the_stems_add_up_as_they_are_in_their_files(
    tmp_path: Path, settings: dict[str, Any], null_test_db: float, rough: bool
) -> None:
    result, _ = report(tmp_path, mixture())
    page = redrawn(result, settings=settings, null_test_db=null_test_db)
    text = " ".join(page.text.split())
    assert f"{null_test_db:.0f} dB" in text
    assert (f"as {settings['format'].upper()} has them" in text) == rough
    assert ("which add up to the mixture, but for what was lost in their files. Solo" in text) == rough
    assert ("those of the stems were made of MP3 files" in text) == (settings["format"] == "mp3")


def test_of_an_excerpt_the_page_plays_and_times_the_excerpt_and_says_which_it_is(tmp_path: Path) -> None:
    result, _ = report(tmp_path, mixture(n_samples=16000))
    excerpt = write_audio(tmp_path / "excerpt.wav", read_audio(result.mixture))
    page = redrawn(result, heard=excerpt, file="gone/whole.wav", excerpt={"start_s": 72.5, "duration_s": 2.0})
    assert [track["name"] for track in page.data["tracks"]] == ["whole.wav", "hiss", "hum"]
    assert (page.data["duration"], page.data["total"]) == (2.0, 2.0)
    np.testing.assert_allclose(
        heard(page.data["tracks"][0]["url"])[0].T, read_audio(excerpt).samples.numpy(), atol=2**-15
    )
    assert re.search(r"part of the recording\s*1:12 to 1:14", page.text)
    assert "Only a part of the recording was separated: 2.0 s from 1 min 12 s on" in page.text
    assert "Only a part" not in redrawn(result, excerpt=None).text


def test_the_manifest_tells_what_is_explained_when(tmp_path: Path) -> None:
    late = mixture(n_samples=32000)
    late.samples[:, :16000] = 0
    result, _ = report(tmp_path, late)
    over_time = read_json(result.manifest)["explained_over_time"]
    assert over_time["step_s"] == pytest.approx(1, abs=0.05)
    assert over_time["shares"][0] is None
    assert 0 <= over_time["shares"][-1] <= 1
    assert read_json(result.manifest)["report"] == str(result.report)


def test_a_report_that_is_not_asked_for_again_goes_with_what_it_was_of(tmp_path: Path) -> None:
    result, _ = report(tmp_path, mixture())
    sources = [trained("hiss"), trained("hum")]
    again = BatchConfig(DRAFT, overwrite=True)
    (later,) = separate_files([result.mixture], sources, tmp_path / "out", again)
    assert later.report is None
    assert {path.name for path in (tmp_path / "out/song").iterdir()} == {"hiss.wav", "hum.wav", "manifest.json"}


def test_a_report_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "out/song").mkdir(parents=True)
    (tmp_path / "out/song/report.html").write_text("mine")
    with pytest.raises(ConfigError, match=r"report\.html: exists already"):
        report(tmp_path, mixture())
    assert (tmp_path / "out/song/report.html").read_text() == "mine"


def test_several_processes_write_a_report_each(tmp_path: Path) -> None:
    paths = write_mixtures(tmp_path / "mixtures", "one", "two")
    sources = [trained("hiss"), trained("hum")]
    results = separate_files(paths, sources, tmp_path / "out", BatchConfig(DRAFT, report=True, n_jobs=2))
    for result, name in zip(results, ["one", "two"], strict=True):
        assert result.report == tmp_path / "out" / name / "report.html"
        assert f"<h1>{name}.wav</h1>" in result.report.read_text()


def test_a_report_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sepdict.batch.track.separation_page", full)
    (path,) = write_mixtures(tmp_path / "mixtures", "song")
    (result,) = separate_files([path], [trained("hiss")], tmp_path / "out", BatchConfig(DRAFT, report=True))
    assert result.error is not None
    assert "No space left" in result.error
    assert not (tmp_path / "out").exists()


def test_outlines_stay_in_their_box() -> None:
    outline = "".join(draw([-1.0, 0.3, 2.0], 0, 1) for draw in (svg.bars, svg.line, svg.area))
    points = [float(number) for number in re.findall(r"V([\d.]+)|,([\d.]+)", outline) for number in number if number]
    assert (min(points), max(points)) == (0, 100)


@pytest.mark.parametrize("duration_s", [0.4, 1, 11.6, 300, 1200, 3601, 40000, 400000])
def test_marked_times_are_few_and_round_and_where_they_say(duration_s: float) -> None:
    marks = svg.time_marks(duration_s)
    assert marks[0] == (0, 0)
    assert len(marks) <= svg.N_MARKS + 1
    assert len(marks) >= 3 or duration_s < 2
    for time_s, share in marks:
        assert time_s == int(time_s)
        assert share * duration_s == pytest.approx(time_s)
        assert share <= 1


def test_the_command_says_where_the_report_is(tmp_path: Path) -> None:
    (path,) = write_mixtures(tmp_path / "mixtures", "song")
    file = trained("hiss").save(tmp_path / "hiss.safetensors")
    lines = succeed("separate", path, "-d", file, "-o", tmp_path / "out", "--report", "--quiet")
    assert lines[-1] == str(tmp_path / "out/song/report.html")
    table = succeed("separate", path, "-d", file, "-o", tmp_path / "out", "--report", "--overwrite")
    assert table[-1] == str(tmp_path / "out/song/report.html")


def test_evaluate_writes_its_scores_as_a_page(tmp_path: Path) -> None:
    references = write_references(tmp_path / "references")
    arguments = ["evaluate", references, references, "--report", tmp_path / "scores.html"]
    printed = "\n".join(succeed(*arguments))
    page = Page.of((tmp_path / "scores.html").read_text("utf-8"))
    assert len(page.scripts) == 1  # copies the command
    assert "sepdict" in page.text
    assert f"torch {torch.__version__.partition('+')[0]}" in page.text
    assert "hiss" in printed
    assert all(word in page.text for word in ("hiss", "hum", "mean", "SI-SDR", "inf"))
    text = (tmp_path / "scores.html").read_text("utf-8")
    assert "<h1>references against references</h1>" in text
    assert all(f"{what}: {references}" in page.text for what in ("stems", "references"))
    assert f"Run it in {Path.cwd()}; add --overwrite" in page.text
    before = (tmp_path / "scores.html").read_bytes()
    assert "exists already" in fail(*arguments)
    assert (tmp_path / "scores.html").read_bytes() == before
    succeed(*arguments, "--overwrite")


def test_a_page_of_scores_that_no_command_asked_for_has_no_script() -> None:
    evaluation = Evaluation((SourceScore("hum", *[1.0] * 5, silent=False),))
    page = Page.of(sepdict.reports.separation_report.evaluation_page(evaluation, title="stems/of/songs"))
    assert "script" not in page.tags
    assert any(value.endswith("script-src 'none'") for _, value in page.attributes)
    assert "How to do it again" not in page.text
    asked = Page.of(
        sepdict.reports.separation_report.evaluation_page(
            evaluation, title="x", command=["sepdict", "evaluate", "a b/c"]
        )
    )
    assert "sepdict evaluate 'a b/c'" in asked.text


def test_bars_of_scores_are_as_long_as_they_say() -> None:
    worse = SourceScore("worse", -5.0, -5.0, 2.5, float("inf"), 10.0, silent=False)
    silent = SourceScore("silent", *[float("nan")] * 5, silent=True)
    text = sepdict.reports.separation_report.evaluation_page(Evaluation((worse, silent)), title="x")
    assert text.count("bar negative") == 4  # SI-SDR and gain, of the source and of the mean
    assert [float(share) for share in re.findall(r'="--share: ([\d.]+)', text)[:5]] == [0.5, 0.5, 0.25, 1, 1]
    assert text.count("\N{EN DASH}") == 5
