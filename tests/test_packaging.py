"""What is installed is what is in the tree, under names of our own; and the tree is in the order that it promises."""

import ast
import importlib
import importlib.metadata
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import sepdict
from sepdict._core import INTERNAL_API

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sepdict"


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def test_every_folder_with_code_is_in_the_list_of_packages(pyproject: dict[str, Any]) -> None:
    tool = pyproject["tool"]["setuptools"]
    folders = [
        path.parent.relative_to(ROOT) for top in ("sepdict", "cli") for path in (ROOT / top).rglob("__init__.py")
    ]
    names = [".".join(folder.parts).replace("cli", "sepdict_cli", 1) for folder in folders]
    assert sorted(tool["packages"]) == sorted(names)
    assert tool["package-dir"] == {"sepdict_cli": "cli"}
    for top in ("sepdict", "cli"):
        modules = {path.parent for path in (ROOT / top).rglob("*.py")}
        assert modules <= {ROOT / folder for folder in folders}, "a folder of modules lacks its __init__.py"


def test_every_package_ships_its_data(pyproject: dict[str, Any]) -> None:
    tool = pyproject["tool"]["setuptools"]
    for package, patterns in tool["package-data"].items():
        folder = ROOT / tool["package-dir"].get(package, package.replace(".", "/"))
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package} ships {pattern}, but there is none"
    assert {package for package, patterns in tool["package-data"].items() if "py.typed" in patterns} >= {
        "sepdict",
        "sepdict_cli",
    }


def test_the_command_is_installed_and_loads(pyproject: dict[str, Any]) -> None:
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="sepdict")
    assert {"sepdict": script.value} == pyproject["project"]["scripts"]
    assert isinstance(script.load(), typer.Typer)


def test_only_names_of_our_own_are_installed() -> None:
    installed = importlib.metadata.packages_distributions()
    assert {name for name, owners in installed.items() if "sepdict" in owners} == {"sepdict", "sepdict_cli"}


def test_from_another_folder_only_our_own_names_are_found(tmp_path: Path) -> None:
    program = "import importlib.util, sys; print(*[n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    names = ["sepdict", "sepdict_cli", "cli", "data", "docs", "tests", "conftest", "front_end"]
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *names], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["sepdict", "sepdict_cli"]


def test_the_version_is_the_same_everywhere(pyproject: dict[str, Any]) -> None:
    assert sepdict.__version__ == importlib.metadata.version("sepdict") == pyproject["project"]["version"]


def test_every_public_name_is_there() -> None:
    assert len(set(sepdict.__all__)) == len(sepdict.__all__)
    assert all(hasattr(sepdict, name) for name in sepdict.__all__)
    assert set(sepdict.__all__) <= set(dir(sepdict))
    with pytest.raises(AttributeError, match="seperate"):
        sepdict.seperate  # noqa: B018


def test_every_error_is_public() -> None:
    errors = {name for name, value in vars(sepdict.errors).items() if inspect.isclass(value) and name.endswith("Error")}
    assert errors <= set(sepdict.__all__)


def test_the_stub_that_type_checkers_read_is_installed(pyproject: dict[str, Any]) -> None:
    assert (PACKAGE / "__init__.pyi").is_file()
    assert "*.pyi" in pyproject["tool"]["setuptools"]["package-data"]["sepdict"]


FIRST_USE = """
import os, sys
import sepdict
from sepdict import SepdictError
print("torch" in sys.modules, os.environ["OMP_WAIT_POLICY"])
from sepdict import Audio
print("torch" in sys.modules, Audio is sepdict.Audio)
"""


