"""Saves the trained model, loads it again, and requires that its logits are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from omegaconf import DictConfig
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from expkit.data.steps import Batch
from expkit.models import lora
from expkit.processes.group import barrier, device
from expkit.processes.ranks import is_main
from expkit.tasks.interface import Task
from expkit.terminal.errors import UserError
from expkit.training.checkpoint import BEST, load_weights
from expkit.training.evaluation import EvalSet, Evaluation, inference
from expkit.training.prepared import Prepared, build_base
from expkit.training.sharding import is_sharded

if TYPE_CHECKING:
    from peft import PeftModel

MODEL = "model"  # in the folder of a run
PROBED_EXAMPLES = 16
LARGEST_DIFFERENCE = 1e-3  # largest allowed difference of logits, relative to max(largest logit, 1)


@dataclass(frozen=True)
class Exported:
    """The saved model, loaded again, and how far its logits are from those of the trained one.

    `differences` has the largest absolute difference for each form of the model: `merged`,
    `merged_reloaded` and `adapter_reloaded` with LoRA, and `reloaded` without.
    """

    model: PreTrainedModel
    folder: Path
    adapter: Path | None = None
    differences: dict[str, float] = field(default_factory=dict)

    @property
    def max_abs_diff(self) -> float:
        """The largest of all differences."""
        return max(self.differences.values())


def export_best(cfg: DictConfig, prepared: Prepared, tracked: Any) -> Exported:
    """Save the adapter and the merged model of a run, and compare them with the trained model.

    The main process does this, and then the others load the merged model.
    """
    task, tokenizer, folder = prepared.task, prepared.tokenizer, tracked.folder
    if cfg.lora.target_modules:
        tracked.log({"lora/trainable_parameters": prepared.trained})
    if not is_main():
        barrier()
        return Exported(_reloaded(task, folder / MODEL, device()), folder / MODEL)

    def base() -> PreTrainedModel:
        return build_base(cfg, task, prepared.builder, tokenizer)

    model = prepared.training.model
    if is_sharded(model):
        model = lora.apply(base(), cfg.lora) if cfg.lora.target_modules else base()
        model.to(device())
        load_weights(model, folder / BEST)
    validation = prepared.eval_sets["validation"]
    probe = validation.batch(list(range(min(PROBED_EXAMPLES, len(validation.encoded)))))
    exported = export(model, base, tokenizer, task, probe, folder)
    if exported.adapter is not None:
        tracked.log({"lora/merge_max_abs_diff": exported.max_abs_diff})
        tracked.log_folder(exported.adapter, "adapter")
    barrier()
    return exported


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
        base: makes the model as it was before LoRA was applied.
        probe: the batch on which the logits of each form of the model are compared.

    Raises:
        UserError: a form of the model does not agree with the trained one.
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
    task.finish(model)
    target = folder / MODEL
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    reloaded = _reloaded(task, target, model.device)
    forms["merged_reloaded" if adapter else "reloaded"] = _logits(reloaded, task, probe)
    differences = {name: float((logits - trained).abs().max()) for name, logits in forms.items()}
    _require_agreement(differences, float(trained.abs().max()))
    return Exported(reloaded, target, adapter, differences)


def settle(task: Task, exported: Exported, validation: Evaluation, data: EvalSet) -> None:
    """Let the task choose how to read what the exported model predicts, and save that with the model."""
    chosen = task.settle(validation.predictions, data.split, data.encoded)
    exported.model.config.update(chosen)
    if chosen and is_main():
        exported.model.config.save_pretrained(exported.folder)


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
