"""`backend=trainer`: Hugging Face Trainer carries out the same steps.

Trainer gets one "batch" for each optimizer step, which is the list of its micro-batches. So it does
not accumulate gradients itself, which normalises the loss of some models wrongly (transformers #47688).
"""

import inspect
import tempfile
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import TrainerControl, TrainerState

from expkit.data.steps import Batch
from expkit.processes.group import device, summed
from expkit.processes.ranks import count
from expkit.training.interface import OnStep, StepResult, Training
from expkit.training.sharding import full, is_sharded, sync_on_last


class HFTrainer:
    """Runs Trainer; evaluation, logging and checkpoints stay with expkit."""

    def fit(self, training: Training, on_step: OnStep) -> None:
        """Train in place."""
        left = len(training.steps) - training.start
        if left == 0:
            return  # max_steps=0 would mean one epoch
        config: Any = training.model.config
        use_cache = getattr(config, "use_cache", None)
        with tempfile.TemporaryDirectory() as unused:
            arguments = TrainingArguments(
                output_dir=unused,
                max_steps=left,
                max_grad_norm=training.max_grad_norm or float("inf"),
                use_cpu=device().type == "cpu",  # else Trainer refuses bf16 without a GPU
                bf16=training.precision == "bf16",
                fp16=training.precision == "fp16",
                seed=training.seed,
                eval_strategy="no",
                save_strategy="no",
                logging_strategy="no",
                logging_nan_inf_filter=False,
                report_to="none",
                disable_tqdm=True,
                ddp_find_unused_parameters=False,
            )
            # Otherwise, a variable of the environment could turn fp32 into another precision.
            is_mixed = training.precision in ("bf16", "fp16")
            arguments.mixed_precision = training.precision if is_mixed else "no"
            _ = arguments.device  # looks for GPUs
            arguments._n_gpu = min(arguments.n_gpu, 1)  # with more, Trainer would split each batch
            trainer = _StepTrainer(training, on_step, arguments)
            trainer.train()
        if use_cache is not None:
            config.use_cache = use_cache  # Trainer turns it off
        _unwrap(trainer.accelerator, training.model)


class _StepTrainer(Trainer, TrainerCallback):
    """A Trainer whose batches are whole optimizer steps and whose loss is that of the task.

    It is its own callback, which reports each step.
    """

    def __init__(self, training: Training, on_step: OnStep, arguments: TrainingArguments) -> None:
        super().__init__(
            model=training.model,
            args=arguments,
            train_dataset=training.steps,
            optimizers=(training.optimizer, training.scheduler),
        )
        self.training = training
        self.on_step = on_step
        self.grad_norm = torch.zeros(())
        self.loss_is_scaled_for_ga = True  # compute_loss divides by all targets of the step
        self.scaler = self.accelerator.scaler
        if self.scaler is not None and training.loss_scale:
            self.scaler.load_state_dict(training.loss_scale)
        if is_sharded(training.model):  # so there is nothing to wrap
            prepare = self.accelerator.prepare_model
            self.accelerator.prepare_model = partial(prepare, evaluation_mode=True)
        self.remove_callback(PrinterCallback)
        self.add_callback(self)

    def get_train_dataloader(self) -> "DataLoader[list[Batch]]":
        return self.training.steps.loader(self.training.start)

    def training_step(
        self, model: torch.nn.Module, inputs: list[Batch], num_items_in_batch: Any = None
    ) -> torch.Tensor:
        training = self.training
        self.done = training.start + self.state.global_step + 1
        self.learning_rate = float(training.scheduler.get_last_lr()[0])
        own = torch.zeros((), device=self.args.device)
        for batch, divisor, is_last in training.micro_batches(self.done, inputs):
            with sync_on_last(model, is_last):
                own += super().training_step(model, batch, divisor)
        self.loss = summed(own / count())
        return self.loss

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        total, logits = self.training.task.training_loss(model, inputs)
        loss = total / num_items_in_batch * count()  # DDP takes the mean of the processes
        return (loss, logits) if return_outputs else loss

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # the real method cannot count a list of batches, and nobody reads the result

    def _get_grad_norm(self, model: torch.nn.Module, grad_norm: Any = None) -> Any:
        self.grad_norm = full(super()._get_grad_norm(model, full(grad_norm)))
        return self.grad_norm

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.scaler is not None:
            self.training.loss_scale.update(self.scaler.state_dict())
        examples = self.training.steps.examples(self.done - 1)
        result = StepResult(self.done, self.loss, self.grad_norm, self.learning_rate, examples)
        control.should_training_stop |= self.on_step(result)


def _unwrap(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give `model` back its own `forward`, without mixed precision.

    Accelerate's own unwrapping leaves two things behind: a mark that the model is prepared, so that it
    would train in fp32 the next time, and a `forward` without the decorators of its class.
    """
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    vars(model).pop("_is_accelerate_prepared", None)
    left = getattr(vars(model).get("forward"), "__func__", None)
    if left is not None and inspect.unwrap(left) is inspect.unwrap(type(model).forward):
        del model.forward
