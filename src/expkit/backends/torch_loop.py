"""`backend=torch`: the training loop, in full, on Accelerate."""

from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin

from expkit.backends.unwrap import unwrap
from expkit.processes.group import summed
from expkit.processes.ranks import count
from expkit.training.interface import MIXED_PRECISION, OnStep, StepResult, Training
from expkit.training.sharding import adding_up, full, is_sharded


class TorchLoop:
    """One optimizer step a turn: seed, forward and backward for each micro-batch, clip, update.

    Several processes each have some of the micro-batches; DistributedDataParallel (or FSDP) adds up the
    gradients in the backward pass of the last one.
    """

    def fit(self, training: Training, on_step: OnStep) -> None:
        """Train in place."""
        AcceleratorState._reset_state()  # precision is part of it, and may differ from run to run
        accelerator = Accelerator(
            mixed_precision=MIXED_PRECISION[training.precision],
            # Without it, a variable of the environment would say by what losses are divided.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            cpu=not torch.cuda.is_available(),
            kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
        )
        # A sharded model needs no DistributedDataParallel around it.
        model = accelerator.prepare_model(
            training.model, evaluation_mode=is_sharded(training.model)
        )
        optimizer: Any = training.optimizer
        if accelerator.scaler is not None:  # else Accelerate's own does nothing, but takes time
            optimizer = accelerator.prepare_optimizer(optimizer)
        training.loss_scale.attach(accelerator.scaler)
        clip_at = training.max_grad_norm or float("inf")
        model.train()
        start = training.start
        for done, batches in enumerate(training.steps.loader(start), start=start + 1):
            loss = torch.zeros((), device=accelerator.device)
            for batch, divisor, is_last in training.micro_batches(done, batches):
                batch = {k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()}
                with adding_up(accelerator, model, is_last):
                    total, _ = training.task.loss(model, batch)
                    share = total / divisor
                    accelerator.backward(share * count())  # DDP takes the mean of the processes
                loss += share.detach()
            grad_norm = full(accelerator.clip_grad_norm_(model.parameters(), clip_at))
            learning_rate = float(training.scheduler.get_last_lr()[0])
            optimizer.step()
            if not accelerator.optimizer_step_was_skipped:  # fp16, when gradients overflow
                training.scheduler.step()
            optimizer.zero_grad()
            examples = training.steps.examples(done - 1)
            if on_step(StepResult(done, summed(loss), grad_norm, learning_rate, examples)):
                break
        unwrap(accelerator, training.model)
