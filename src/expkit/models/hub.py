"""Whether this run may use the Hugging Face hub, and whether it can."""

import os
import urllib.error
import urllib.request

import datasets
import huggingface_hub.constants
from omegaconf import DictConfig

from expkit.config import glue
from expkit.models.checkpoint import is_on_hub

REACHABLE_WITHIN = 5.0  # seconds


def go_online_if_asked(cfg: DictConfig) -> None:
    """Stay off the hub unless model or data name something on it, and it answers.

    If the hub does not answer, the local cache can still be used. Without this question, the client of
    the hub would try again and again for most of a minute.
    """
    is_glue = glue.task_in(cfg.data) and cfg.data.path == glue.HUB
    named = is_glue or cfg.data._target_ == "expkit.data.hub.load"
    asks = named or is_on_hub(cfg.model.get("path", "pkg://"))
    forbidden = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    offline = forbidden or not (asks and _answers(huggingface_hub.constants.ENDPOINT))
    huggingface_hub.constants.HF_HUB_OFFLINE = offline
    datasets.config.HF_HUB_OFFLINE = offline


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=REACHABLE_WITHIN).close()
    except OSError as error:
        return isinstance(error, urllib.error.HTTPError)  # which is an answer
    return True
