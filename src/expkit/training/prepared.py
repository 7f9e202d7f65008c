"""The components of a run, and functions for those that are built in several steps."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from accelerate.utils import set_seed  # the one of transformers imports PEFT, which takes 0.2 s
from datasets import Dataset
from omegaconf import DictConfig
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from expkit.config.components import make, make_task
from expkit.config.fingerprint import digest_of_values, sources
from expkit.config.resolved import plain
from expkit.data.cache import cached, digest_of_tokenizer
from expkit.data.division import Undivided, divided
from expkit.data.splits import Splits, Texts
from expkit.data.steps import Collate, Steps
from expkit.models.fit import fit, require_positions
from expkit.processes.group import main_first
from expkit.processes.ranks import count, rank
from expkit.tasks.interface import Task
from expkit.tasks.serving import require_served
from expkit.terminal.display import say
from expkit.terminal.errors import UserError
from expkit.training.evaluation import EvalSet
from expkit.training.interface import Backend, Training


@dataclass(frozen=True)
class Prepared:
    """All components of a run, ready for the first step."""

    splits: Splits
    task: Task
    builder: Any
    tokenizer: PreTrainedTokenizerBase
    encoded: dict[str, Dataset]
    eval_sets: dict[str, EvalSet]
    training: Training
    backend: Backend
    trained: int  # parameters that training changes
    report: dict[str, Any]  # on the data, see data/inspection.py


def data_and_task(cfg: DictConfig) -> tuple[Splits, Task]:
    """Read the data, make the task, and let it divide and inspect the data.

    Raises:
        UserError: `task._target_` does not name a task, or the model cannot be served as the task says.
        DataError: the data do not fit the task.
    """
    task = make_task(cfg)
    if not isinstance(task, Task):
        raise UserError(
            f"task._target_={cfg.task._target_}: is not a task; a class of your own inherits from "
            "expkit.tasks.interface.Task (docs/add-a-task.md)"
        )
    splits = read_data(cfg, task)
    say(f"data: {', '.join(f'{len(s)} {name}' for name, s in splits.named().items())}")
    task.setup(splits)
    if cfg.tracking.log_model:
        require_served(task)
    return splits, task


def read_data(cfg: DictConfig, task: Task) -> Splits:
    """Read the data. What is to be divided is divided by the inputs and labels that the task finds."""
    data: Splits | Undivided = make(cfg, "data")
    if isinstance(data, Splits):
        return data
    return divided(data, list(task.asked(data.examples)), task.strata(data.examples))


def read_and_encode(
    cfg: DictConfig,
) -> tuple[Splits, Task, Any, PreTrainedTokenizerBase, PreTrainedModel, dict[str, Dataset]]:
    """The data, the task, the model builder, the tokenizer, the model before training, the model inputs."""
    splits, task = data_and_task(cfg)
    builder = make(cfg, "model")
    texts = Texts(partial(task.texts, splits.train), digest_of_values(read_by(cfg, task, splits)))
    tokenizer = builder.tokenizer(texts)
    tokenizer.model_max_length = task.max_length  # saved with it, for whoever loads it
    model = build_base(cfg, task, builder, tokenizer)
    length_key = "task.block_size" if "block_size" in cfg.task else "task.max_length"
    require_positions(model, task.max_length, length_key)
    return (
        splits,
        task,
        builder,
        tokenizer,
        model,
        encode(cfg, splits, task, tokenizer, model.config),
    )


def build_base(
    cfg: DictConfig, task: Task, builder: Any, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """The model before training. Its random weights are the same at each call."""
    set_seed(cfg.seed)
    head = task.head()
    model = builder.build(head, tokenizer)
    fit(model, tokenizer)
    if head.configure:
        head.configure(model, tokenizer)
    return model


def encode(
    cfg: DictConfig,
    splits: Splits,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    config: PretrainedConfig,
) -> dict[str, Dataset]:
    """The model inputs of each split, taken from the cache if they are there."""
    identity = {
        **read_by(cfg, task, splits),
        "tokenizer": digest_of_tokenizer(tokenizer),
        "model": config.model_type,
    }
    with main_first():
        return {
            name: cached(
                {**identity, "split": split.digest}, partial(task.encode, split, tokenizer, config)
            )
            for name, split in splits.named().items()
        }


def read_by(cfg: DictConfig, task: Task, splits: Splits) -> dict[str, Any]:
    """Everything that decides which texts and labels the task reads from records."""
    settings = {key: value for key, value in plain(cfg)["task"].items() if key != "metrics"}
    return {
        "task": settings,
        "source": sources(settings),
        "train": splits.train.digest,  # labels are collected from the training split
    }


def steps_of(cfg: DictConfig, encoded: Dataset, collate: Collate) -> Steps:
    """The steps on which this process trains."""
    return Steps(
        encoded,
        encoded["length"][:],
        collate,
        batch_size=cfg.train.batch_size,
        accumulation=cfg.train.accumulation * cfg.launch.processes,
        epochs=cfg.train.epochs,
        max_steps=cfg.train.max_steps,
        group_by_length=cfg.train.group_by_length,
        seed=cfg.seed,
        process=(rank(), count()),
    )
