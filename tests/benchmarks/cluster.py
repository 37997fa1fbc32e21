"""Measure a batch on a Dask cluster of this machine: what is lost, what is done twice, and what it costs.

    uv run python tests/benchmarks/cluster.py --files 10000 --kill-every 30

writes cluster.json beside this file. Two workers, processes of their own on loopback, separate files of one second in
draft quality, with briefly trained dictionaries: what is measured is everything but the separation. The workers are
forked from a process that has loaded PyTorch already. A worker is killed every so many seconds, and the driver once,
after a third of the files; then it is started again with --skip-existing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import psutil
from dask_cluster import local_cluster
from distributed import Client
from front_end import SAMPLE_RATE, mixture, trained

from sepdict.audio.writing import write_audio
from sepdict.batch.verification import check_folder

RESULTS = Path(__file__).with_name("cluster.json")
N_BESIDE = 100  # files of the serial loop and of -j 2, which are slower


class Peak:
    """The most memory that a process has, in MiB, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.process, self.mib = psutil.Process(pid), 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            try:
                self.mib = max(self.mib, self.process.memory_info().rss / 2**20)
            except psutil.Error:
                return
            time.sleep(0.1)


def command(folder: Path, out: Path, dictionaries: list[str], *more: str) -> list[str]:
    """Return the words of a command that separates a folder."""
    words = [sys.executable, "-m", "sepdict", "separate", str(folder), "-o", str(out), *dictionaries]
    return [*words, "--quality", "draft", "--quiet", *more]


def timed(words: list[str]) -> float:
    """Run a command, and return its seconds."""
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def write_files(folder: Path, n_files: int) -> None:
    """Write mixtures of one second."""
    folder.mkdir()
    for number in range(n_files):
        write_audio(folder / f"{number:06}.wav", mixture(seed=number, n_samples=SAMPLE_RATE))


def kill_workers(client: Client, every_s: float, ends: threading.Event, killed: list[int]) -> None:
    """Kill a worker again and again."""
    while not ends.wait(every_s):
        pids = list(client.run(os.getpid, on_error="ignore").values())
        if pids:
            killed.append(pids[len(killed) % len(pids)])
            os.kill(killed[-1], signal.SIGKILL)


def soak(work: Path, mixtures: Path, n_files: int, dictionaries: list[str], kill_every_s: float) -> dict[str, object]:
    """Separate all files while workers and the driver are killed, and count what there is."""
    out, ends, killed = work / "soak", threading.Event(), list[int]()
    with local_cluster(2) as cluster:
        scheduler = Peak(os.getpid())  # the scheduler runs in this process, beside what writes and watches
        words = command(mixtures, out, dictionaries, "--cluster", cluster.scheduler_address)
        with Client(cluster, set_as_default=False) as client:
            killer = threading.Thread(target=kill_workers, args=(client, kill_every_s, ends, killed))
            killer.start()
            driver = subprocess.Popen(words, stdout=subprocess.DEVNULL)
            first, start = Peak(driver.pid), time.perf_counter()
            while driver.poll() is None and sum(1 for _ in out.glob("[0-9]*/manifest.json")) < n_files // 3:
                time.sleep(0.5)
            driver.kill()
            driver.wait()
            done = {path: path.stat().st_mtime_ns for path in out.glob("[0-9]*/manifest.json")}
            driver = subprocess.Popen([*words, "--skip-existing"], stdout=subprocess.DEVNULL)
            second = Peak(driver.pid)
            code = driver.wait()
            seconds = time.perf_counter() - start
            ends.set()
            killer.join()
    now = {path: path.stat().st_mtime_ns for path in out.glob("[0-9]*/manifest.json")}
    checks = check_folder(out)
    return {
        "n_files": n_files,
        "exit_code": code,
        "n_manifests": len(now),
        "n_whole": sum(check.is_whole for check in checks),
        "n_done_twice": sum(now.get(path) != when for path, when in done.items()),
        "n_leftovers": sum(1 for _ in out.glob(".sepdict-*")),
        "n_workers_killed": len(killed),
        "n_done_when_the_driver_was_killed": len(done),
        "seconds": round(seconds, 1),
        "driver_peak_mib": round(max(first.mib, second.mib)),
        "scheduler_and_benchmark_peak_mib": round(scheduler.mib),
    }


def beside(work: Path, mixtures: Path, dictionaries: list[str]) -> dict[str, object]:
    """Time a serial run, one with -j 2, and one on two workers, without any kill and with the start of the command."""
    few = work / "few"
    few.mkdir()
    for file in sorted(mixtures.iterdir())[:N_BESIDE]:
        (few / file.name).symlink_to(file)
    seconds = {}
    with local_cluster(2) as cluster:
        modes = {"serial": [], "-j 2": ["-j", "2"], "cluster": ["--cluster", cluster.scheduler_address]}
        for name, more in modes.items():
            seconds[name] = round(timed(command(few, work / f"few {name}", dictionaries, *more)), 2)
    return {"n_files": N_BESIDE, "seconds": seconds}


def main() -> None:
    """Run everything, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, nargs="+", default=[1000])
    parser.add_argument("--kill-every", type=float, default=30.0, metavar="SECONDS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        files = [trained(source).save(work / f"{source}.safetensors") for source in ("hiss", "hum")]
        dictionaries = [word for file in files for word in ("-d", str(file))]
        runs = []
        for n_files in options.files:
            (work / str(n_files)).mkdir()
            mixtures = work / f"{n_files} mixtures"
            write_files(mixtures, n_files)
            runs.append(soak(work / str(n_files), mixtures, n_files, dictionaries, options.kill_every))
            print(runs[-1], flush=True)
        facts = {"n_cores": os.cpu_count(), "kill_every_s": options.kill_every}
        results = facts | {"soaks": runs, "beside": beside(work, mixtures, dictionaries)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["beside"]))


if __name__ == "__main__":
    main()
