"""Log the trained model so that MLflow can load it without expkit, and load it again."""

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
from mlflow.types.schema import AnyType, ColSpec, Schema
from transformers import Pipeline, PreTrainedModel, PreTrainedTokenizerBase
from transformers.pipelines import SUPPORTED_TASKS

from expkit import answering
from expkit.answering.answers import KEY, MULTILABEL
from expkit.answering.served import outputs
from expkit.terminal.errors import UserError
from expkit.tracking.card import CARD

REQUIREMENTS = ("torch", "transformers", "safetensors", "sentencepiece", "scipy", "pandas")


def log_model(
    run_id: str, folder: str, pipeline: str, example: Any, serving: dict[str, Any] | None = None
) -> str:
    """Log the model in a folder as a pipeline with signature and input example; returns its address.

    MLflow would find the requirements by running the model, which takes time and fails without torchvision.
    So they are given here.

    Args:
        serving: what `Task.serving` returns.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if pipeline in SUPPORTED_TASKS:
        served = transformers.pipeline(pipeline, model=folder, tokenizer=tokenizer, device="cpu")
    else:
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True)
        served = _Text2TextPipeline(model=model, tokenizer=tokenizer, task=pipeline)
    config = served.model.config
    if serving is None and pipeline not in SUPPORTED_TASKS:  # a task of the user's own
        serving = {"max_length": tokenizer.model_max_length, "generation": {}}
    elif serving is None and (config.problem_type == MULTILABEL or hasattr(config, KEY)):
        serving = {}
    client = MlflowClient()
    run = client.get_run(run_id)
    # Model.log would create the model in the experiment of the active run, but this thread has no such run.
    logged = client.create_logged_model(
        run.info.experiment_id, name="model", source_run_id=run_id, params=run.data.params
    )
    info = Model.log(
        artifact_path=None,
        flavor=_Flavor(Path(folder) / CARD, serving),
        transformers_model=served,
        run_id=run_id,
        model_id=logged.model_id,
        input_example=example,
        validate_serving_input=False,  # the validation would load the model once more
        signature=ModelSignature(
            _inputs(example, serving),
            None if serving is None else outputs(pipeline, config.problem_type),
        ),
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


class _Flavor:
    """What `mlflow.transformers` saves, with the model card; `answering` is saved beside it if it answers.

    Where transformers has no name for the pipeline any more, it names the tokenizer a processor too, so that MLflow,
    asked for a pipeline, tells the user to load the components.
    """

    def __init__(self, card: Path, serving: dict[str, Any] | None) -> None:
        self._card, self._serving = card, serving

    def save_model(self, path: str, mlflow_model: Model, **settings: Any) -> None:
        """Save the model; `Model.log` calls this method."""
        pipeline, serving = settings["transformers_model"].task, self._serving
        code = None if serving is None else [str(Path(str(answering.__file__)).parent)]
        mlflow.transformers.save_model(
            path=path, mlflow_model=mlflow_model, code_paths=code, **settings
        )
        if serving is not None:
            mlflow_model.flavors[mlflow.pyfunc.FLAVOR_NAME] |= {
                mlflow.pyfunc.MAIN: "answering.served",
                mlflow.pyfunc.MODEL_CONFIG: {"pipeline": pipeline, **serving},
            }
        if pipeline not in SUPPORTED_TASKS:
            flavor = mlflow_model.flavors[mlflow.transformers.FLAVOR_NAME]
            flavor["processor_type"] = "AutoTokenizer"
            components = Path(path) / "components"
            shutil.copytree(components / "tokenizer", components / "processor")
        mlflow_model.save(str(Path(path) / "MLmodel"))
        if self._card.exists():
            shutil.copy(self._card, path)


class _Text2TextPipeline(Pipeline):
    """Holds a model for which transformers has no pipeline any more, as MLflow saves nothing else; it computes nothing."""

    preprocess = _forward = postprocess = None

    def _sanitize_parameters(self, **_: Any) -> tuple[dict[str, Any], ...]:
        return {}, {}, {}


def _inputs(example: Any, serving: dict[str, Any] | None) -> Schema:
    """Text columns. The only one has no name, for lists of texts; `Served` sees null there only if it may be anything."""
    names = list(example) if isinstance(example, dict) else [None]
    return Schema([ColSpec("string" if n or serving is None else AnyType(), n) for n in names])
