"""`python -m expkit.report` is `expkit report`."""

from expkit.commands import main

if __name__ == "__main__":
    main("report")
