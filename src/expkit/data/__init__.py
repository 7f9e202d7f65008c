"""Where examples come from, how they are kept, and in which order they are trained on."""
