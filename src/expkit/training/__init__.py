"""Steps, evaluations, checkpoints and exports, whatever the backend."""