@pytest.mark.slow
def test_torch_loads_when_a_name_that_needs_it_is_first_used() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    command = [sys.executable, "-c", FIRST_USE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["False", "PASSIVE", "True", "True"]


def tracked_texts() -> Iterator[tuple[str, str]]:
    """Read what git tracks or would, binary files left out."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout here, so no telling what belongs to the project")
    command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip(f"git cannot list the files: {listing.stderr.strip()}")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            yield name, content.decode()


REGISTRIES = r"(?:pypi|pythonhosted|artifactory|nexus|anaconda|registry|mirrors?)"
HOSTS = rf"\b[\w.-]*{REGISTRIES}[\w-]*\.(?:[\w-]+\.)*(?:org|com|net|io|dev|internal)\b"
# /home/me/ stands for anyone's in examples
MACHINE_PATHS = r"(?<![\w.~>)\]}/-])(?:/(?:work|root|mnt|usr/local)/|/(?:home|Users)/(?!me/)\w|[A-Z]:\\Users)"


@pytest.mark.parametrize("pattern", [HOSTS, MACHINE_PATHS], ids=["registry", "machine"])
def test_no_file_names_a_registry_or_a_place_on_someones_machine(pattern: str) -> None:
    found = [
        f"{name}:{number}: {match.group()}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1)
        for match in re.finditer(pattern, line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (HOSTS, "https://files.python" + "hosted.org/x"),
        (HOSTS, "index-url = https://py" + "pi.org/simple"),
        (HOSTS, "https://arti" + "factory.example.com/api"),
        (MACHINE_PATHS, "path = " + "/wo" + "rk/main"),
        (MACHINE_PATHS, "cd " + "/ho" + "me/ann/x"),
        (MACHINE_PATHS, "(" + "/ro" + "ot/.cache"),
    ],
)
def test_the_search_finds_what_it_is_for(pattern: str, text: str) -> None:
    assert re.search(pattern, text)


def lint_imports(config: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", config]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_packages_import_in_the_promised_direction_only() -> None:
    done = lint_imports(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


def test_an_import_against_the_direction_would_be_found(tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    turned = text.replace('"batch",\n  "reports",', '"reports",\n  "batch",')
    assert turned != text
    (tmp_path / "pyproject.toml").write_text(turned)
    done = lint_imports(tmp_path / "pyproject.toml")
    assert done.returncode == 1
    assert "sepdict.reports is not allowed to import" in done.stdout or "sepdict.batch is not allowed" in done.stdout


PACKAGES = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_a_package_says_in_one_sentence_what_lives_there(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert text is not None
    assert text.endswith(".")
    assert ". " not in text


def foreign_imports(program: str, *, own: str) -> list[str]:
    """List what a front end's module imports that is neither its own, nor public, nor stated in `INTERNAL_API`."""
    foreign = []
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            foreign += [alias.name for alias in node.names if re.match(r"sepdict\.|(sepdict_)?cli\b", alias.name)]
        elif isinstance(node, ast.ImportFrom) and not node.level and re.match(r"(sepdict|cli)", node.module or ""):
            module = str(node.module)
            names = [alias.name for alias in node.names if not (module == own or module.startswith(f"{own}."))]
            foreign += [f"{module}.{name}" for name in names if not is_open(module, name)]
    return foreign


def is_open(module: str, name: str) -> bool:
    """Tell whether a name is there for front ends: public in its module or in sepdict, or stated."""
    if module in ("sepdict.errors", "sepdict.progress"):
        return not name.startswith("_")
    if name in sepdict.__all__ and module.startswith("sepdict"):
        return getattr(importlib.import_module(module), name, None) is getattr(sepdict, name)
    return name in INTERNAL_API.get(module, ())


FRONT_ENDS = {"sepdict_cli": ROOT / "cli", "sepdict.web": PACKAGE / "web"}
FRONT_END_MODULES = [(own, path) for own, folder in FRONT_ENDS.items() for path in sorted(folder.rglob("*.py"))]


@pytest.mark.parametrize(("own", "path"), FRONT_END_MODULES, ids=lambda each: getattr(each, "stem", each))
def test_front_ends_import_what_is_public_or_stated(own: str, path: Path) -> None:
    assert foreign_imports(path.read_text(), own=own) == []


@pytest.mark.parametrize(
    ("program", "foreign"),
    [
        (
            "from sepdict.models.layers import Stack",
            ["sepdict.models.layers.Stack"],
        ),
        ("def f():\n    from sepdict._core.fs import TEMPORARY, to_json", ["sepdict._core.fs.TEMPORARY"]),
        ("import sepdict.models.layers", ["sepdict.models.layers"]),
        ("from sepdict import models", ["sepdict.models"]),
        ("from sepdict.training import train", ["sepdict.training.train"]),
        ("from sepdict.models.layers import Dictionary", ["sepdict.models.layers.Dictionary"]),
        ("from cli.console import say", ["cli.console.say"]),
        ("from sepdict.web.jobs import Job", ["sepdict.web.jobs.Job"]),
        ("import sepdict\nfrom sepdict import Audio\nfrom sepdict.errors import ConfigError", []),
        ("from .console import say", []),
    ],
)
def test_a_foreign_import_would_be_found(program: str, foreign: list[str]) -> None:
    assert foreign_imports(program, own="sepdict_cli") == foreign


def test_what_is_stated_for_front_ends_is_there_and_used() -> None:
    programs = "\n".join(path.read_text() for _, path in FRONT_END_MODULES)
    for module, names in INTERNAL_API.items():
        for name in names:
            assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
            assert re.search(rf"\b{name}\b", programs), f"no front end uses {name}"
