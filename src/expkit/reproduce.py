"""`python -m expkit.reproduce` is `expkit reproduce`."""

from expkit.commands import main

if __name__ == "__main__":
    main("reproduce")
