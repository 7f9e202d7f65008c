"""Lines, tables and errors that users see, without secrets."""
