"""Commands in processes that are forked from one which has imported everything: seconds are saved."""

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["expkit.experiment", "expkit.sweeps.grid", "sklearn.metrics", "peft"]
)


def run_module(
    module: str,
    arguments: Sequence[str],
    folder: Path,
    variables: Mapping[str, str],
    timeout: float,
) -> subprocess.CompletedProcess[str]:
    """What `python -m module arguments` does in `folder`, and prints.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
    """
    with TemporaryDirectory() as written:
        out, err = Path(written) / "out", Path(written) / "err"
        command = [module, *arguments]
        process = context.Process(target=_main, args=(command, folder, dict(variables), out, err))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout, out.read_bytes(), err.read_bytes())
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            command, process.exitcode, out.read_text("utf-8"), err.read_text("utf-8")
        )


def _main(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], out: Path, err: Path
) -> None:
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    of_imports = ("MLFLOW_ENABLE", "MLFLOW_DISABLE", "MLFLOW_HTTP")  # set when expkit was imported
    kept = {name: value for name, value in os.environ.items() if name.startswith(of_imports)}
    os.environ.clear()
    os.environ.update({**kept, **variables})
    os.chdir(folder)
    import torch

    torch.set_num_threads(int(variables["OMP_NUM_THREADS"]))
    sys.argv = list(command)
    sys.path.insert(0, str(folder))  # as `python -m` does
    try:
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
    except Exception:
        sys.excepthook(*sys.exc_info())
        raise SystemExit(1) from None
    finally:
        atexit._run_exitfuncs()  # processes of multiprocessing leave without them
