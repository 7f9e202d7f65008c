"""`python -m expkit.compare` is `expkit compare`."""

from expkit.commands.compare import main

if __name__ == "__main__":
    main()
