"""Which number format the matrices are multiplied in, and what else follows from it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from expkit.errors import UserError

# On a CPU, up to so many tokens plain attention in bf16 is faster than torch's fused kernel, whose
# backward pass multiplies small matrices one by one (docs/performance.md).
PLAIN_ATTENTION_UP_TO = 256


def choose(wanted: str) -> str:
    """`auto` becomes bf16 where the hardware multiplies it faster than fp32, else fp32.

    That holds for GPUs with bf16 and for CPUs with AMX tiles or AVX-512 BF16; other CPUs only
    emulate it.

    Raises:
        UserError: fp16 or tf32 without a GPU.
    """
    cuda = torch.cuda.is_available()
    if wanted in ("fp16", "tf32") and not cuda:
        raise UserError(f"precision={wanted}: needs a CUDA GPU; allowed here: auto, fp32, bf16")
    if wanted != "auto":
        return wanted
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else _cpu_has_bf16()
    return "bf16" if fast else "fp32"


def _cpu_has_bf16() -> bool:
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


@contextmanager
def autocast(model: torch.nn.Module, precision: str) -> Iterator[None]:
    """Multiply in `precision`; weights stay as they are."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    device = next(model.parameters()).device.type
    with matmul(precision), torch.autocast(device, dtype, enabled=dtype != torch.float32):
        yield


@contextmanager
def matmul(precision: str) -> Iterator[None]:
    """Let GPUs round what matrices of fp32 are multiplied from to 10 bits with tf32, else not at all."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def choose_attention(model: torch.nn.Module, precision: str, max_length: int) -> None:
    """Use the attention that is fastest for inputs of up to `max_length` tokens."""
    on_cpu = not torch.cuda.is_available()
    if (
        isinstance(model, PreTrainedModel)
        and on_cpu
        and precision == "bf16"
        and max_length <= PLAIN_ATTENTION_UP_TO
    ):
        model.set_attn_implementation("eager")
