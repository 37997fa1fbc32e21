"""Whether sepdict separates real recordings better than NMF that learned from the same solos.

    SEPDICT_AUDIO=FOLDER uv run pytest -m benchmark -n 0

FOLDER holds solo recordings and `make_scenes.py`, which mixes the scenes from them. This is a check on four scenes with
one seed; `scenes.py` makes the whole table.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from methods import METHODS, OURS
from report import HEADLINE, grouped, markdown, mean_over_scenes
from scenes import complete, plan, read_results, run_apart

SCENES = ("speech_female_male", "speech_and_dog", "violin_and_speech", "cello_and_bass")
N_THREADS = 2


@pytest.mark.benchmark
@pytest.mark.timeout(0)
def test_sepdict_separates_better_than_every_nmf(tmp_path: Path) -> None:
    audio = os.environ.get("SEPDICT_AUDIO")
    if audio is None:
        pytest.skip("SEPDICT_AUDIO names no folder with recordings and make_scenes.py")
    folder, results = tmp_path / "scenes", tmp_path / "scenes.jsonl"
    subprocess.run([sys.executable, Path(audio, "make_scenes.py"), folder, "--only", *SCENES], check=True)
    quick = [name for name, method in METHODS.items() if method.quick]
    failed = complete(plan(SCENES, quick, 1), results, partial(run_apart, folder=folder, threads=N_THREADS))
    assert not failed
    records = read_results(results)
    print(markdown(records, quick))
    runs = grouped(records)
    means = {method: mean_over_scenes(runs[method], HEADLINE) for method in quick}
    assert means[OURS] > max(means[method] for method in quick if "NMF" in method)
