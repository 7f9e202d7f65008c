"""Serve a model of one of expkit's own tasks: what `mlflow.pyfunc.load_model` and `mlflow models serve` load."""

from threading import Lock
from typing import Any

import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.types.schema import Array, ColSpec, Map, Object, Property, Schema

from . import UserError
from .answers import ANSWERS, MULTILABEL, Row

AT_ONCE = 64  # records in a batch
# The types of the rows of an answer, of which there may be any number.
ROWS = {
    "token-classification": "type:string text:string start:long end:long probability:double",
    "fill-mask": "mask:long word:string probability:double",
}
# Those of the only row.
COLUMNS: dict[str, dict[str, Any]] = {
    "translation": {"translation": "string"},
    "regression": {"prediction": "double"},
    MULTILABEL: {"labels": Array("string"), **(PROBABILITIES := {"probabilities": Map("double")})},
    "": {"label": "string", "probability": "double", **PROBABILITIES},
}


def outputs(pipeline: str, problem_type: str | None) -> Schema:
    """The types of what `Served.predict` returns."""
    if pipeline in ROWS:
        properties = [Property(*column.split(":")) for column in ROWS[pipeline].split()]
        return Schema([ColSpec(Array(Object(properties)))])
    columns = COLUMNS.get(pipeline) or COLUMNS.get(problem_type or "") or COLUMNS[""]
    return Schema([ColSpec(kind, name) for name, kind in columns.items()])


class Served:
    """The object that `mlflow.pyfunc.load_model` wraps; it answers one request after the other.

    MLflow's server calls it from several threads, and neither a tokenizer nor a model is made for that.
    """

    def __init__(self, model: Any, tokenizer: Any, pipeline: str, **settings: Any) -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._pipeline, self._settings = pipeline, settings
        self._lock = Lock()

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame | list[list[Row]]:
        """Answer the texts in the first column, or the pairs in `text` and `text_pair`.

        Returns:
            a row for each record, or the list of the rows of each if there may be several of them.

        Raises:
            MlflowException: something is no text, or cannot be answered; the server says 400.
        """
        try:
            answers = self._answers(model_input)
        except UserError as error:
            raise MlflowException(str(error), INVALID_PARAMETER_VALUE) from None
        return answers if self._pipeline in ROWS else pd.DataFrame([row for (row,) in answers])

    def _answers(self, asked: pd.DataFrame) -> list[list[Row]]:
        is_pair, column = {"text", "text_pair"} <= {*asked}, asked.columns[0] if len(asked) else 0
        names = ["text", "text_pair"] if is_pair else [column]
        if not is_pair and column not in (0, "0", "text", self._settings.get("column")):
            raise UserError(f"got a column {column!r}; expected 'text'")
        records: list[Any] = asked[names].to_numpy().tolist() if len(asked) else []
        for i, record in enumerate(records):
            if wrong := [value for value in record if not isinstance(value, str)]:
                raise UserError(f"record {i}: {wrong[0]!r:.60} is no text")
        if self._pipeline != "text-classification":
            records = [text for (text,) in records]
        settings = {k: v for k, v in self._settings.items() if k != "column"}
        answers = []
        with self._lock, torch.inference_mode():
            for start in range(0, len(records), AT_ONCE):
                part = records[start : start + AT_ONCE]
                answers += ANSWERS[self._pipeline](self._model, self._tokenizer, part, **settings)
        return answers


def _load_pyfunc(path: str, model_config: dict[str, Any]) -> Served:
    """Load the model; MLflow looks for a function with this name."""
    import mlflow.transformers

    parts = mlflow.transformers.load_model(path, return_type="components")
    return Served(parts["model"], parts["tokenizer"], **model_config)
