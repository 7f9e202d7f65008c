"""How the model of a task is served, asked before any training."""

from expkit.tasks.interface import Task
from expkit.terminal.errors import UserError, nearest

# What a task may give as its `pipeline`, and the class of models that it serves. Both transformers and MLflow
# know these pipelines, except for translation, which only expkit/answering serves.
SERVED = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "fill-mask": "AutoModelForMaskedLM",
    "text-generation": "AutoModelForCausalLM",
    "translation": "AutoModelForSeq2SeqLM",
}


def require_served(task: Task) -> None:
    """Raise a UserError unless the model can be served in the way that the task says."""
    given, head = task.pipeline, task.head()
    needed = head.auto_class
    what = f"task: {type(task).__name__}.pipeline={given!r}"
    if given not in SERVED:
        why = "a model cannot be served in this way" if given else "says not how to serve the model"
        raise UserError(f"{what}: {why}; {nearest(given, SERVED)}")
    if SERVED[given] != needed:
        fitting = [name for name, served in SERVED.items() if served == needed]
        raise UserError(
            f"{what}: serves models of the class {SERVED[given]}, but the head of the task is {needed}; "
            + (
                f"use {fitting[0]!r}"
                if fitting
                else f"{nearest(needed, SERVED.values())}; a head of "
            )
            + ("" if fitting else "another class needs tracking.log_model=false")
        )
    if head.config.get("num_labels") == 1 and "problem_type" not in head.config:
        raise UserError(
            f"{what}: would serve the sigmoid of the only label; let the config of the head say problem_type: "
            "regression for the number itself, or multi_label_classification for its sigmoid"
        )
