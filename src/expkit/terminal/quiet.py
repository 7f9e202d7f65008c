"""Keep libraries from talking."""

import logging
import os
import warnings

import datasets
import transformers


def hush() -> None:
    """Silence progress bars, advice and warnings of the libraries."""
    # Said aloud, or tokenizers warns in each process that is forked off later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for name in ("mlflow", "alembic", "accelerate", "httpx", "huggingface_hub", "hydra"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It prints the traceback of each error of a database, and raises it too.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"(mlflow|torch|transformers|peft)\b")
