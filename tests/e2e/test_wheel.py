"""An installed wheel works outside the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from conftest import CHECKOUT


def test_wheel_carries_the_config_groups(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = "import expkit, expkit.config.project as p; print(expkit.__file__, p.conf_dir())"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    for command in (["-c", code], ["-m", "expkit", "--cfg", "job", "optimizer=sgd"]):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        expected = f"{tmp_path}/site/expkit/conf" if command[0] == "-c" else "torch.optim.SGD"
        assert expected in done.stdout
    assert (tmp_path / "site" / "hydra_plugins" / "expkit_sweepers.py").is_file()
    assert (tmp_path / "site" / "expkit" / "conf" / ".schema" / "config.json").is_file()
