"""The benchmark's own laws: nothing is run twice or lost, means are means, and every rival shares out the mixture."""

import json
import math
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import corrections
import methods
import ours
import pytest
import rivals
import torch
from methods import METHODS, OURS
from report import COMMAND, HEADLINE, grouped, markdown, mean_over_scenes, spread_over_seeds
from scenes import Order, append_result, complete, plan, read_results
from speed_report import write_report

import sepdict
from sepdict import Audio, write_audio

RATE = 8000
TINY: dict[str, Callable[..., rivals.Separated]] = {
    "floor": rivals.mixture_itself,
    "ideal": partial(rivals.ideal_masks, exponent=2),
    "kl": partial(rivals.kl_nmf, n_components=3, n_iterations=5),
    "is": partial(rivals.is_nmf, n_components=3, n_iterations=5),
    "convolutive": partial(rivals.convolutive_nmf, n_components=3, n_iterations=5),
    "network": lambda scene, seed: rivals.mask_network(scene, seed, budget_s=30, clock=count().__next__),  # 29 steps
}


def record(scene: str, method: str, seed: int, db: float = 1.0, **others: Any) -> dict[str, Any]:
    cost = {"training_s": 20.0, "real_time_factor": 0.5, "peak_mib": 700.0, "sdr_db": 1.0, "sir_db": 2.0, "sar_db": 3.0}
    where = {"machine": "m", "threads": 2, "matmul_gflops": 9.0, "versions": {"torch": "2"}, "commit": "abc"}
    about = {"scene": scene, "method": method, "seed": seed, HEADLINE: db, "date": "2026-01-01"}
    return about | cost | where | others


