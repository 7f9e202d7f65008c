"""Errors that users can mend, and that may also come from a served model."""


class UserError(Exception):
    """A request cannot be carried out. The message says why, and what to do."""


class DataError(UserError):
    """The data cannot be used. The message names the file and, if possible, the line."""
