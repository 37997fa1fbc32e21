"""Feed damaged and forged files to everything that reads files, for as long as asked for, and keep what fails.

    uv run python tests/assault/fuzz.py --corpus FOLDER --seconds 600 [--only TARGET] [--seed N] [--again FILE ...]

The folder keeps, for every target, ``corpus/``: cases that went in a new way, from which others are made in later runs;
and ``failed/``: cases against the law, by their hash, with what went wrong beside each. Cases run in a process forked
from this one, bounded in time and memory, so that a crash of a decoder, a hang and a bloat are findings like others.
``--again`` tries saved files once more. Exits with 1 if something failed.
"""

import argparse
import collections
import contextlib
import faulthandler
import hashlib
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import torch
from fuzz_targets import EXPLORED, Target, laid_out

N_IN_A_PROCESS = 25
MEMORY_BYTES = 2 * 2**30  # beside what the process has when it is forked
CASE_S = 30.0
MOST_KEPT = 2000  # cases of a target's corpus
OK, FAILED = "ok", "failed"


@dataclass
class Findings:
    """What came of the cases of one target."""

    n_cases: int = 0
    seconds: float = 0.0
    ways: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: dict[str, str] = field(default_factory=dict)  # what went wrong, and the first file that showed it


@dataclass(frozen=True)
class Corpus:
    """A target's folder."""

    folder: Path

    def load(self) -> dict[str, bytes]:
        """Read what earlier runs kept."""
        self._of("corpus").mkdir(parents=True, exist_ok=True)
        return {path.name: path.read_bytes() for path in sorted(self._of("corpus").iterdir())[:MOST_KEPT]}

    def keep(self, what: str, name: str, content: bytes, said: str = "") -> Path:
        """Save a case under its hash."""
        self._of(what).mkdir(parents=True, exist_ok=True)
        path = self._of(what) / f"{hashlib.sha256(content).hexdigest()[:16]}{Path(name).suffix}"
        path.write_bytes(content)
        if said:
            path.with_name(f"{path.name}.txt").write_text(said + "\n", errors="backslashreplace")
        return path

    def _of(self, what: str) -> Path:
        return self.folder / what


def in_child(target: Target, cases: Sequence[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """Try cases out in another process; if it dies or hangs, that is how the last of them went."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _try_out_all(target, cases, theirs)
    os.close(theirs)
    outcomes: list[tuple[str, str]] = []
    said, began = b"", time.monotonic()
    while len(outcomes) < len(cases):
        ready, _, _ = select.select([ours], [], [], max(0.0, CASE_S + began - time.monotonic()))
        piece = os.read(ours, 2**16) if ready else b""
        if not piece:
            break
        *lines, said = (said + piece).split(b"\n")
        for line in lines:
            kind, _, text = line.decode().partition(" ")
            outcomes.append((kind, text))
            began = time.monotonic()
    if len(outcomes) < len(cases):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(ours)
    if len(outcomes) < len(cases):
        code = os.waitstatus_to_exitcode(status)
        hung = time.monotonic() - began >= CASE_S
        outcomes.append((FAILED, f"hangs for {CASE_S:g} s" if hung else f"the process dies with {code}"))
    return outcomes


def _try_out_all(target: Target, cases: Sequence[tuple[str, bytes]], pipe: int) -> None:
    """Do so in this process, and end it."""
    with open(os.devnull, "w") as nowhere:  # decoders write to it
        os.dup2(nowhere.fileno(), 2)
    faulthandler.disable()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    for name, content in cases:
        try:
            with laid_out(name, content) as path:
                kind, text = OK, target.try_out(path)
        except BaseException as error:
            kind, text = FAILED, _described(error)
        os.write(pipe, f"{kind} {' '.join(text.split())[:500]}\n".encode(errors="backslashreplace"))
    os._exit(0)


def _described(error: BaseException) -> str:
    """Say what was raised where, in the package or else in the law."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "sepdict" in Path(frame.filename).parts] or frames
    return f"{type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].name}: {error}"


def explore(target: Target, corpus: Corpus, *, seconds: float, rng: random.Random) -> Findings:
    """Make cases of whole files and of the corpus, and try them out, for so long."""
    findings, start = Findings(), time.monotonic()
    pool = [*target.seeds().items(), *corpus.load().items()]
    cases: list[tuple[str, bytes]] = list(target.seeds().items())  # the whole files themselves first
    while time.monotonic() < start + seconds:
        while len(cases) < N_IN_A_PROCESS:
            name, content = rng.choice(pool)
            cases.append((name, target.mutate(content, rng, [other for _, other in pool])))
        outcomes = in_child(target, cases)
        for (name, content), (kind, text) in zip(cases, outcomes, strict=False):
            findings.n_cases += 1
            if kind == FAILED:
                _note_failure(findings, corpus, name, content, text)
            elif not findings.ways[text]:
                pool.append((name, content))
                corpus.keep("corpus", name, content)
            findings.ways[text if kind == OK else FAILED] += 1
        cases = cases[len(outcomes) :]
    findings.seconds = time.monotonic() - start
    return findings


def _note_failure(findings: Findings, corpus: Corpus, name: str, content: bytes, text: str) -> None:
    """Keep the first case of every kind of failure."""
    kind = "".join(letter for letter in text.split("/tmp")[0] if not letter.isdigit())[:90]
    if kind not in findings.failures:
        findings.failures[kind] = f"{corpus.keep('failed', name, content, text)}: {text}"
        print(f"  {findings.failures[kind]}", flush=True)


def try_again(targets: Sequence[Target], files: Sequence[Path]) -> int:
    """Try saved files, ``.../TARGET/failed/HASH.EXT``, once more; return how many fail."""
    n_failed = 0
    for path in files:
        (target,) = [each for each in targets if each.name == path.absolute().parent.parent.name]
        ((kind, text),) = in_child(target, [(path.name, path.read_bytes())])
        n_failed += kind == FAILED
        print(f"{path}: {kind}: {text}", flush=True)
    return n_failed


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="a folder of its own")
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--only", default="", help="targets whose names contain this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", type=Path, nargs="*", default=[], help="saved files to be tried once more")
    given = parser.parse_args()
    torch.set_num_threads(1)  # a forked torch with more may hang
    targets = [target for target in EXPLORED if given.only in target.name]
    if given.again:
        sys.exit(bool(try_again(targets, given.again)))
    n_failed = 0
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        tempfile.tempdir = folder  # what dies leaves nothing elsewhere
        for target in targets:
            print(f"{target}:", flush=True)
            rng = random.Random(f"{given.seed} {target}")
            corpus = Corpus(given.corpus / target.name)
            findings = explore(target, corpus, seconds=given.seconds / len(targets), rng=rng)
            n_failed += len(findings.failures)
            said = f"{findings.n_cases} cases in {findings.seconds:.0f} s, {len(findings.ways)} ways"
            print(f"{target}: {said}, {len(findings.failures)} kinds of failure", flush=True)
    sys.exit(bool(n_failed))


if __name__ == "__main__":
    main()
