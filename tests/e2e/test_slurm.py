"""A real Slurm with this machine as its only node; Debian's package is slurm-wlm."""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from conftest import TINY, Command, environment_of, free_port
from expkit.tracking.past import ERROR, INTERRUPTED

pytestmark = pytest.mark.slow

PATH = f"{os.environ['PATH']}:/usr/sbin"
DAEMONS = ("munged", "slurmctld", "slurmd")
CORES = 2
SETTINGS = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Slurm's commands find it by SLURM_CONF."""
    programs = {name: shutil.which(name, path=PATH) for name in DAEMONS}
    if not all(programs.values()):
        pytest.skip("Slurm is not installed: apt-get install slurm-wlm")
    processes = []
    with (
        tempfile.TemporaryDirectory(prefix="expkit-slurm-") as name,
        pytest.MonkeyPatch.context() as m,
    ):
        folder = Path(name)
        write_settings(folder)
        m.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        munge = ["--foreground", "--force", f"--key-file={folder}/key", f"--socket={folder}/socket"]
        munge += [
            f"--{file}={folder}/munge.{file}" for file in ("log-file", "pid-file", "seed-file")
        ]
        for program, options in zip(DAEMONS, (munge, ["-D"], ["-D"]), strict=True):
            with (folder / f"{program}.out").open("w") as out:
                command = [str(programs[program]), *options]
                processes.append(subprocess.Popen(command, stdout=out, stderr=out))
            time.sleep(1.0)
        try:
            if not until(is_at_work, within=600, gives_up=False):
                pytest.skip(f"Slurm does not start here: {last_lines(folder)}")
            yield
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(timeout=30)


def write_settings(folder: Path) -> None:
    (folder / "key").write_bytes(secrets.token_bytes(1024))
    (folder / "key").chmod(0o400)
    for part in ("state", "spool"):
        (folder / part).mkdir()
    ports = {"controller_port": free_port(), "node_port": free_port()}
    settings = SETTINGS.format(
        host=socket.gethostname().partition(".")[0],
        user=getpass.getuser(),
        folder=folder,
        cores=CORES,
        **ports,
    )
    (folder / "slurm.conf").write_text(settings)


def is_at_work() -> bool:
    done = subprocess.run(["srun", "--immediate=5", "true"], capture_output=True, timeout=600)
    return done.returncode == 0


def last_lines(folder: Path) -> str:
    logs = [*folder.glob("*.out"), *folder.glob("*.log")]
    return "; ".join(f"{log.name}: {log.read_text(errors='replace')[-200:]}" for log in logs)


def until(holds: Callable[[], object], within: float = 600, gives_up: bool = True) -> bool:
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            assert not gives_up
            return False
        time.sleep(0.2)
    return True


def queue(*options: str) -> list[str]:
    """The ids of jobs that run or wait."""
    command = ["squeue", "--noheader", "--format=%A", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def runs(project: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def states(found: list[Run]) -> dict[str, str]:
    return {str(run.info.run_name): str(run.info.status) for run in found}


def with_checkpoints(project: Path) -> set[Path]:
    return {
        file.parents[2]
        for file in (project / "outputs" / "runs").glob("*/checkpoints/step-*/SHA256SUMS")
    }


@pytest.mark.usefixtures("cluster")
def test_each_job_is_a_slurm_job_with_its_share_of_the_cores(
    python: Command, project: Path
) -> None:
    done = python(
        *("-m", "seed=1,2", *TINY, "train.max_steps=4", "tracking.log_model=false"),
        *("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = runs(project)
    assert states(found) == {"sweep: seed": "FINISHED", "seed=1": "FINISHED", "seed=2": "FINISHED"}
    jobs = [run for run in found if run.data.tags.get("mlflow.expkit.kind") != "sweep"]
    assert [environment_of(run)["hardware.threads"] for run in jobs] == ["1", "1"]
    scripts = list((project / "outputs" / "submitit").glob("*/*_submission.sh"))
    assert len(scripts) == 1, "a job array"
    until(lambda: not queue())


@pytest.mark.usefixtures("cluster")
def test_a_job_whose_time_is_up_ends_alone_and_an_interrupted_sweep_leaves_no_job(
    project: Path,
) -> None:
    output = project / "output"
    with output.open("w") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "expkit", "-m", "seed=1,2,3", *TINY),
                *("train.max_steps=1000000", "train.eval_every=1000000"),
                *("checkpoint.every_steps=50", "tracking.log_model=false"),
                *("hydra/launcher=submitit_slurm", f"hydra.launcher.cpus_per_task={CORES}"),
                f"launch.processes={CORES}",  # Slurm sends its signal to all of them
            ],
            cwd=project,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        until(lambda: process.poll() is not None or with_checkpoints(project))
        (job,) = queue("--states=RUNNING")
        # It may complain of a step that is not there, and sends the signal to the others all the same.
        subprocess.run(["scancel", "--signal=USR2", job], check=False)
        until(lambda: process.poll() is not None or len(with_checkpoints(project)) == 2)
        assert process.poll() is None, output.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=600) == 130
        until(lambda: not queue(), within=600)
    finally:
        process.kill()
        subprocess.run(["scancel", f"--user={getpass.getuser()}"], check=False)
    found = runs(project)
    assert states(found) == {"sweep: seed": "KILLED", "seed=1": "KILLED", "seed=2": "KILLED"}
    for run in found:
        if run.data.tags.get("mlflow.expkit.kind") != "sweep":
            assert run.data.tags[ERROR] == INTERRUPTED


@pytest.mark.usefixtures("cluster")
def test_a_job_that_dies_is_noticed_without_accounting(project: Path) -> None:
    output = project / "output"
    with output.open("w") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "expkit", "-m", "seed=1", *TINY),
                *("train.max_steps=1000000", "train.eval_every=1000000"),
                *("checkpoint.every_steps=50", "tracking.log_model=false"),
                "hydra/launcher=submitit_slurm",
            ],
            cwd=project,
            stdout=said,
            stderr=said,
        )
    try:
        until(lambda: process.poll() is not None or with_checkpoints(project), within=6000)
        (run,) = [
            run for run in runs(project) if run.data.tags.get("mlflow.expkit.kind") != "sweep"
        ]
        os.kill(int(run.data.tags["mlflow.expkit.pid"]), signal.SIGKILL)
        assert process.wait(timeout=600) == 1, output.read_text()
    finally:
        process.kill()
        subprocess.run(["scancel", f"--user={getpass.getuser()}"], check=False)
    assert "has left no result (state FAILED NonZeroExitCode)" in output.read_text()
    assert sorted(states(runs(project)).values()) == ["FAILED", "KILLED"]
