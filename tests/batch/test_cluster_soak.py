"""A folder on a cluster, by the command: a worker is killed, then the command itself, and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dask_cluster import local_cluster
from distributed import Client, LocalCluster
from front_end import TINY, error_lines, fail, mixture, read_json, run, sound, trained, tree, write_bad

from sepdict.audio.writing import write_audio
from sepdict.batch.verification import check_folder

N_FILES, N_BEFORE = 30, 9
DRIVER = f"""# the command, which waits to be killed once it has heard of some files
import time
from sepdict_cli import separate
from sepdict_cli.app import app

tell, heard = separate._Listener.on_result, []

def on_result(listener, number, result):
    tell(listener, number, result)
    heard.append(result)
    while len(heard) == {N_BEFORE}:
        time.sleep(1)

separate._Listener.on_result = on_result
app()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def dictionaries(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("dictionaries")
    files = [trained(source).save(folder / f"{source}.safetensors") for source in ("hiss", "hum")]
    return [word for file in files for word in ("-d", str(file))]


def wait_until(true: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    """Wait for something that the driver brings about."""
    while not true():
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.005)


def test_every_file_is_done_once_whatever_is_killed(
    tmp_path: Path, cluster: LocalCluster, dictionaries: list[str]
) -> None:
    for number in range(N_FILES):
        (tmp_path / "in" / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        write_audio(tmp_path / "in" / f"{number % 3}" / f"{number}.wav", mixture(seed=number, n_samples=4000))
    bad, out = write_bad(tmp_path / "in" / "0" / "bad.wav", "text"), tmp_path / "out"
    words = ["separate", str(tmp_path / "in"), "--recursive", *dictionaries, "-o", str(out), "--quality", "draft"]
    words += ["--cluster", cluster.scheduler_address]

    def done() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in out.glob("[0-9]/*/manifest.json")}

    with Client(cluster, set_as_default=False) as client:
        worker = min(client.run(os.getpid).values())
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *words], text=True, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: len(done()) >= 3, driver)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(done()) >= N_BEFORE, driver)
    finally:
        driver.kill()
        driver.communicate()
    before = done()
    assert len(before) < N_FILES
    result = run(*words, "--skip-existing")
    assert result.exit_code == 3, result.stderr
    errors = error_lines(result)
    assert errors[0].startswith(f"sepdict: {bad}: ")
    assert errors[1:] == [f"sepdict: 1 of {N_FILES + 1} files failed"]
    after = done()
    assert len(after) == N_FILES
    assert {path: after[path] for path in before} == before  # nothing that was done is done again
    assert sorted(Path(read_json(path)["mixture"]["file"]) for path in after) == sorted(
        path for path in (tmp_path / "in").rglob("*.wav") if path != bad
    )
    assert all(check.is_whole for check in check_folder(out))
    assert not list(out.glob(".sepdict-*"))


def test_the_command_says_in_one_line_why_there_is_no_cluster(
    tmp_path: Path, dictionaries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(tmp_path / "a.wav", mixture())
    words = ["separate", str(tmp_path / "a.wav"), *dictionaries, "-o", str(tmp_path / "out")]
    said = fail(*words, "--cluster", "nothing://here")
    assert said == "sepdict: nothing://here: is no scheduler's address; expected one like tcp://host:8786"
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "sepdict.batch.cluster")
    monkeypatch.delattr("sepdict.batch.cluster")
    said = fail(*words, "--cluster", "tcp://127.0.0.1:1")
    assert "pip install 'sepdict[cluster]'" in said
    assert not (tmp_path / "out").exists()


def test_dictionaries_are_trained_on_a_cluster_as_they_are_here(
    tmp_path: Path, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sepdict.training.config.PRESETS", {"default": TINY})
    monkeypatch.chdir(tmp_path)
    for seed, source in enumerate(("hiss", "hum", "bad")):
        (tmp_path / source).mkdir()
        write_audio(tmp_path / source / "solo.wav", sound("hum", n_samples=9000, seed=seed))
    write_bad(tmp_path / "bad" / "solo.wav", "text")
    write_bad(tmp_path / "hum" / "other.wav", "text")
    words = ["train-dictionary", "hiss", "hum", "bad", "--each"]
    results = [run(*words, "-o", "here"), run(*words, "-o", "there", "--cluster", cluster.scheduler_address)]
    assert [result.exit_code for result in results] == [3, 3]
    here, there = (error_lines(result) for result in results)
    assert there[-1] == here[-1] == "sepdict: 2 of 4 files failed"
    assert sorted(line.replace(f"{tmp_path}/", "") for line in there) == sorted(here)
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    assert sorted(tree(tmp_path / "there")) == ["hiss.safetensors", "hum.safetensors"]
    again = run(*words, "-o", "there", "--cluster", cluster.scheduler_address, "--skip-existing", "--json")
    assert [each["kept"] for each in read_json(again.stdout)] == [True, True]
    (line,) = (line for line in run(*words[:3], "--cluster", "auto").stderr.splitlines() if "--each" in line)
    assert "--cluster" in line
