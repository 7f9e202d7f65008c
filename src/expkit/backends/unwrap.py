"""Leaving no trace of Accelerate on a model."""

import inspect

import torch
from accelerate import Accelerator


def unwrap(accelerator: Accelerator, model: torch.nn.Module) -> None:
    """Give `model` back its own `forward`, without mixed precision.

    Accelerate's own unwrapping leaves a mark that the model is prepared, so that it would train in
    fp32 the next time, and a `forward` without the decorators of its class.
    """
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    vars(model).pop("_is_accelerate_prepared", None)
    left = getattr(vars(model).get("forward"), "__func__", None)
    if left is not None and inspect.unwrap(left) is inspect.unwrap(type(model).forward):
        del model.forward
