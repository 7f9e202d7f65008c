"""`python -m expkit.ui` is `expkit ui`."""

from expkit.commands import main

if __name__ == "__main__":
    main("ui")
