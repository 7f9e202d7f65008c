"""`backend=torch`: the training loop, in full, on Accelerate."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from expkit.backends.interface import OnStep, StepResult, Training
from expkit.backends.unwrap import unwrap
from expkit.randomness import seed_step
from expkit.tasks.interface import items

MIXED_PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


class TorchLoop:
    """One optimizer step a turn: seed, forward and backward for each micro-batch, clip, update."""

    def fit(self, training: Training, on_step: OnStep) -> None:
        """Train in place."""
        AcceleratorState._reset_state()  # precision is part of it, and may differ from run to run
        accelerator = Accelerator(mixed_precision=MIXED_PRECISION[training.precision])
        model, optimizer = accelerator.prepare(training.model, training.optimizer)
        training.loss_scale.attach(accelerator.scaler)
        clip_at = training.max_grad_norm or float("inf")
        model.train()
        start = training.start
        for done, batches in enumerate(training.steps.loader(start), start=start + 1):
            seed_step(training.seed, done)
            count = max(sum(items(batch) for batch in batches), 1)
            loss = torch.zeros((), device=accelerator.device)
            for batch in batches:
                batch = {name: tensor.to(accelerator.device) for name, tensor in batch.items()}
                total, _ = training.task.loss(model, batch)
                share = total / count
                accelerator.backward(share)
                loss += share.detach()
            grad_norm = accelerator.clip_grad_norm_(model.parameters(), clip_at)
            learning_rate = float(training.scheduler.get_last_lr()[0])
            optimizer.step()
            if not accelerator.optimizer_step_was_skipped:  # fp16, when gradients overflow
                training.scheduler.step()
            optimizer.zero_grad()
            examples = sum(len(batch["labels"]) for batch in batches)
            if on_step(StepResult(done, loss, grad_norm, learning_rate, examples)):
                break
            model.train()
        unwrap(accelerator, training.model)
