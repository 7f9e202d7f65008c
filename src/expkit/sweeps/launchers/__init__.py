"""Launchers, which decide where the jobs of a sweep run."""
