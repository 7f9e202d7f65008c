"""Backends, which carry out the optimizer steps."""