class Runner:
    """Counts the runs that it pretends to make."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def __call__(self, order: Order) -> dict[str, Any]:
        self.orders.append(order)
        return record(*order.key)


@pytest.fixture
def scene(tmp_path: Path, generator: torch.Generator) -> rivals.Scene:
    """Half a second of a low and a high noise, and as much of each alone."""
    noise = torch.randn(4, RATE // 2, generator=generator)
    low, high = noise[:2].cumsum(dim=1) / 50, noise[2:].diff(dim=1, prepend=torch.zeros(2, 1)) / 4
    for source, (solo, reference) in {"low": low, "high": high}.items():
        for folder, name, samples in [("solos", f"{source}/1", solo), ("references", source, reference)]:
            path = tmp_path / folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, Audio(samples[None], RATE))
    write_audio(tmp_path / "mixture.wav", Audio((low[1] + high[1])[None], RATE))
    return rivals.Scene.read(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rival", TINY)
def test_stems_of_every_rival_sum_to_the_mixture(scene: rivals.Scene, rival: str) -> None:
    stems = TINY[rival](scene, 0).stems
    assert stems.shape == (2, RATE // 2)
    torch.testing.assert_close(stems.sum(dim=0), scene.mixture.samples[0], atol=1e-5, rtol=0)  # float32, amplitude 1


@pytest.mark.slow
@pytest.mark.parametrize("rival", ["ideal", "kl", "is", "convolutive", "network", "semi-supervised"])
def test_every_rival_hands_each_source_its_own_stem(scene: rivals.Scene, rival: str) -> None:
    semi_supervised = partial(rivals.semi_supervised_nmf, n_components=3, n_free=3, n_iterations=50)
    stems = TINY.get(rival, semi_supervised)(scene, 0).stems
    references = torch.stack([audio.samples[0] for audio in scene.references().values()])
    assert 0.5 < float(stems.norm() / references.norm()) < 2
    stems, references = (torch.nn.functional.normalize(x, dim=1) for x in (stems, references))
    likeness = stems @ references.T  # (n_stems, n_references)
    assert likeness.argmax(dim=1).tolist() == [0, 1]


ONE_KNOWN: dict[str, Callable[..., rivals.Separated]] = {
    "semi-supervised": partial(rivals.semi_supervised_nmf, n_components=3, n_free=3, n_iterations=50, one_known=True),
    "noise reduction": rivals.noise_reduction,
}


@pytest.mark.parametrize("rival", ONE_KNOWN)
def test_who_knows_one_source_at_a_time_gives_it_and_the_rest(scene: rivals.Scene, rival: str) -> None:
    stems = ONE_KNOWN[rival](scene, 0).stems
    assert stems.shape == (4, RATE // 2)
    for pair in stems.split(2):
        torch.testing.assert_close(pair.sum(dim=0), scene.mixture.samples[0], atol=1e-5, rtol=0)
    cases = methods.scored(scene, stems, one_known=True)
    assert cases.keys() == {"low", "high"}
    assert all(case[HEADLINE] > 3 for case in cases.values())


@pytest.mark.parametrize("noise", ["low", "high"])
def test_gating_takes_one_source_for_the_noise_and_the_rest_for_the_other(
    scene: rivals.Scene, monkeypatch: pytest.MonkeyPatch, noise: str
) -> None:
    monkeypatch.setattr(methods, "NOISES", {noise})
    stems = methods.gated(scene, 0).stems
    torch.testing.assert_close(stems.sum(dim=0), scene.mixture.samples[0], atol=1e-5, rtol=0)
    assert methods.scored(scene, stems, one_known=False)["all"][HEADLINE] > 3


def test_only_the_ceilings_read_the_true_sources(scene: rivals.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: rivals.Scene) -> None:
        raise AssertionError("read the references")

    monkeypatch.setattr(rivals.Scene, "references", refuse)
    for rival, run in TINY.items():
        if rival == "ideal":
            with pytest.raises(AssertionError):
                run(scene, 0)
        else:
            run(scene, 0)


def test_a_measured_run_has_all_that_the_tables_ask_for(scene: rivals.Scene) -> None:
    row = "ceiling: ideal ratio masks, exponent 2"
    measured = methods.measure(scene.folder, row, 0, threads=1)
    assert measured.keys() == record("any", row, 0).keys()
    assert measured[HEADLINE] > 5  # noises that hardly overlap
    assert row in markdown([measured], list(METHODS))


def test_runs_that_are_there_are_not_repeated(tmp_path: Path) -> None:
    path, orders = tmp_path / "runs.jsonl", plan(["one", "two"], ["KL-NMF, 10 components"], 2)
    append_result(path, record(*orders[1].key))
    runner = Runner()
    assert complete(orders, path, runner) == []
    assert runner.orders == [orders[0], *orders[2:]]
    complete(orders, path, runner)
    assert len(runner.orders) == len(orders) - 1
    assert {(r["scene"], r["method"], r["seed"]) for r in read_results(path)} == {order.key for order in orders}


def test_an_interruption_loses_only_the_run_it_hits(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    append_result(path, record("one", "a", 0))
    with path.open("a") as file:
        file.write('{"scene": "two", "meth')
    assert [r["scene"] for r in read_results(path)] == ["one"]
    append_result(path, record("two", "a", 0))
    assert [r["scene"] for r in read_results(path)] == ["one", "two"]


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    orders = plan(["one", "two"], ["KL-NMF, 10 components"], 1)

    def run(order: Order) -> dict[str, Any]:
        if order.scene == "one":
            raise methods.subprocess.CalledProcessError(1, "run")
        return record(*order.key)

    failed = complete(orders, tmp_path / "runs.jsonl", run)
    assert [line.startswith("one, ") for line in failed] == [True]
    assert [r["scene"] for r in read_results(tmp_path / "runs.jsonl")] == ["two"]


def test_mask_networks_train_as_long_as_sepdict_did_and_ten_times_that(tmp_path: Path) -> None:
    path, runner = tmp_path / "runs.jsonl", Runner()
    complete(plan(["one"], [name for name in METHODS if name.startswith("mask network")], 1), path, runner)
    assert runner.orders[0].method == OURS  # made first, for it was missing
    assert [order.budget_s for order in runner.orders] == [None, 20.0, 200.0]
    assert len(read_results(path)) == 3


@pytest.mark.parametrize(("duration_s", "kept_s"), [(0.5, [0.5]), (1.5, [1, 0.5]), (3, [1, 2]), (math.inf, [1, 2])])
def test_a_learning_curve_hears_the_beginning_of_the_solos(duration_s: float, kept_s: list[float]) -> None:
    recordings = [Audio(torch.arange(8000.0)[None], 8000, "a"), Audio(torch.arange(16000.0)[None], 8000, "b")]
    kept = ours.beginning(recordings, duration_s)
    assert [audio.duration_s for audio in kept] == kept_s
    assert all(torch.equal(a.samples, b.samples[:, : a.n_samples]) for a, b in zip(kept, recordings, strict=False))


def test_corrections_lie_where_the_stems_are_wrong_and_name_the_right_source() -> None:
    time_s = torch.arange(2 * RATE) / RATE
    references = torch.stack([torch.sin(2 * torch.pi * hz * time_s) for hz in (300.0, 1500.0)])
    stems, wrong = references.clone(), slice(RATE, RATE + RATE // 4)
    stems[:, wrong] = references.flip(0)[:, wrong]  # for a quarter of a second each has the other's tone
    config = sepdict.StftConfig(n_fft=256, hop_length=64)
    one, other, *_ = corrections.strokes(stems, references, ["low", "high"], config, RATE, start_s=10.0)
    assert {one.name, other.name} == {"low", "high"}
    for label in (one, other):
        assert (label.low_hz < 300 < label.high_hz) if label.name == "low" else (label.low_hz < 1500 < label.high_hz)
        assert 10.9 < label.start_s < label.end_s < 11.4


def test_a_plan_makes_every_random_method_with_every_seed_and_the_others_once() -> None:
    orders = plan(["one", "two"], [*METHODS, COMMAND], 3)
    n_random = sum(method.is_random for method in METHODS.values())
    assert len({order.key for order in orders}) == len(orders) == 2 * (3 * n_random + len(METHODS) - n_random) + 1
    assert [order.seed for order in orders if order.method != COMMAND] == sorted(o.seed for o in orders[:-1])


def test_means_weigh_scenes_alike_and_spread_is_over_seeds() -> None:
    few = {"one": [record("one", "a", 0, 1.0), record("one", "a", 1, 3.0)], "two": [record("two", "a", 0, 6.0)]}
    assert mean_over_scenes(few, HEADLINE) == pytest.approx((2 + 6) / 2)
    assert spread_over_seeds(few, HEADLINE) is None  # one seed is all that both scenes have
    both = few | {"two": [record("two", "a", 0, 6.0), record("two", "a", 1, 8.0)]}
    assert spread_over_seeds(both, HEADLINE) == pytest.approx(2**0.5)  # of 3.5 and 5.5
    undefined = {"one": [record("one", "a", 0, sir_db=None)], "two": [record("two", "a", 0, sir_db="inf")]}
    assert mean_over_scenes(undefined, "sir_db") == float("inf")


def test_the_tables_say_how_many_scenes_and_seeds_a_row_has() -> None:
    one, other = "KL-NMF, 10 components", OURS
    records = [record(scene, other, seed, 4.0) for scene in ("x", "y") for seed in (0, 1)]
    records += [record("x", one, 0, 2.0, peak_mib=900.0), record("y", other, 2, 4.0)]
    lines = markdown(records, list(METHODS)).splitlines()
    assert f"| {one} | **2.00** | 1.0 | 2.0 | 3.0 | 20.0 | 0.500 | 900 | 1 of 12 | 1 |" in lines
    assert f"| {other} | **4.00** ± 0.00 | 1.0 | 2.0 | 3.0 | 20.0 | 0.500 | 700 | 2 of 12 | 2 to 3 |" in lines
    assert f"| {one} | 2.00 | - |" in lines
    assert list(grouped(records)) == [other, one]


def test_the_pages_beside_the_benchmarks_are_what_their_measurements_say(tmp_path: Path) -> None:
    folder = Path(__file__).parent
    written = markdown(read_results(folder / "scenes.jsonl"), list(METHODS))
    assert written == (folder / "RESULTS.md").read_text("utf-8")
    write_report(json.loads((folder / "speed.json").read_text("utf-8")), tmp_path)
    assert (tmp_path / "SPEED.md").read_text("utf-8") == (folder / "SPEED.md").read_text("utf-8")
    assert (tmp_path / "growth.svg").stat().st_size > 1000
