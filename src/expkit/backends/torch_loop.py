"""`backend=torch`: the training loop, in full."""

import torch
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from expkit.processes.group import summed
from expkit.processes.ranks import count
from expkit.training.interface import OnStep, StepResult, Training
from expkit.training.precision import autocast
from expkit.training.sharding import full, is_sharded, sync_on_last


class TorchLoop:
    """For each step: seed, forward and backward for each micro-batch, then clip and update.

    Each of several processes has some of the micro-batches. DistributedDataParallel or FSDP sums the
    gradients of all processes in the backward pass of the last one.
    """

    def fit(self, training: Training, on_step: OnStep) -> None:
        """Train in place."""
        model, optimizer = training.model, training.optimizer
        device = next(model.parameters()).device
        is_pinned = device.type == "cuda"  # what is copied is; elsewhere, copying has to wait
        if count() > 1 and not is_sharded(model):
            model = DistributedDataParallel(model, gradient_as_bucket_view=True)
        scaler = GradScaler(device.type, enabled=training.precision == "fp16")
        if training.loss_scale:
            scaler.load_state_dict(training.loss_scale)
        clip_at = training.max_grad_norm or float("inf")
        model.train()
        start = training.start
        for done, batches in enumerate(training.steps.loader(start), start=start + 1):
            loss = torch.zeros((), device=device)
            for batch, divisor, is_last in training.micro_batches(done, batches):
                batch = {k: v.to(device, non_blocking=is_pinned) for k, v in batch.items()}
                with sync_on_last(model, is_last):
                    with autocast(training.model, training.precision):
                        total, _ = training.task.training_loss(model, batch)
                    share = total / divisor
                    # DistributedDataParallel takes the mean of the processes.
                    scaler.scale(share * count()).backward()
                loss += share.detach()
            scaler.unscale_(optimizer)
            grad_norm = full(clip_grad_norm_(model.parameters(), clip_at))
            learning_rate = float(training.scheduler.get_last_lr()[0])
            scale = scaler.get_scale()
            scaler.step(optimizer)
            scaler.update()
            training.loss_scale.update(scaler.state_dict())
            if scaler.get_scale() >= scale:  # lower after an overflow of fp16, which skips the step
                training.scheduler.step()
            optimizer.zero_grad()
            examples = training.steps.examples(done - 1)
            if on_step(StepResult(done, summed(loss), grad_norm, learning_rate, examples)):
                break
