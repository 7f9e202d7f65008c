"""`python -m expkit.completion` is `expkit completion`."""

from expkit.commands import main

if __name__ == "__main__":
    main("completion")
