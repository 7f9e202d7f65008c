"""Structured configs: the type, the range and the allowed values of every key.

The values live in `conf/`; the classes here say what may be written there. Plain groups are found
by their name, components by their `_target_`. A `_target_` that is not listed here (the user's own)
is checked against its signature alone.
"""

from dataclasses import dataclass, field
from typing import Any

from expkit.config.direction import DIRECTIONS


def at_least(minimum: float, *, below: float | None = None, word: str | None = None) -> Any:
    """A number in [minimum, below), or a word that stands for one."""
    return field(metadata={"min": minimum, "below": below, "word": word})


def above(minimum: float, *, at_most: float | None = None) -> Any:
    """A number in (minimum, at_most]."""
    return field(metadata={"above": minimum, "max": at_most})


def one_of(*choices: str) -> Any:
    """One of the given words."""
    return field(metadata={"choices": choices})


@dataclass(kw_only=True)
class Root:
    """Keys that belong to the whole run."""

    seed: int = at_least(0, below=2**32)
    precision: str = one_of("auto", "fp32", "tf32", "bf16", "fp16")
    objective: str
    direction: str | None = field(default=None, metadata={"choices": DIRECTIONS})
    run_name: str | None
    dry_run: bool
    resume: str  # never, auto, or the id of a run: checked in fitting.py
    trusted_modules: list[str]


@dataclass(kw_only=True)
class Train:
    """How long, and in what steps. A step is one update of the optimizer."""

    epochs: int = at_least(1)
    max_steps: int | None = at_least(1)
    batch_size: int = at_least(1)
    accumulation: int = at_least(1)
    max_grad_norm: float | None = above(0)
    group_by_length: bool
    eval_on_start: bool
    eval_every: int | None = at_least(1)
    log_every: int = at_least(1)
    patience: int | None = at_least(1)


@dataclass(kw_only=True)
class Eval:
    """Evaluation."""

    batch_size: int = at_least(1)


@dataclass(kw_only=True)
class Checkpoints:
    """How often the state of training is kept."""

    every_steps: int | None = at_least(1)
    keep: int = at_least(1)


@dataclass(kw_only=True)
class Launch:
    """How many processes train a run; each has a GPU of its own, or a share of the cores."""

    processes: int = at_least(1)
    fsdp: bool


@dataclass(kw_only=True)
class Sweep:
    """What a sweep does with its jobs."""

    on_failure: str = one_of("continue", "stop", "retry")
    retries: int = at_least(1)
    process_per_job: bool


@dataclass(kw_only=True)
class Lora:
    """Low-rank adaptation; no `target_modules` means that all weights are trained."""

    r: int = at_least(1)
    alpha: float = above(0)
    dropout: float = at_least(0, below=1)
    target_modules: Any  # null, "all-linear", or a list of names: checked in checks.py


@dataclass(kw_only=True)
class Tracking:
    """Where MLflow keeps the runs."""

    uri: str | None
    experiment: str
    log_model: bool


@dataclass(kw_only=True)
class Demo:
    """The generator of the demo data that fits the task."""

    generator: Any
    train: int = at_least(2)
    validation: int = at_least(1)
    test: int = at_least(0)


@dataclass(kw_only=True)
class DemoData:
    """`data=demo`."""

    generator: Any
    sizes: Any
    seed: int = at_least(0)
    max_train_examples: int | None = at_least(1)
    max_eval_examples: int | None = at_least(1)


@dataclass(kw_only=True)
class FileData:
    """`data=files`."""

    train_file: str
    validation_file: str
    test_file: str | None
    max_train_examples: int | None = at_least(1)
    max_eval_examples: int | None = at_least(1)
    conll: dict[str, Any]  # checked in fitting.py


@dataclass(kw_only=True)
class HubData:
    """`data=hub`."""

    path: str
    name: str | None
    revision: str | None
    train_split: str
    validation_split: str
    test_split: str | None
    max_train_examples: int | None = at_least(1)
    max_eval_examples: int | None = at_least(1)


