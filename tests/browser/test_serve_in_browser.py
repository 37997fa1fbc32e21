"""The page of `sepdict serve` in a real browser, from the first file to the last stem."""

import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from front_end import SAMPLE_RATE, TINY, mixture, sound, trained, write_bad
from web_page import SIZES, SLOW, Server, held, make_endless, opened, separate_draft, train, unfold

from sepdict import Dictionary, TrainingConfig, read_audio, write_audio

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: uv run --group browser")
expect = sync_api.expect
expect.set_options(timeout=120_000)

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sounds")
    made = {
        "mix": mixture(n_samples=4 * SAMPLE_RATE, n_channels=2),
        "solo 1": sound("hiss", n_samples=2 * SAMPLE_RATE, seed=4),
        "solo 2": sound("hiss", n_samples=2 * SAMPLE_RATE, seed=5),
        "too large": sound(n_samples=200_000),
    }
    paths = {name: write_audio(folder / f"{name}.wav", audio) for name, audio in made.items()}
    paths["mix 2"] = write_audio(folder / "mix 2.wav", mixture(n_samples=2 * SAMPLE_RATE, seed=1))
    paths["bad"] = write_bad(folder / "bad.wav", "damaged FLAC")
    paths["no sound"] = folder / "notes <img src=x>.txt"
    paths["no sound"].write_text("these are words\n" * 100)
    return paths


@pytest.mark.parametrize("size", list(SIZES))
def test_from_solos_and_a_mixture_to_stems(
    size: str, browser: Any, server: Server, sounds: dict[str, Path], tmp_path: Path
) -> None:
    with opened(browser, server, size) as page:
        expect(page.get_by_role("button", name="Separate")).to_be_disabled()
        page.set_input_files("#mixture input[type=file]", sounds["mix"])
        expect(page.get_by_text("4 s, 8 kHz, stereo")).to_be_visible()
        train(page, sounds)
        expect(page.get_by_role("checkbox", name="hiss")).to_be_checked()
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_role("button", name="Separate").click()
        expect(page.get_by_text("of the mixture's energy is explained")).to_be_visible()
        expect(page.locator("#player")).to_be_in_viewport(ratio=0.8)  # on phones it is as high as that

        player = page.locator("#player")
        page.get_by_role("button", name="Play").click()
        expect(player).to_have_attribute("data-state", "playing")
        expect(page.locator(".player-now")).to_have_text(re.compile(r"0:0[1-4]\.\d"))
        audible = "[...document.querySelectorAll('.player-track')].map((track) => track.dataset.audible)"
        assert page.evaluate(audible) == ["false", "true", "true"]
        page.get_by_role("button", name="Solo hiss").click()
        stems = page.locator(".player-name").all_inner_texts()
        assert page.evaluate(audible) == [str(name == "hiss").lower() for name in stems]
        page.get_by_role("button", name="Solo hiss").click()
        page.get_by_role("button", name="Mute hum").click()
        assert page.evaluate(audible) == [str(name == "hiss").lower() for name in stems]
        assert page.evaluate("[...document.querySelectorAll('.player-lane img')].every((each) => each.naturalWidth)")

        files = {}
        for link in ("hum", "hiss", "All as zip"):
            with page.expect_download() as download:
                page.get_by_role("link", name=link, exact=True).click()
            files[download.value.suggested_filename] = download.value.path()
        assert set(files) == {"hum.wav", "hiss.wav", "mix.zip"}
        with zipfile.ZipFile(files["mix.zip"]) as archive:
            assert set(archive.namelist()) == {"hum.wav", "hiss.wav", "separation.json"}
        whole = read_audio(files["hum.wav"]).samples + read_audio(files["hiss.wav"]).samples
        torch.testing.assert_close(whole, read_audio(sounds["mix"]).samples, rtol=0, atol=1e-6)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("size", list(SIZES))
