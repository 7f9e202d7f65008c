"""`python -m expkit.rescore` is `expkit rescore`."""

from expkit.commands import main

if __name__ == "__main__":
    main("rescore")
