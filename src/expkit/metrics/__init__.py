"""Metrics as `evaluate.Metric` classes that need no network."""
