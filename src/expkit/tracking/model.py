"""Log the trained model so that MLflow can load it without expkit, and load it again."""

import shutil
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
import mlflow.transformers
import transformers
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.pipelines import SUPPORTED_TASKS

from expkit.terminal.errors import UserError
from expkit.tracking import decided, text2text

MULTILABEL = "multi_label_classification"
REQUIREMENTS = ("torch", "transformers", "safetensors", "sentencepiece")


def log_model(run_id: str, folder: str, pipeline: str, example: Any) -> str:
    """Log the model in a folder as a pipeline with signature and input example; returns its address.

    MLflow would find the requirements by running the model, which takes time and fails without torchvision.
    So they are given here.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if pipeline in SUPPORTED_TASKS:
        served = transformers.pipeline(pipeline, model=folder, tokenizer=tokenizer, device="cpu")
    else:
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True)
        served = text2text.Text2TextPipeline(model=model, tokenizer=tokenizer, task=pipeline)
    client = MlflowClient()
    run = client.get_run(run_id)
    # Model.log would create the model in the experiment of the active run, but this thread has no such run.
    logged = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
    )
    info = Model.log(
        artifact_path=None,
        flavor=_flavor(pipeline, served.model.config),
        transformers_model=served,
        run_id=run_id,
        model_id=logged.model_id,
        input_example=example,
        validate_serving_input=False,  # the validation would load the model once more
        signature=_signature(example),
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in REQUIREMENTS],
    )
    return str(info.model_uri)


def load_model(uri: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a logged model and its tokenizer from safetensors, without running code that lies beside them.

    MLflow's own loader would import that code, which anybody who can write into the store may have changed.

    Raises:
        UserError: expkit has not logged this model, or its files are damaged.
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


def _flavor(pipeline: str, config: PretrainedConfig) -> Any:
    """MLflow's own flavor, unless a model has to be loaded by a module of expkit."""
    if pipeline not in SUPPORTED_TASKS:
        return _WithOwnLoader(text2text)
    is_decided = config.problem_type == MULTILABEL or getattr(config, "decision", None)
    return _WithOwnLoader(decided) if is_decided else mlflow.transformers


class _WithOwnLoader:
    """The MLflow flavor of a model that pyfunc loads by a module of expkit, which is saved beside it.

    Otherwise it saves what `mlflow.transformers` saves. Where transformers has no name for the pipeline any more,
    it names the tokenizer a processor too, so that MLflow, asked for a pipeline, tells the user to load the
    components.
    """

    def __init__(self, module: ModuleType) -> None:
        self._loader = Path(str(module.__file__))

    def save_model(self, path: str, mlflow_model: Model, **settings: Any) -> None:
        """Save the model; `Model.log` calls this method."""
        mlflow.transformers.save_model(
            path=path, mlflow_model=mlflow_model, code_paths=[str(self._loader)], **settings
        )
        mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME][mlflow.pyfunc.MAIN] = self._loader.stem
        if settings["transformers_model"].task not in SUPPORTED_TASKS:
            flavor = mlflow_model.flavors[mlflow.transformers.FLAVOR_NAME]
            flavor["processor_type"] = "AutoTokenizer"
            components = Path(path) / "components"
            shutil.copytree(components / "tokenizer", components / "processor")
        mlflow_model.save(str(Path(path) / "MLmodel"))


def _signature(example: Any) -> ModelSignature:
    """Return a signature with text columns as inputs; outputs depend on the pipeline's parameters."""
    names = list(example) if isinstance(example, dict) else [None]
    columns = [ColSpec("string", name) if name else ColSpec("string") for name in names]
    return ModelSignature(inputs=Schema(columns))
