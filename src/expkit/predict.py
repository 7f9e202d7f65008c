"""`python -m expkit.predict` is `expkit predict`."""

from expkit.commands.predict import main

if __name__ == "__main__":
    main()
