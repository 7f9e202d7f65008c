"""The trained model in MLflow, loadable without expkit."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
import mlflow.transformers
import transformers
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pipelines import SUPPORTED_TASKS

from expkit.terminal.errors import UserError
from expkit.tracking import text2text

REQUIREMENTS = ("torch", "transformers", "safetensors", "sentencepiece")


def log_model(run_id: str, folder: str, pipeline: str, example: Any) -> str:
    """Log the model in a folder as a pipeline with signature and input example; returns its address.

    The requirements are written down rather than found out, which would run the model once more
    and fails where torchvision is not installed.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if pipeline in SUPPORTED_TASKS:
        served = transformers.pipeline(pipeline, model=folder, tokenizer=tokenizer, device="cpu")
    else:
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True)
        served = text2text.Text2TextPipeline(model=model, tokenizer=tokenizer, task=pipeline)
    client = MlflowClient()
    run = client.get_run(run_id)
    # Model.log would make it in the experiment of the active run, and there is none in this thread.
    logged = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
    )
    info = Model.log(
        artifact_path=None,
        flavor=mlflow.transformers if pipeline in SUPPORTED_TASKS else _WithOwnLoader,
        transformers_model=served,
        run_id=run_id,
        model_id=logged.model_id,
        input_example=example,
        validate_serving_input=False,  # it would load the model once more
        signature=_signature(example),
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
    )
    return str(info.model_uri)


def load_model(uri: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and the tokenizer that were logged, from safetensors, without the code beside them.

    MLflow's own loader would put that code before all modules, and trust it. A store is shared.

    Raises:
        UserError: it is none of ours.
    """
    folder = Path(mlflow.artifacts.download_artifacts(uri))
    try:
        name = Model.load(str(folder)).flavors["transformers"]["pipeline_model_type"]
        found: Any = getattr(transformers, name)
        if PreTrainedModel not in getattr(found, "__mro__", ()):
            raise TypeError(f"{name} is no PreTrainedModel")
        model = found.from_pretrained(
            folder / "model", use_safetensors=True, trust_remote_code=False
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder / "components" / "tokenizer", trust_remote_code=False
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError, MlflowException) as error:
        raise UserError(f"{uri}: cannot be loaded: {str(error).splitlines()[0]}") from error
    return model, tokenizer


class _WithOwnLoader:
    """The flavor of a model for whose pipeline transformers has no name any more.

    It is that of `mlflow.transformers`, but for pyfunc, which would look for the pipeline. Asked for the
    pipeline, MLflow says that there is none for models with a processor, and to take the components.
    """

    @staticmethod
    def save_model(path: str, mlflow_model: Model, **settings: Any) -> None:
        """Called by `Model.log`."""
        loader = Path(text2text.__file__)
        mlflow.transformers.save_model(
            path=path, mlflow_model=mlflow_model, code_paths=[str(loader)], **settings
        )
        mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME][mlflow.pyfunc.MAIN] = loader.stem
        mlflow_model.flavors[mlflow.transformers.FLAVOR_NAME]["processor_type"] = "AutoTokenizer"
        components = Path(path) / "components"
        shutil.copytree(components / "tokenizer", components / "processor")
        mlflow_model.save(str(Path(path) / "MLmodel"))


def _signature(example: Any) -> ModelSignature:
    """Text columns in; what comes out depends on the pipeline and its parameters."""
    names = list(example) if isinstance(example, dict) else [None]
    columns = [ColSpec("string", name) if name else ColSpec("string") for name in names]
    return ModelSignature(inputs=Schema(columns))