@dataclass(kw_only=True)
class TextClassification:
    """`task=text_classification`."""

    text_columns: list[str]
    label_column: str
    labels: list[str] | None
    max_length: int = at_least(4)
    metrics: dict[str, Any]


@dataclass(kw_only=True)
class TokenClassification:
    """`task=token_classification`."""

    tokens_column: str
    tags_column: str
    labels: list[str] | None
    label_all_tokens: bool
    max_length: int = at_least(8)
    stride: int = at_least(0)
    metrics: dict[str, Any]


@dataclass(kw_only=True)
class MaskedLM:
    """`task=masked_lm`."""

    text_column: str
    block_size: int = at_least(8)
    mlm_probability: float = above(0, at_most=1)
    whole_word_mask: bool
    language: str
    remainder: str = one_of("drop", "keep")
    metrics: dict[str, Any]


@dataclass(kw_only=True)
class Translation:
    """`task=translation`."""

    source_lang: str
    target_lang: str
    source_prefix: str | None
    max_length: int = at_least(4)
    num_beams: int = at_least(1)
    max_new_tokens: int = at_least(1)
    length_penalty: float
    metrics: dict[str, Any]


@dataclass(kw_only=True)
class Checkpoint:
    """A model that starts from a checkpoint."""

    path: str
    revision: str | None
    dropout: float | None = at_least(0, below=1)
    attention_modules: list[str]


@dataclass(kw_only=True)
class TinyBert:
    """A BERT that starts from random weights."""

    vocab_size: int = at_least(64, word="auto")
    hidden_size: int = at_least(8)
    layers: int = at_least(1)
    heads: int = at_least(1)
    dropout: float = at_least(0, below=1)
    attention_modules: list[str]


@dataclass(kw_only=True)
class TinySeq2Seq(TinyBert):
    """A Marian or a T5 that starts from random weights."""

    character_coverage: float = at_least(0.98)


@dataclass(kw_only=True)
class Adam:
    """`optimizer=adam` and `optimizer=adamw`."""

    lr: float = above(0)
    betas: tuple[float, float]
    eps: float = above(0)
    weight_decay: float = at_least(0)
    fused: bool


@dataclass(kw_only=True)
class SGD:
    """`optimizer=sgd`."""

    lr: float = above(0)
    momentum: float = at_least(0, below=1)
    nesterov: bool
    weight_decay: float = at_least(0)
    fused: bool


@dataclass(kw_only=True)
class WarmUp:
    """`scheduler=constant | linear | cosine`."""

    warmup_ratio: float = at_least(0, below=1)


GROUPS: dict[str, type] = {
    "train": Train,
    "eval": Eval,
    "checkpoint": Checkpoints,
    "launch": Launch,
    "sweep": Sweep,
    "lora": Lora,
    "tracking": Tracking,
    "demo": Demo,
}
COMPONENTS: dict[str, type] = {
    "expkit.data.demo.source.load": DemoData,
    "expkit.data.files.load": FileData,
    "expkit.data.hub.load": HubData,
    "expkit.tasks.text_classification.TextClassification": TextClassification,
    "expkit.tasks.token_classification.TokenClassification": TokenClassification,
    "expkit.tasks.masked_lm.MaskedLM": MaskedLM,
    "expkit.tasks.translation.Translation": Translation,
    "expkit.models.checkpoint.Checkpoint": Checkpoint,
    "expkit.models.scratch.TinyBert": TinyBert,
    "expkit.models.seq2seq.TinyMarian": TinySeq2Seq,
    "expkit.models.seq2seq.TinyT5": TinySeq2Seq,
    "torch.optim.Adam": Adam,
    "torch.optim.AdamW": Adam,
    "torch.optim.SGD": SGD,
    "expkit.optim.constant": WarmUp,
    "expkit.optim.linear": WarmUp,
    "expkit.optim.cosine": WarmUp,
}
COMPONENT_GROUPS = ("task", "data", "model", "optimizer", "scheduler", "backend")
