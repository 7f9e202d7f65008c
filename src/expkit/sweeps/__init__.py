"""Grids and searches: many runs as one sweep."""
