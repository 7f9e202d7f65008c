"""What a person sees: lines, tables, errors, and nothing secret."""
