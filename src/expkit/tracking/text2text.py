"""Serve a model that turns text into text; MLflow stores a copy of this file beside the model.

Transformers 5 has no pipeline for translation any more, so MLflow alone could not use such a model. MLflow
imports the copy where expkit may not be installed, so this file imports nothing of expkit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Pipeline


class Text2TextPipeline(Pipeline):
    """Generates a text from a text, with the prefix and the settings that were saved with the model."""

    def _sanitize_parameters(
        self, **generation: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, generation, {}

    def preprocess(self, input_: str, **_: Any) -> Any:
        """Return the token ids of prefix and text, cut to the tokenizer's maximum length."""
        prefix = getattr(self.model.config, "prefix", None) or ""
        return self.tokenizer(prefix + input_, truncation=True, return_tensors="pt")

    def _forward(self, input_tensors: Any, **generation: Any) -> torch.Tensor:
        inputs = {name: input_tensors[name] for name in ("input_ids", "attention_mask")}
        return self.model.generate(**inputs, **generation)

    def postprocess(self, model_outputs: torch.Tensor, **_: Any) -> str:
        """Return the first generated text."""
        return str(self.tokenizer.decode(model_outputs[0], skip_special_tokens=True))


class Served:
    """The object that `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, pipeline: Text2TextPipeline) -> None:
        self.pipeline = pipeline

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Sequence[str]:
        """Return generated texts; `params` are arguments of the model's `generate`."""
        texts = model_input if isinstance(model_input, list) else model_input.iloc[:, 0].tolist()
        return [self.pipeline(text, **(params or {})) for text in texts]


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Served:
    """Load the model; MLflow looks for a function with this name."""
    import mlflow.transformers

    parts = mlflow.transformers.load_model(path, return_type="components")
    return Served(Text2TextPipeline(model=parts["model"], tokenizer=parts["tokenizer"]))
