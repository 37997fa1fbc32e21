"""The command line of this package's distribution, as ``python -m sepdict`` starts it."""

from importlib.metadata import entry_points

if __name__ == "__main__":
    (command,) = entry_points(group="console_scripts", name="sepdict")  # the library itself knows no front end
    command.load()(prog_name="sepdict")
