"""Environment variables that libraries read and that would change the result of a run.

The backends set what they can themselves: mixed precision, accumulation, TF32. The others are refused,
because nothing in the run would show them. The names are those of accelerate 1.15 (state.py and
accelerator.py), transformers 5.23 (training_args.py), oneDNN 3 and cuBLAS 13.
"""

import os
from collections.abc import Iterator

INACTIVE = ("", "0", "n", "no", "f", "false", "off", "none", "strict")
OTHER_PARALLELISM = "expkit shares work with launch.processes and launch.fsdp"
OTHER_PRECISION = "the key precision says in which format matrices are multiplied"
REFUSED = {
    "ACCELERATE_USE_FSDP": OTHER_PARALLELISM,
    "ACCELERATE_USE_DEEPSPEED": OTHER_PARALLELISM,
    "ACCELERATE_USE_MEGATRON_LM": OTHER_PARALLELISM,
    "ACCELERATE_USE_PARALLELISM_CONFIG": OTHER_PARALLELISM,
    "ACCELERATE_USE_SAGEMAKER": OTHER_PARALLELISM,
    "ACCELERATE_DYNAMO_BACKEND": "expkit does not compile models",
    "ACCELERATE_TORCH_DEVICE": "CUDA_VISIBLE_DEVICES says which GPU to use",
    "ONEDNN_DEFAULT_FPMATH_MODE": OTHER_PRECISION,
    "DNNL_DEFAULT_FPMATH_MODE": OTHER_PRECISION,
    "NVIDIA_TF32_OVERRIDE": OTHER_PRECISION,
}


def problems() -> Iterator[str]:
    """A message for each variable that is set and would change the result."""
    for name, instead in REFUSED.items():
        value = os.environ.get(name, "")
        if value.strip().lower() not in INACTIVE:
            yield f"{name}={value} in the environment would change the result; unset {name}: {instead}"
