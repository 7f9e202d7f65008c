"""Serves a model that turns text into text; MLflow keeps this file beside the model.

Transformers 5 has no pipeline for translation any more, so nothing in MLflow could ask such a model.
The file is imported from the logged model's folder, without expkit.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Pipeline


class Text2TextPipeline(Pipeline):
    """Texts in, generated texts out, with the prefix and the settings that the model was saved with."""

    def _sanitize_parameters(
        self, **generation: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, generation, {}

    def preprocess(self, input_: str, **_: Any) -> Any:
        """Token ids of prefix and text, cut to the tokenizer's maximum length."""
        prefix = getattr(self.model.config, "prefix", None) or ""
        return self.tokenizer(prefix + input_, truncation=True, return_tensors="pt")

    def _forward(self, input_tensors: Any, **generation: Any) -> torch.Tensor:
        inputs = {name: input_tensors[name] for name in ("input_ids", "attention_mask")}
        return self.model.generate(**inputs, **generation)

    def postprocess(self, model_outputs: torch.Tensor, **_: Any) -> str:
        """The first generated text."""
        return str(self.tokenizer.decode(model_outputs[0], skip_special_tokens=True))


class Served:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, pipeline: Text2TextPipeline) -> None:
        self.pipeline = pipeline

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Sequence[str]:
        """Generated texts; `params` are those of `generate`."""
        texts = model_input if isinstance(model_input, list) else model_input.iloc[:, 0].tolist()
        return [self.pipeline(text, **(params or {})) for text in texts]


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Served:
    """The entry point that MLflow looks for."""
    import mlflow.transformers

    parts = mlflow.transformers.load_model(path, return_type="components")
    return Served(Text2TextPipeline(model=parts["model"], tokenizer=parts["tokenizer"]))
