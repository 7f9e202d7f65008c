"""Versions, commit and hardware: what may explain that a result does not come out again."""

import platform
import subprocess
from importlib.metadata import version

import psutil
import torch
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from expkit.config.project import project_root
from expkit.processes.group import device

PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "mlflow", "hydra-core")


def environment() -> dict[str, str]:
    """Return versions, hardware and, if the project has one, the git commit of this process."""
    kind = device().type
    name = torch.cuda.get_device_name(0) if kind == "cuda" else kind.replace("cpu", "none")
    found = {
        **{f"version.{package}": version(package) for package in (*PACKAGES, "expkit")},
        "version.python": platform.python_version(),
        "hardware.cpu": platform.processor() or platform.machine(),
        "hardware.cores": str(psutil.cpu_count()),
        "hardware.memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "hardware.threads": str(torch.get_num_threads()),
        "hardware.accelerator": name,
    }
    if commit := _git("rev-parse", "HEAD"):
        found[MLFLOW_GIT_COMMIT] = commit
        found["git.dirty"] = str(bool(_git("status", "--porcelain"))).lower()
    return found


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(project_root()), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
