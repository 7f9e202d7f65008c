"""`python -m expkit.predict` is `expkit predict`."""

from expkit.commands import main

if __name__ == "__main__":
    main("predict")
