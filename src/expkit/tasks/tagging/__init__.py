"""Tags of words: schemes, columns, sub-words and windows."""
