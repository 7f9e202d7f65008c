"""`python -m expkit.schema` is `expkit schema`."""

from expkit.commands import main

if __name__ == "__main__":
    main("schema")
