"""From the trained model to what is kept, with the proof that both say the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expkit.data.steps import Batch
from expkit.models import lora
from expkit.tasks.interface import Task
from expkit.terminal.errors import UserError, nearest
from expkit.training.evaluation import inference

if TYPE_CHECKING:
    from peft import PeftModel

MODEL = "model"  # in the folder of a run
PROBED_EXAMPLES = 16
# What a task may give as its `pipeline`, and the class of models that it serves. Both transformers and MLflow
# know these pipelines, except for translation, which tracking/text2text.py serves.
SERVED = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "fill-mask": "AutoModelForMaskedLM",
    "text-generation": "AutoModelForCausalLM",
    "translation": "AutoModelForSeq2SeqLM",
}
LARGEST_DIFFERENCE = 1e-3  # of logits, relative to the largest of them


@dataclass(frozen=True)
class Exported:
    """The model as anybody would load it, and how far its logits are from the trained one's.

    `differences` has the largest absolute difference for each form of the model: `merged`,
    `merged_reloaded` and `adapter_reloaded` with LoRA, `reloaded` without.
    """

    model: PreTrainedModel
    folder: Path
    adapter: Path | None = None
    differences: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, task: Task, run_folder: Path, device: torch.device) -> Exported:
        """What another process has exported."""
        folder = run_folder / MODEL
        return cls(_reloaded(task, folder, device), folder)

    @property
    def max_abs_diff(self) -> float:
        """The largest of all differences."""
        return max(self.differences.values())


def require_served(task: Task) -> None:
    """Raise a UserError unless the model can be served in the way that the task says."""
    given, head = task.pipeline, task.head()
    needed = head.auto_class
    what = f"task: {type(task).__name__}.pipeline={given!r}"
    if given not in SERVED:
        raise UserError(f"{what}: a model cannot be served in this way; {nearest(given, SERVED)}")
    if SERVED[given] != needed:
        fitting = [name for name, served in SERVED.items() if served == needed]
        raise UserError(
            f"{what}: serves models of the class {SERVED[given]}, but the head of the task is {needed}; "
            + (f"use {fitting[0]!r}" if fitting else "set tracking.log_model=false")
        )
    if head.config.get("num_labels") == 1 and "problem_type" not in head.config:
        raise UserError(
            f"{what}: would serve the sigmoid of the only label; let the config of the head say problem_type: "
            "regression for the number itself, or multi_label_classification for its sigmoid"
        )


def export(
    model: PreTrainedModel | PeftModel,
    base: Callable[[], PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    probe: Batch,
    folder: Path,
) -> Exported:
    """Save model (and adapter), load them again, and compare logits on `probe`.

    Args:
        base: makes the model once more as it was before LoRA was applied.
        probe: a batch; the logits of each form of the model on it are compared.

    Raises:
        UserError: a form of the model does not agree with what was trained.
    """
    from peft import PeftModel

    trained = _logits(model, task, probe)
    forms: dict[str, torch.Tensor] = {}
    adapter = None
    if isinstance(model, PeftModel):
        adapter = folder / "adapter"
        model.save_pretrained(adapter, save_embedding_layers=False)
        model = lora.merge(model)
        forms["merged"] = _logits(model, task, probe)
        with_adapter = PeftModel.from_pretrained(base(), adapter).to(model.device)
        forms["adapter_reloaded"] = _logits(with_adapter, task, probe)
    target = folder / MODEL
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    reloaded = _reloaded(task, target, model.device)
    forms["merged_reloaded" if adapter else "reloaded"] = _logits(reloaded, task, probe)
    differences = {name: float((logits - trained).abs().max()) for name, logits in forms.items()}
    _require_agreement(differences, float(trained.abs().max()))
    return Exported(reloaded, target, adapter, differences)


def _reloaded(task: Task, folder: Path, device: torch.device) -> PreTrainedModel:
    auto_class = getattr(transformers, task.head().auto_class)
    return auto_class.from_pretrained(folder, use_safetensors=True).to(device)


def _logits(model: torch.nn.Module, task: Task, probe: Batch) -> torch.Tensor:
    device = next(model.parameters()).device
    with inference(model):
        _, logits = task.loss(model, {name: tensor.to(device) for name, tensor in probe.items()})
    return logits.float().cpu()


def _require_agreement(differences: dict[str, float], scale: float) -> None:
    for name, difference in differences.items():
        if not difference <= LARGEST_DIFFERENCE * max(scale, 1.0):
            raise UserError(
                f"export: the logits of the {name.replace('_', ' ')} model differ from those of the "
                f"trained one by {difference:.3g}; what would be logged is not what was trained"
            )
