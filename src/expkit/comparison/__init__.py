"""What `expkit compare` computes and shows."""
