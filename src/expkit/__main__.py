"""`python -m expkit` and the console script `expkit`: a command, or else Hydra's arguments."""

import sys
from importlib import import_module
from pathlib import Path

from expkit import commands
from expkit.processes.exits import exit_codes
from expkit.terminal.errors import ConfigError, nearest

HELP = ("--help", "-h")


def main() -> None:
    """Carry out what was typed: `expkit compare ...` or `expkit optimizer=sgd ...`."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does, for components of the user's own
    known = commands.summaries()
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word in known:
        commands.main(word, sys.argv[2:])
    if word in HELP:
        print(f"expkit COMMAND ... (expkit COMMAND --help says more)\n{commands.menu()}")
    with exit_codes():
        if word.isidentifier():
            allowed = nearest(word, known)
            raise ConfigError(f"{word}: neither a command ({allowed}) nor an override: key=value")
    import_module("expkit.app").main()  # with Hydra, which commands may not need


if __name__ == "__main__":
    main()