def test_several_mixtures_with_a_bad_one_among_them(
    size: str, browser: Any, server: Server, sounds: dict[str, Path]
) -> None:
    with opened(browser, server, size) as page:
        page.set_input_files(
            "#mixture input[type=file]", [sounds[name] for name in ("mix", "solo 1", "bad", "no sound")]
        )
        expect(page.locator("#mixture > .notice")).to_contain_text(sounds["no sound"].name)
        page.set_input_files("#mixture input[type=file]", sounds["mix 2"])
        page.get_by_role("button", name="Remove solo 1.wav").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("3 recordings, 8 s together")).to_be_visible()
        expect(page.get_by_role("button", name="Remove bad.wav")).to_be_focused()
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_label("Better quality").uncheck()
        page.get_by_role("button", name="Separate all 3").click()
        expect(page.locator("#listen > .progress")).to_contain_text("of 3, ")
        lines = page.locator("#results li")
        expect(page.get_by_role("radio", name="mix.wav")).to_be_checked()
        expect(lines.nth(1)).to_contain_text("damaged or cut short")
        page.get_by_role("radio", name="mix 2.wav").check()
        expect(page.locator("#outcome")).to_contain_text("mix 2.wav: ")
        expect(page.locator(".player-clock")).to_contain_text("0:02.0")
        page.get_by_role("button", name="Play").click()
        expect(page.locator("#player")).to_have_attribute("data-state", "playing")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

        files, inside = {}, ["hum.wav", "residual.wav", "separation.json"]
        for link in ("Stems of mix.wav as zip", "Everything as one zip"):
            with page.expect_download() as download:
                page.get_by_role("link", name=link, exact=True).click()
            with zipfile.ZipFile(download.value.path()) as archive:
                files[download.value.suggested_filename] = archive.namelist()
        assert files == {
            "mix.zip": inside,
            "separated.zip": [f"{folder}/{name}" for folder in ("mix", "mix 2") for name in inside],
        }

        unfold(page, "mixture")
        page.get_by_role("button", name="Remove bad.wav").click()
        page.set_input_files("#mixture input[type=file]", sounds["solo 1"])
        asked = []
        page.on("request", lambda request: asked.append(request) if "/separations?" in request.url else None)
        page.get_by_role("button", name="Separate all 3").click()
        expect(page.get_by_role("radio", name="solo 1.wav")).to_be_visible()
        assert len(asked) == 1  # the others are there
        expect(page.get_by_role("radio", name="mix 2.wav")).to_be_checked()


