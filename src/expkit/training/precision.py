"""The number format in which matrices are multiplied, and what depends on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from expkit.processes.group import device
from expkit.terminal.errors import UserError

# Up to so many tokens, plain attention in bf16 is faster on a CPU than torch's fused kernel, whose
# backward pass multiplies small matrices one by one (docs/performance.md).
PLAIN_ATTENTION_UP_TO = 256


def require(wanted: str) -> None:
    """Raise a UserError if this machine lacks the precision: fp16 and tf32 need a GPU."""
    if wanted in ("fp16", "tf32") and device().type != "cuda":
        raise UserError(f"precision={wanted}: needs a CUDA GPU; allowed here: auto, fp32, bf16")


def has_fast_bf16() -> bool:
    """Whether the hardware multiplies bf16 fast: GPUs of CUDA, and CPUs with AMX tiles or AVX-512 BF16.

    Other CPUs only emulate it.
    """
    if device().type != "cpu":
        return device().type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


@contextmanager
def autocast(model: torch.nn.Module, precision: str) -> Iterator[None]:
    """Multiply in `precision`; weights stay as they are."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    kind = next(model.parameters()).device.type
    with matmul(precision), torch.autocast(kind, dtype, enabled=dtype != torch.float32):
        yield


@contextmanager
def matmul(precision: str) -> Iterator[None]:
    """With tf32, let GPUs round the factors of fp32 products to 10 bits; otherwise, forbid it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def choose_attention(model: Any, precision: str, max_length: int) -> None:
    """Use plain attention where that is faster for up to `max_length` tokens, else the model's own."""
    own = vars(model).setdefault("_own_attention", model.config._attn_implementation)
    is_short = device().type == "cpu" and max_length <= PLAIN_ATTENTION_UP_TO
    wanted = "eager" if is_short and precision == "bf16" else own
    if wanted != model.config._attn_implementation:
        model.set_attn_implementation(wanted)
