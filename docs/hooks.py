"""Make the pages of the site that have another source: scripts, the command's own help, files outside docs/.

MkDocs calls the functions whose names begin with ``on_``. Links in the pages lead to files of the project, so that they
work wherever the Markdown is read; `on_page_markdown` turns those that lead to the source of a page into links to it.
"""

import re
from html import escape
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
TUTORIALS = sorted(path.name for path in (ROOT / "docs" / "tutorials").glob("*.py"))
PAGE_OF = {
    "CHANGELOG.md": "changelog.md",
    "data/README.md": "demo.md",
    "tests/benchmarks/RESULTS.md": "results.md",
    "tests/benchmarks/SPEED.md": "speed.md",
    "tests/benchmarks/FORECAST.md": "forecast.md",
    "tests/benchmarks/growth.svg": "growth.svg",
} | {f"docs/tutorials/{name}": f"tutorials/{Path(name).stem}.md" for name in TUTORIALS}
"""What a page is made of, beside the Markdown in docs/, and the page's place on the site."""

LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")
OPTIONS = re.compile(r"^<!-- options: ([\w-]+) -->$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files outside docs/, or of scripts."""
    for source, page in PAGE_OF.items():
        path = ROOT / source
        if source.endswith(".svg"):
            files.append(File.generated(config, page, abs_src_path=str(path)))
        else:
            text = path.read_text(encoding="utf-8")
            content = tutorial(text) if source.endswith(".py") else text
            files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the commands' options in their places, and point links to files of the project at their pages."""
    place = page.file.src_uri
    source = next((source for source, made in PAGE_OF.items() if made == place), f"docs/{place}")
    markdown = OPTIONS.sub(lambda match: options(match[1]), markdown)
    return LINK.sub(lambda match: link(match[1], source, place), markdown)


def link(target: str, source: str, place: str) -> str:
    """Turn a link in a file of the project into one in the page at `place`."""
    path = normpath(PurePosixPath(source).parent / target)
    page = PAGE_OF.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return relpath(page, PurePosixPath(place).parent) if page else target


def tutorial(script: str) -> str:
    """Turn a script of cells into a page: comments after a cell's title are its text, the rest is its code."""
    introduction, *cells = re.split(r"^# %% ", script, flags=re.MULTILINE)
    title, _, text = introduction.strip().strip('"').strip().partition("\n")
    return "\n\n".join([f"# {title.rstrip('.')}", prose(text), *map(cell, cells)]) + "\n"


def cell(text: str) -> str:
    """Turn one cell of a script into Markdown."""
    title, _, rest = text.partition("\n")
    comment = re.match(r"(?:#.*\n?)*", rest)
    assert comment is not None
    words = re.sub(r"^# ?", "", comment[0], flags=re.MULTILINE).strip()
    code = rest[comment.end() :].strip()
    return "\n\n".join(part for part in [f"## {title}", words, code and f"```python\n{code}\n```"] if part)


def prose(text: str) -> str:
    """Turn the markup of docstrings into Markdown's."""
    return text.strip().replace("``", "`")


def options(name: str) -> str:
    """List the arguments and options of a command as its help has them."""
    (script,) = entry_points(group="console_scripts", name="sepdict")
    group: Any = typer.main.get_command(script.load())
    context = group.make_context("sepdict", [name], resilient_parsing=True)
    command = group.get_command(context, name)
    inner = command.make_context(name, [], parent=context, resilient_parsing=True)
    usage = " ".join(["sepdict", name, *command.collect_usage_pieces(inner)])
    records = filter(None, (parameter.get_help_record(inner) for parameter in command.get_params(inner)))
    terms = "".join(f"<dt><code>{escape(term)}</code></dt><dd>{escape(text)}</dd>\n" for term, text in records)
    return f'```text\n{usage}\n```\n\n{command.help}\n\n<dl class="options">\n{terms}</dl>\n'