def test_canceling_ends_what_has_not_begun_and_leaves_what_is_done(
    browser: Any, server: Server, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_endless = iter([False, True, True, False, False])
    make_endless(server.app.state.service.queue, monkeypatch, is_endless)
    with opened(browser, server) as page:
        page.set_input_files("#mixture input[type=file]", [sounds[name] for name in ("mix", "solo 1", "mix 2")])
        expect(page.get_by_role("button", name="Separate all 3")).to_be_visible()
        page.get_by_role("checkbox", name="hum").check()
        page.get_by_label("Better quality").uncheck()
        page.get_by_role("button", name="Separate all 3").click()
        expect(page.get_by_text("2 of 3, solo 1.wav: Taking the mixture apart")).to_be_visible()
        page.locator("#listen > .progress").get_by_role("button", name="Cancel").click()
        lines = page.locator("#results li")
        expect(lines.nth(1)).to_contain_text("canceled")
        expect(lines.nth(2)).to_contain_text("canceled")
        expect(page.get_by_role("radio", name="mix.wav")).to_be_checked()
        page.get_by_role("button", name="Separate all 3").click()  # goes on where it was canceled
        expect(page.get_by_role("radio", name="mix 2.wav")).to_be_visible()
        assert next(is_endless, None) is None


def test_what_no_dictionary_knows_is_asked_for_where_that_means_something(
    browser: Any, server: Server, sounds: dict[str, Path]
) -> None:
    with opened(browser, server) as page:
        residual, background_model = (
            page.get_by_label("Make a stem of the rest"),
            page.get_by_label("Learn the rest on the spot"),
        )
        expect(residual).to_be_visible()
        expect(background_model).to_be_hidden()
        residual.check()
        expect(background_model).to_be_visible()
        page.get_by_role("checkbox", name="hum").check()
        expect(page.get_by_text("With a single source")).to_be_visible()
        expect(residual).to_be_hidden()
        expect(background_model).to_be_hidden()  # there always is one
        page.get_by_label("Better quality").uncheck()
        background_model.check()
        page.set_input_files("#mixture input[type=file]", sounds["mix 2"])
        with page.expect_request("**/api/separations?*") as asked:
            page.get_by_role("button", name="Separate").click()
        assert asked.value.post_data_json["background_model"] is True
        expect(page.locator(".player-track[data-role=residual]")).to_be_visible()


def test_a_dictionary_that_is_kept_is_there_next_time(
    browser: Any, server: Server, sounds: dict[str, Path], library: Path
) -> None:
    with opened(browser, server) as page:
        train(page, sounds, "rain <u>")
        page.get_by_role("button", name="Keep").click()
        expect(page.get_by_text("kept", exact=True)).to_be_visible()
    with opened(browser, server) as page:
        expect(page.get_by_role("checkbox", name="rain <u>")).to_be_visible()
    for path in library.iterdir():
        if path.name != "hum.safetensors":
            path.unlink()


def test_a_dictionary_can_be_heard_alone(browser: Any, server: Server) -> None:
    with opened(browser, server) as page:
        with page.expect_response("**/sound.wav") as response:
            page.get_by_role("button", name="Hear hum").click()
        assert response.value.ok
        expect(page.locator("#sources > .notice")).to_be_hidden()


def test_what_cannot_be_used_is_said_in_one_line(browser: Any, server: Server, sounds: dict[str, Path]) -> None:
    with opened(browser, server) as page:
        notice = page.locator("#mixture > .notice")
        page.set_input_files("#mixture input[type=file]", sounds["no sound"])
        expect(notice).to_contain_text("expected an audio or video file")
        expect(notice).to_contain_text("<img src=x>")
        assert "Traceback" not in notice.inner_text()
        page.set_input_files("#mixture input[type=file]", sounds["too large"])
        expect(notice).to_contain_text("too large.wav: is too large; expected 0 MiB at most")
        page.get_by_role("button", name="Dismiss").click()
        expect(notice).to_be_hidden()
        page.set_input_files("#sources .actions input[type=file]", sounds["no sound"])
        expect(page.locator("#sources > .notice")).to_contain_text("dictionary")


def test_a_training_can_be_cancelled_and_begun_anew(browser: Any, server: Server, sounds: dict[str, Path]) -> None:
    service = server.app.state.service
    service.training = TrainingConfig(network=TINY.network, exemplars_s=0, **SLOW)
    with opened(browser, server) as page:
        train(page, sounds, kind="Quick")
        expect(page.get_by_text("Learning the sound")).to_be_visible()
        expect(page.locator("#remarks")).to_contain_text("4 s of sound is little")
        page.locator("#learning .progress").get_by_role("button", name="Cancel").click()
        expect(page.locator("#learning .progress")).to_be_hidden()
        service.training = TINY
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.get_by_role("checkbox", name="hiss learned from 4 s at 8 kHz, quick")).to_be_checked()
        expect(page.locator("#sources > .notice.calm")).to_have_text(
            re.compile(r"hiss is ready\. Note: 4 s .*\.Dismiss")
        )


