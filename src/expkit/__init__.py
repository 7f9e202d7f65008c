"""Config-driven experiments for fine-tuning transformer models."""

__version__ = "0.1.0"
