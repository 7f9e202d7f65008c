"""Keep libraries from talking, on the screen and over the network."""

import logging
import os
import warnings

import datasets
import huggingface_hub.constants
import transformers
from omegaconf import DictConfig

from expkit.models.checkpoint import is_on_hub


def hush(cfg: DictConfig) -> None:
    """Silence progress bars and advice, and stay off the hub unless something on it was named."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for name in ("mlflow", "alembic", "accelerate", "httpx", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(mlflow|torch|transformers|peft)\b")
    wants_hub = (
        is_on_hub(cfg.model.get("path", "pkg://")) or cfg.data._target_ == "expkit.data.hub.load"
    )
    huggingface_hub.constants.HF_HUB_OFFLINE = not wants_hub
    datasets.config.HF_HUB_OFFLINE = not wants_hub
