"""`python -m expkit.doctor` is `expkit doctor`."""

from expkit.commands import main

if __name__ == "__main__":
    main("doctor")
