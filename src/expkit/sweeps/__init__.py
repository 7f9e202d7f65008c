"""What makes many runs one sweep."""
