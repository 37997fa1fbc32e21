"""Errors of usage: one line in our own words, with a suggestion."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from .console import explain, note, report_error, say

WRONG_USE = 2
MAY_BE_EMPTY = ("hidden",)  # of a network without hidden layers
EXPECTED = {  # by what pydantic calls it that a value is not
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_parsing": "a number",
    "greater_than_equal": "{ge:g} or more",
    "less_than_equal": "{le:g} or less",
}


class PlainCommand(TyperCommand):
    """A command with plain help and without empty values.

    The help does not show the types of arguments, such as list[str]: their names say enough. An empty value, as an
    unset variable of the shell leaves it, would be taken for the folder where one stands.
    """

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        for argument in (each for each in self.params if isinstance(each, TyperArgument)):
            vars(argument)["display_type_rich"] = lambda ctx: None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, after a look at them while they still are text."""
        if not ctx.resilient_parsing:  # as it is when a shell completes
            texts, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            self._refuse_empty(texts, ctx)
        return super().parse_args(ctx, args)

    def _refuse_empty(self, texts: Mapping[str, Any], ctx: Any) -> None:
        """Refuse an empty value of what the help has a name for; numbers and choices have messages of their own."""
        parameter: Any  # of a class that typer has and does not show
        for parameter in self.params:
            text = texts.get(parameter.name)
            is_empty = "" in text if isinstance(text, list | tuple) else text == ""
            if is_empty and parameter.metavar and parameter.name not in MAY_BE_EMPTY:
                raise typer.BadParameter(f"it is empty; expected {parameter.metavar}", ctx, parameter)


class OneLineUsage(TyperGroup):
    """The group of commands: it reports a wrong use in one line, and exits with 2."""

    def main(self, *given: Any, standalone_mode: bool = True, **settings: Any) -> Any:
        """Run the command that the arguments name; standing alone, end the process with its exit code."""
        settings |= {"standalone_mode": False}  # typer then leaves its errors, and the exit code, to its caller
        if not standalone_mode:
            return super().main(*given, **settings)
        try:
            code = super().main(*given, **settings)
            if sys.stdout is not None:  # closed from the start
                sys.stdout.flush()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):  # who reads no further wants no more words
                report_error(explain(error))
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # Python flushes once more, and would exit with 120
            code = 1
        except typer.TyperException as error:
            self._report_usage(error, (given[0] if given else settings.get("args")) or sys.argv[1:])
            code = WRONG_USE
        sys.exit(code)

    def resolve_command(self, context: Any, given: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command; ``help`` shows this help or a command's, and a part of a name gets a suggestion."""
        if given[0] == "help":
            if len(given) == 1:
                say(context.get_help())
                raise typer.Exit
            given = [given[1], "--help"]
        try:
            return super().resolve_command(context, given)
        except Exception as error:
            message = getattr(error, "message", "")
            meant = [name for name in self.commands if given[0] in name]
            if message and meant and not message.endswith("?"):
                error.message = f"{message.rstrip('.')}. Did you mean {', '.join(map(repr, meant))}?"  # type: ignore[attr-defined]
            raise

    def _report_usage(self, error: Any, arguments: Sequence[str]) -> None:
        """Report an error of usage; or show the help, where typer's error holds just that."""
        said, context = error.format_message(), getattr(error, "ctx", None)
        if context is not None and said == context.get_help():  # a command without any of its arguments
            note(said)
            return
        named = next((f"{self.name} {argument}" for argument in arguments if argument in self.commands), self.name)
        command = named if context is None else context.command_path
        if hasattr(error.__cause__, "errors"):  # pydantic's, which checks values for typer
            said = _in_our_words(said, error.__cause__.errors()[0])
        said = said[:1].lower() + said[1:].rstrip(".")
        said += "" if said.endswith("?") else ";"
        report_error(f"{said} see {command} --help")


def _in_our_words(said: str, problem: Mapping[str, Any]) -> str:
    """Replace pydantic's words about a value by ours: what came, and what was expected."""
    own = problem["msg"].removeprefix("Value error, ")  # a parser's of ours
    if problem["type"] in EXPECTED:
        expected = EXPECTED[problem["type"]].format(**problem.get("ctx", {}))
        own = f"{problem['input']!r}; expected {expected}"
    return said.replace(problem["msg"], own)