def test_when_the_server_ends_the_page_says_so_and_goes_on_when_it_is_back(
    browser: Any, library: Path, sounds: dict[str, Path]
) -> None:
    server = Server(library, TrainingConfig(network=TINY.network, exemplars_s=0, **SLOW))
    try:
        with opened(browser, server) as page:
            page.set_input_files("#mixture input[type=file]", sounds["mix"])
            expect(page.get_by_text("4 s, 8 kHz, stereo")).to_be_visible()
            train(page, sounds)
            expect(page.get_by_text("Learning the sound")).to_be_visible()
            server.end()
            expect(page.get_by_text("The server does not answer; trying again")).to_be_visible()
            expect(page.locator("#silence")).to_be_visible()
            server.begin()
            expect(page.locator("#silence")).to_be_hidden()
            said = page.locator("#session > .notice")
            expect(said).to_contain_text("The server no longer has mix.wav, solo 1.wav, solo 2.wav: it ended meanwhile")
            expect(page.get_by_text("4 s, 8 kHz, stereo")).to_be_hidden()  # it went with the server
            expect(page.locator("#learning .progress")).to_be_hidden()
            expect(page.get_by_label("Name of the source")).to_have_value("hiss")  # what was set stays
            page.set_input_files("#mixture input[type=file]", sounds["mix"])
            page.get_by_role("checkbox", name="hum").check()
            page.get_by_role("button", name="Separate").click()
            expect(page.get_by_role("button", name="Play")).to_be_visible()
    finally:
        server.end()


def test_what_is_prepared_while_a_dictionary_is_learned_stays(
    browser: Any, server: Server, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = held(server, monkeypatch)
    with opened(browser, server) as page:
        train(page, sounds, kind="Quick")
        expect(page.locator("#learning .progress")).to_contain_text("hiss: ")
        page.get_by_role("button", name="Close").click()
        expect(page.locator("#learning .progress").get_by_role("button", name="Cancel")).to_be_visible()
        page.get_by_role("button", name="Train one from solos").click()
        page.get_by_label("Name of the source").fill("rain")
        page.set_input_files("#training input[type=file]", sounds["mix 2"])
        solos = page.get_by_role("list", name="Solos").get_by_role("listitem")
        expect(solos).to_contain_text(["mono, being learned", "mono, being learned", "monoHear"])
        expect(page.locator("#solos-total")).to_be_empty()  # a single one is for the next dictionary
        gate.set()
        expect(page.get_by_role("checkbox", name="hiss")).to_be_checked()
        expect(page.get_by_label("Name of the source")).to_have_value("rain")
        expect(page.get_by_role("list", name="Solos")).to_have_text("mix 2.wav2 s, 8 kHz, monoHearRemove")
        page.get_by_role("button", name="Train", exact=True).click()
        expect(page.get_by_role("checkbox", name="rain")).to_be_checked()
        expect(page.locator("#training")).to_be_hidden()
        page.get_by_role("button", name="Train one from solos").click()
        expect(page.get_by_role("radio", name="General")).to_be_checked()  # not what the last one was


def gone(page: Any, url: str) -> None:
    for _ in range(600):
        if page.request.get(url).status == 404:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"is still there: {url}")


