"""Which number format the matrices are multiplied in."""

import torch

from expkit.errors import UserError


def choose(wanted: str) -> str:
    """`auto` becomes bf16 where the hardware multiplies it faster than fp32, else fp32.

    That holds for GPUs with bf16 and for CPUs with AMX tiles; other CPUs only emulate its speed.

    Raises:
        UserError: fp16 without a GPU.
    """
    cuda = torch.cuda.is_available()
    if wanted == "fp16" and not cuda:
        raise UserError("precision=fp16: needs a CUDA GPU; allowed here: auto, fp32, bf16")
    if wanted != "auto":
        return wanted
    fast = torch.cuda.is_bf16_supported() if cuda else torch.cpu._is_amx_tile_supported()
    return "bf16" if fast else "fp32"
