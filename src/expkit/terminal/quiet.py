"""Keeps libraries from printing."""

import logging
import os
import warnings

import datasets
import transformers


def hush() -> None:
    """Silence progress bars, advice and warnings of the libraries."""
    # If it is not set, tokenizers warns in each process that is forked later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for name in ("mlflow", "alembic", "accelerate", "httpx", "huggingface_hub", "hydra"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # This logger prints the traceback of each database error, although the error is raised too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"(mlflow|torch|transformers|peft)\b")
    # A schedule is asked for its rates, or put where a run goes on, without its optimizer.
    warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
