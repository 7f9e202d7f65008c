"""Building models from checkpoints and from scratch, LoRA, merging."""
