"""Which way a metric gets better."""

MINIMISED = ("loss", "perplexity", "error", "wer", "cer", "ter")


def is_minimised(metric: str) -> bool:
    """Whether less of it is better."""
    return metric.endswith(MINIMISED)
