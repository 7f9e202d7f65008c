"""Where examples come from, how they are kept, and the order in which a model is trained on them."""
