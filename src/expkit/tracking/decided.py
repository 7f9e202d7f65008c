"""Serve a classifier that has several labels, or whose temperature or thresholds were chosen.

MLflow stores a copy of this file beside the model, and imports it where expkit may not be installed, so this file
imports nothing of expkit.
"""

from typing import Any

import pandas as pd
from transformers import TextClassificationPipeline


class DecidedPipeline(TextClassificationPipeline):
    """Names labels by the `decision` in the model's config, where a plain pipeline takes the most probable one."""

    def postprocess(self, model_outputs: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Return the label and its probability; of several, the labels and the probabilities of all."""
        names, decision = self.model.config.id2label, getattr(self.model.config, "decision", None)
        temperature, thresholds = (
            (decision["temperature"], decision["thresholds"]) if decision else (1.0, None)
        )
        logits = model_outputs["logits"][0].double() / temperature
        if self.model.config.problem_type == "multi_label_classification":
            probabilities = logits.sigmoid()
            is_label = (probabilities >= probabilities.new_tensor(thresholds or [0.5])).tolist()
            labels = [names[i] for i, decided in enumerate(is_label) if decided]
            scores = {names[i]: p for i, p in enumerate(probabilities.tolist())}
            return {"labels": labels, "scores": scores}
        probabilities = logits.softmax(-1)
        label = int(probabilities[1] >= thresholds[0] if thresholds else probabilities.argmax())
        return {"label": names[label], "score": float(probabilities[label])}


class Served:
    """The object that `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, pipeline: DecidedPipeline) -> None:
        self.pipeline = pipeline

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row for each text, or pair of texts in the columns `text` and `text_pair`."""
        if isinstance(model_input, pd.DataFrame):
            is_pair = "text_pair" in model_input.columns
            texts = model_input.to_dict("records") if is_pair else model_input.iloc[:, 0].tolist()
        else:
            texts = list(model_input)
        return pd.DataFrame(self.pipeline(texts, truncation=True))


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Served:
    """Load the model; MLflow looks for a function with this name."""
    import mlflow.transformers

    parts = mlflow.transformers.load_model(path, return_type="components")
    return Served(DecidedPipeline(model=parts["model"], tokenizer=parts["tokenizer"]))
