"""`python -m expkit.sync` is `expkit sync`."""

from expkit.commands import main

if __name__ == "__main__":
    main("sync")
