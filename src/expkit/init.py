"""`python -m expkit.init` is `expkit init`."""

from expkit.commands import main

if __name__ == "__main__":
    main("init")
