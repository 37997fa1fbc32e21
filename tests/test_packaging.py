"""What is installed is what is in the tree, under names of our own; and the tree is in the order that it promises."""

import ast
import importlib
import importlib.metadata
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

ROOT = Path(__file__).parent.parent
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
    assert importlib.metadata.version("sepdict") == pyproject["project"]["version"]


def test_every_public_name_is_there() -> None:
    assert len(set(sepdict.__all__)) == len(sepdict.__all__)
    assert all(hasattr(sepdict, name) for name in sepdict.__all__)
    assert set(sepdict.__all__) <= set(dir(sepdict))
    with pytest.raises(AttributeError, match="module 'sepdict' has no attribute 'seperate'"):
        sepdict.seperate  # noqa: B018


def test_type_checkers_see_every_public_name_come_from_where_it_is_loaded_from() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (alias.asname, f"{node.module}.{alias.name}")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(name, f"sepdict.{home}.{name}") for name, home in sepdict._HOMES.items()}


FIRST_USE = """
import os, sys
import sepdict
from sepdict import SepdictError
print("torch" in sys.modules, os.environ["OMP_WAIT_POLICY"])
from sepdict import Audio
print("torch" in sys.modules, Audio is sepdict.Audio)
"""


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


def rows() -> dict[str, int]:
    """Read from the package's docstring which module stands in which row."""
    assert sepdict.__doc__ is not None
    table: dict[str, int] = {}
    row = -1
    for number, names in re.findall(r"^    (\d|\s)  ((?:\w+, )*\w+)(?:  .*)?$", sepdict.__doc__, re.MULTILINE):
        row = int(number) if number.strip() else row
        table |= dict.fromkeys(names.split(", "), row)
    return table


MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def test_the_rows_name_every_module_and_no_other() -> None:
    assert sorted(rows()) == MODULES


def imported_by(path: Path) -> set[str]:
    """Name all that a file imports, also inside functions, with relative imports as ``.name``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names |= {f"{base}.{alias.name}" for alias in node.names} if node.module in (None, "sepdict") else {base}
    return names


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_its_row_and_imports_only_from_rows_above(module: str) -> None:
    row = rows()[module]
    document = importlib.import_module(f"sepdict.{module}").__doc__
    assert document is not None
    assert document.startswith(f"Row {row}")
    ours = {name.split(".")[1] for name in imported_by(PACKAGE / f"{module}.py") if name.startswith("sepdict.")}
    # errors stand above all, their own row included
    assert {name: rows()[name] for name in ours - {"errors"} if rows()[name] >= row} == {}


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_the_library_knows_no_front_end(path: Path) -> None:
    tops = {name.split(".")[0] or "." for name in imported_by(path)}
    assert not tops & {".", "sepdict_cli", "cli", "typer", "rich", "argparse"}
    assert not {name for name in imported_by(path) if name.startswith("sepdict.web")}


@pytest.mark.parametrize("path", sorted((ROOT / "cli").glob("*.py")), ids=lambda path: path.stem)
def test_the_command_line_uses_what_the_library_makes_public(path: Path) -> None:
    """No underscored names, and relative imports inside."""
    tree = ast.parse(path.read_text())
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in froms:
        names = [alias.name for alias in node.names]
        assert not (node.module or "").startswith(("cli", "sepdict_cli", "click"))
        assert not any(name.startswith("_") for name in names), names
