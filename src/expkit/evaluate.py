"""`python -m expkit.evaluate` is `expkit evaluate`."""

from expkit.commands import main

if __name__ == "__main__":
    main("evaluate")
