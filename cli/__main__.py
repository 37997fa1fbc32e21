"""The `sepdict` command, as ``python -m sepdict_cli`` starts it."""

from .app import app

if __name__ == "__main__":
    app(prog_name="sepdict")
