"""Every promise of docs/robustness.md names tests, and these tests are there and run."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "robustness.md").read_text()
PROMISE = re.compile(r"^- \*\*(.+?)\*\*(.+?)(?=^- |^#|\Z)", re.MULTILINE | re.DOTALL)


def opt_in(function: ast.FunctionDef) -> bool:
    marks = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any(f"pytest.mark.{name}" in marks for name in ("assault", "benchmark", "browser", "slow"))


@functools.cache
def always_run() -> set[str]:
    nodes = [node for path in (ROOT / "tests").rglob("test_*.py") for node in ast.walk(ast.parse(path.read_text()))]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return {function.name for function in functions if not opt_in(function)}


@pytest.mark.parametrize(("promise", "proof"), PROMISE.findall(PAGE), ids=lambda text: text.split("\n")[0][:40])
def test_every_promise_names_tests_that_every_run_runs(promise: str, proof: str) -> None:
    named = re.findall(r"`(test_\w+)`", proof)
    assert named, f"nothing holds: {promise}"
    assert set(named) - always_run() == set()


def test_the_page_holds_promises() -> None:
    assert len(PROMISE.findall(PAGE)) > 15


def test_the_readme_leads_to_the_page() -> None:
    assert "(docs/robustness.md)" in (ROOT / "README.md").read_text()
