"""`python -m expkit.reproduce` is `expkit reproduce`."""

from expkit.commands.reproduce import main

if __name__ == "__main__":
    main()
