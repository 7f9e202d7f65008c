"""Training scripts written the ordinary way: what expkit is measured against."""
