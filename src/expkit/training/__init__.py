"""Training, evaluation, checkpoints and export, in the same way for every backend."""
