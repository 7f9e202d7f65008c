"""`python -m expkit.compare` is `expkit compare`."""

from expkit.commands import main

if __name__ == "__main__":
    main("compare")
