"""How a model answers: `expkit predict` and the served model share this folder, which is stored beside each model.

MLflow imports the copy where expkit may not be installed, so nothing here imports expkit, except what stands beside it.
"""


class UserError(Exception):
    """A request cannot be carried out. The message says why, and what to do."""


class DataError(UserError):
    """The data cannot be used. The message names the file and, if possible, the line."""
