"""All code that writes into MLflow or reads from it, except the commands."""
