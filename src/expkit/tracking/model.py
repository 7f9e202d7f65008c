"""The trained model in MLflow, loadable without expkit."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.transformers
import transformers
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from transformers import PreTrainedModel, PreTrainedTokenizerBase

REQUIREMENTS = ("torch", "transformers", "safetensors", "sentencepiece")


def log_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pipeline: str,
    example: Any,
) -> str:
    """Log a pipeline with signature and input example to the active run; returns its address.

    The requirements are written down rather than found out, which would run the model once more
    and fails where torchvision is not installed.
    """
    served = transformers.pipeline(pipeline, model=model.cpu().eval(), tokenizer=tokenizer)
    info = mlflow.transformers.log_model(
        served,
        name="model",
        input_example=example,
        signature=_signature(example),
        pip_requirements=[
            f"{package}=={version(package).partition('+')[0]}" for package in REQUIREMENTS
        ],
    )
    return str(info.model_uri)


def model_folder(uri: str) -> Path:
    """The logged model on this disk, downloaded if it is not local."""
    return Path(mlflow.artifacts.download_artifacts(uri))


def _signature(example: Any) -> ModelSignature:
    """Text columns in; what comes out depends on the pipeline and its parameters."""
    names = list(example) if isinstance(example, dict) else [None]
    columns = [ColSpec("string", name) if name else ColSpec("string") for name in names]
    return ModelSignature(inputs=Schema(columns))