def test_what_is_done_stays_until_there_is_something_in_its_place(
    browser: Any, server: Server, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(browser, server) as page:
        separate, player = page.locator("#separate"), page.locator("#player")
        page.set_input_files("#mixture input[type=file]", sounds["mix 2"])
        page.get_by_role("checkbox", name="hum").check()
        separate.click()
        expect(player.get_by_role("button", name="Play")).to_be_visible()
        expect(separate).to_be_enabled(timeout=60_000)  # the better stems have taken the place of the draft
        first = page.get_by_role("link", name="All as zip").get_attribute("href")

        page.get_by_label("Better quality").uncheck()
        page.route("**/api/separations?*", lambda route: route.abort())
        separate.click()
        expect(page.locator("#listen > .notice")).to_contain_text("does not answer")
        page.unroute("**/api/separations?*")
        gate = held(server, monkeypatch)
        separate.click()
        page.locator("#listen > .progress").get_by_role("button", name="Cancel").click()
        expect(separate).to_be_enabled()
        page.locator("#listen > .progress").wait_for(state="hidden")
        expect(player.get_by_role("button", name="Play")).to_be_visible()
        assert page.get_by_role("link", name="All as zip").get_attribute("href") == first
        assert page.request.get(server.address + first.strip("/")).ok
        gate.set()

        separate.click()
        expect(page.locator("#results").get_by_role("radio", name="mix 2.wav")).to_be_checked(timeout=60_000)
        assert page.get_by_role("link", name="All as zip").get_attribute("href") != first
        earlier = page.locator("#earlier")
        earlier.get_by_role("radio", name="mix 2.wav hum, residual").check()
        assert page.get_by_role("link", name="All as zip").get_attribute("href") == first
        earlier.get_by_role("button", name="Remove the result of mix 2.wav").click()
        expect(earlier).to_be_hidden()
        expect(player.get_by_role("button", name="Play")).to_be_visible()
        assert page.get_by_role("link", name="All as zip").get_attribute("href") != first
        gone(page, server.address + first.strip("/"))


def test_what_is_there_already_and_what_is_there_under_the_same_name(
    browser: Any, server: Server, sounds: dict[str, Path], library: Path, tmp_path: Path
) -> None:
    hum = trained("hum")
    other = Dictionary(replace(hum.card, training={"seed": 1}), hum.network).save(tmp_path / "hum 2.safetensors")
    with opened(browser, server) as page:
        again = shutil.copy(sounds["mix"], tmp_path / "again.wav")
        page.set_input_files("#mixture input[type=file]", [sounds["mix"], again])
        expect(page.locator("#mixture > .notice")).to_contain_text("again.wav: is here already, as mix.wav")
        page.set_input_files("#sources .actions input[type=file]", library / "hum.safetensors")
        expect(page.locator("#sources > .notice")).to_contain_text("hum.safetensors: is here already")
        expect(page.get_by_role("checkbox", name="hum")).to_be_checked()
        page.set_input_files("#sources .actions input[type=file]", other)
        expect(page.get_by_text("Several of the chosen dictionaries are of hum")).to_be_visible()
        expect(page.locator("#separate")).to_be_disabled()
        page.get_by_role("checkbox", name="hum in the library").uncheck()
        expect(page.get_by_text("Several of the chosen")).to_be_hidden()
        expect(page.get_by_role("checkbox", name="hum hum 2.safetensors")).to_be_checked()
        expect(page.locator("#separate")).to_be_enabled()


def test_everything_can_be_done_with_the_keyboard(
    browser: Any, server: Server, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = held(server, monkeypatch)
    with opened(browser, server) as page:
        page.set_input_files("#mixture input[type=file]", sounds["mix"])
        expect(page.get_by_text("4 s, 8 kHz, stereo")).to_be_visible()
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel || ''"))
            if page.evaluate("document.activeElement.type === 'checkbox' && !document.activeElement.checked"):
                page.keyboard.press("Space")
                assert page.evaluate("document.activeElement.checked")
            if reached[-1] == "separate":
                page.keyboard.press("Enter")
                break
        assert {"Mark mix.wav", "open-training", "standard", "separate"} <= set(reached)
        expect(page.locator("#listen > .progress").get_by_role("button", name="Cancel")).to_be_focused()
        gate.set()
        expect(page.locator("#outcome")).to_be_focused()
        expect(page.get_by_text("of the mixture's energy is explained")).to_be_visible()


def test_of_much_that_is_not_known_it_is_said_so_with_the_way_out(
    browser: Any, server: Server, sounds: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, little = server.app.state.service.queue, {"explained_energy": 0.62, "has_residual": False}
    finish = queue.finish
    monkeypatch.setattr(queue, "finish", lambda job, result: {**finish(job, result), **little})
    with opened(browser, server) as page:
        separate_draft(page, sounds["mix"])
        said = page.get_by_text("Much in here is not known: only 62 % of the mixture's energy is explained")
        expect(said).to_have_class("warning")
        page.get_by_role("button", name="make a stem of the rest").click()
        expect(page.locator("#residual")).to_be_checked()
        expect(page.get_by_role("button", name="Separate", exact=True)).to_be_focused()
