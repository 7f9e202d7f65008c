"""What all reference scripts are told, and what they answer."""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import transformers

# The flags that an expert would add to the usual script.
EXPERT = {"bf16": True, "train_sampling_strategy": "group_by_length"}


def arguments() -> argparse.Namespace:
    """Parse the command line of a reference script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", required=True, help="JSON Lines")
    parser.add_argument("--validation", required=True, help="JSON Lines")
    parser.add_argument("--model", required=True, help="a folder")
    parser.add_argument("--out", required=True, help="a folder")
    parser.add_argument("--variant", choices=["padded", "dynamic", "expert"], default="dynamic")
    parser.add_argument("--steps", type=int, default=-1, help="-1: by epochs")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return given


def training_arguments(given: argparse.Namespace) -> dict[str, Any]:
    """TrainingArguments: the defaults but for what was asked for."""
    return {
        "output_dir": given.out,
        "max_steps": given.steps,
        "num_train_epochs": given.epochs,
        "per_device_train_batch_size": given.batch_size,
        "learning_rate": given.lr,
        "seed": given.seed,
        "use_cpu": not torch.cuda.is_available(),  # else bf16 is refused without a GPU
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **(EXPERT if given.variant == "expert" else {}),
    }


def answer(given: argparse.Namespace, trained: dict[str, float], scores: dict[str, float]) -> None:
    """Write what Trainer measured itself to `result.json`."""
    result = {
        "train/samples_per_second": trained["train_samples_per_second"],
        "eval/samples_per_second": scores["eval_samples_per_second"],
        **{f"eval/{k.removeprefix('eval_')}": v for k, v in scores.items()},
    }
    Path(given.out, "result.json").write_text(json.dumps(result), encoding="utf-8")
