"""`python -m expkit.inspect` is `expkit inspect`."""

from expkit.commands import main

if __name__ == "__main__":
    main("inspect")
