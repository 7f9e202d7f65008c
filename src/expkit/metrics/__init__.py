"""Metrics, which are `evaluate.Metric` classes that need no network, and their names in MLflow."""
