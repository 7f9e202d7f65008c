"""The types and ranges of the keys that belong to no component; their values stand in `conf/`.

The constructor of a component says itself what may be given to it; see `signatures.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_type_hints

from expkit.config.constraints import above, at_least

Count = Annotated[int, at_least(1)]


@dataclass(kw_only=True)
class Root:
    """Keys that belong to the whole run."""

    seed: Annotated[int, at_least(0, below=2**32)]
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"]
    objective: str
    direction: Literal["minimize", "maximize"] | None = None
    run_name: str | None
    dry_run: bool
    resume: str  # never, auto, or the id of a run: checked in fitting.py
    trusted_modules: list[str]


@dataclass(kw_only=True)
class Train:
    """How long, and in what steps. A step is one update of the optimizer."""

    epochs: Count
    max_steps: Count | None
    batch_size: Count
    accumulation: Count
    max_grad_norm: Annotated[float, above(0)] | None
    group_by_length: bool
    eval_on_start: bool
    eval_every: Count | None
    log_every: Count
    patience: Count | None


@dataclass(kw_only=True)
class Eval:
    """Evaluation."""

    batch_size: Count


@dataclass(kw_only=True)
class Checkpoints:
    """How often the state of training is kept."""

    every_steps: Count | None
    keep: Count
    keep_final: bool = False


@dataclass(kw_only=True)
class Launch:
    """How many processes train a run; each has a GPU of its own, or a share of the cores."""

    processes: Count
    fsdp: bool


@dataclass(kw_only=True)
class Sweep:
    """What a sweep does with its jobs."""

    on_failure: Literal["continue", "stop", "retry"]
    retries: Count
    process_per_job: bool


@dataclass(kw_only=True)
class Lora:
    """Low-rank adaptation; no `target_modules` means that all weights are trained."""

    r: Count
    alpha: Annotated[float, above(0)]
    dropout: Annotated[float, at_least(0, below=1)]
    target_modules: list[str] | Literal["all-linear"] | None


@dataclass(kw_only=True)
class Tracking:
    """Where MLflow keeps the runs."""

    uri: str | None
    experiment: str
    log_model: bool
    register: str | None = None  # checked in fitting.py
    system_metrics: bool = False


@dataclass(kw_only=True)
class Demo:
    """The generator of the demo data that fits the task."""

    generator: Any
    train: Annotated[int, at_least(2)]
    validation: Count
    test: Annotated[int, at_least(0)]


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
COMPONENT_GROUPS = ("task", "data", "model", "optimizer", "scheduler", "backend")


def sections(plain: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The whole configuration under the key "", then each group: (key, its values, their types)."""
    yield "", plain, get_type_hints(Root, include_extras=True)
    for group, schema in GROUPS.items():
        yield group, plain.get(group, {}), get_type_hints(schema, include_extras=True)
