"""How the tests of the page of `sepdict serve` serve it and work in it."""

import base64
import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from front_end import TINY, sound

from sepdict import Audio, MarkingConfig, TrainingConfig, write_audio
from sepdict.evaluation.separability import Comparison, Forecast
from sepdict.progress import OnProgress, Progress
from sepdict.web.jobs import Job, JobQueue
from sepdict.web.loudness import Products
from sepdict.web.server import Settings, create_app
from sepdict.web.service import KINDS
from sepdict.web.tasks import MIXTURE, Comparing, Separating
from sepdict.web.uploads import Limits

SLOW = {"n_steps": 600_000, "n_checks": 60_000, "patience": 10**6}
SIZES = {"laptop": (1280, 800), "phone": (390, 844)}


class Endless(Separating):
    """A separation that only ends when it is canceled."""

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        on_progress(Progress("fit", 1, 2, 0.0))
        time.sleep(600)
        return {}


def make_endless(queue: JobQueue, patch: pytest.MonkeyPatch, wanted: Iterable[bool] = itertools.repeat(True)) -> None:
    """Have separations that are asked for from now on only end when they are canceled, or those that are wanted."""
    make(Endless, queue, patch, wanted)


def make(
    kind: type[Separating],
    queue: JobQueue,
    patch: pytest.MonkeyPatch,
    wanted: Iterable[bool] = itertools.repeat(True),
) -> None:
    """Have separations that are asked for from now on be of a kind, or those that are wanted."""
    submit, is_wanted = queue.submit, iter(wanted)

    def submit_made(job: Job) -> None:
        if next(is_wanted):
            job.task = kind(**vars(job.task))
        submit(job)

    patch.setattr(queue, "submit", submit_made)


PICTURE = base64.b64decode(  # of a single dot
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Long(Separating):
    """A separation into long noises, whatever the mixture: the files and facts that the player has, in one picture."""

    n_samples, sample_rate = 180 * 8000, 8000

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        stems = torch.stack([sound("hum", n_samples=self.n_samples, seed=seed).samples for seed in range(2)])
        tracks = {MIXTURE: sum(stems), **{f"{number}.wav": stem for number, stem in enumerate(stems)}}
        for name, samples in tracks.items():
            write_audio(output / name, Audio(samples, self.sample_rate))
            for end in (".png", ".mask.png"):
                (output / name).with_suffix(end).write_bytes(PICTURE)
        products = Products(len(stems))
        products.listening(lambda _: None)(stems)
        form = {"n_channels": 1, "sample_rate": self.sample_rate, "duration_s": self.n_samples / self.sample_rate}
        kind = {"stems": ["hum", "residual"], "has_residual": True, "is_silent": False, "explained_energy": 0.9}
        return {**kind, **form, "products": products.values.tolist(), "message": "", "learned": []}


class Told(Comparing):
    """A comparison of which the result is known."""

    def perform(self, output: Path, on_progress: OnProgress) -> dict[str, Any]:
        return Comparison(("hiss", "hum"), ((1, 0), (0, 1)), (True, True), (Forecast(("hiss", "hum"), 8.6),)).as_dict()


def tell(patch: pytest.MonkeyPatch) -> None:
    """Have comparisons of whatever dictionaries told at once."""
    patch.setattr("sepdict.web.service.refuse_incomparable", lambda _: None)
    patch.setattr("sepdict.web.service.Comparing", Told)
    patch.setitem(KINDS, Told, "comparison")


class Server:
    """The application at an address of its own, in a thread; it can end and begin again at the same one."""

    def __init__(self, library: Path, training: TrainingConfig = TINY) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        limits = Limits(file_bytes=500_000, mixture_s=60.0)
        self.settings = Settings(library=library, training=training, limits=limits, marking=MarkingConfig(TINY))
        self.begin()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def jobs(self) -> list[Job]:
        return list(self.app.state.service.queue._jobs.values())

    def begin(self) -> None:
        if self.listener.fileno() < 0:
            self.listener = socket.create_server(("127.0.0.1", self.port))
        self.app = create_app(self.settings)
        self.server = uvicorn.Server(uvicorn.Config(self.app, log_level="error", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)

    def cancel_jobs(self) -> None:
        """End what runs and what waits."""
        queue = self.app.state.service.queue
        for job in reversed(self.jobs):  # from the last, so that none begins meanwhile
            queue.cancel(job)

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()


@contextlib.contextmanager
def opened(browser: Any, server: Server, size: str = "laptop", scheme: str = "light") -> Iterator[Any]:
    """Open the page; whatever it asks of others, and whatever goes wrong in it, fails the test."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda asked: None if asked.url.startswith(server.address) else wrong.append(asked.url))
    page.goto(server.address)
    page.get_by_role("checkbox", name="hum").wait_for()
    yield page
    assert not wrong, wrong
    context.close()


def train(page: Any, sounds: dict[str, Path], source: str = "hiss", kind: str = "General") -> None:
    page.get_by_role("button", name="Train one from solos").click()
    page.get_by_label("Name of the source").fill(source)
    page.set_input_files("#training input[type=file]", [sounds["solo 1"], sounds["solo 2"]])
    page.get_by_text("2 recordings, 4 s together").wait_for()
    page.get_by_role("radio", name=kind).check()
    page.get_by_role("button", name="Train", exact=True).click()


def held(server: Server, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let no job go on until the event is set."""
    worker, gate = server.app.state.service.queue._worker, threading.Event()
    perform = worker.perform

    def wait_and_perform(job: Any) -> Any:
        assert gate.wait(60)
        return perform(job)

    monkeypatch.setattr(worker, "perform", wait_and_perform)
    return gate


def ask_for_draft(page: Any, mixture: Path) -> None:
    """Ask for a quick separation of a mixture with the dictionary of hum."""
    page.set_input_files("#mixture > .drop input[type=file]", mixture)
    page.get_by_role("checkbox", name="hum").check()
    page.get_by_label("Better quality").uncheck()
    page.get_by_role("button", name="Separate", exact=True).click()


def separate_draft(page: Any, mixture: Path) -> None:
    """Separate a mixture quickly with the dictionary of hum, and wait for the player."""
    ask_for_draft(page, mixture)
    page.locator("#outcome").wait_for(timeout=120_000)


def unfold(page: Any, *steps: str) -> None:
    """Open steps that are folded, for there is a result: ``"mixture"`` or ``"sources"``."""
    for step in steps:
        page.get_by_role("button", name=f"Change {step}").press("Enter")
