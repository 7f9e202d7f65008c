"""What stands behind `expkit.compare`."""
