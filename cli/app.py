"""The `sepdict` command: its subcommands and the options that stand before them."""

import importlib.metadata
from collections.abc import Callable
from typing import Annotated

import typer

from .check import check
from .compare import compare
from .console import one_line_errors
from .env import env
from .evaluate import evaluate
from .info import info
from .inspect_dictionary import inspect
from .list_dictionaries import list_dictionaries
from .live import live
from .options.common import Verbose
from .separate import separate
from .serve import serve
from .synthesize import synthesize
from .train import train_dictionary
from .usage import OneLineUsage, PlainCommand

COMMANDS: dict[str, Callable[..., None]] = {
    "train-dictionary": train_dictionary,
    "separate": separate,
    "live": live,
    "check": check,
    "evaluate": evaluate,
    "info": info,
    "compare": compare,
    "synthesize": synthesize,
    "inspect": inspect,
    "list": list_dictionaries,
    "env": env,
    "serve": serve,
}
WITHOUT_ARGUMENTS = ("list", "env", "serve")

app = typer.Typer(
    name="sepdict",
    cls=OneLineUsage,
    help="Teach it a sound from solo recordings, then pull that sound out of any mix.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich would double the time to it
)
for name, function in COMMANDS.items():
    app.command(name, cls=PlainCommand, no_args_is_help=name not in WITHOUT_ARGUMENTS)(one_line_errors(function))


def print_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"sepdict {importlib.metadata.version('sepdict')}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    verbose: Verbose = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    """Pass `--verbose` on, for it may stand before the command or behind it."""
    context.default_map = {name: {"verbose": verbose} for name in COMMANDS}
