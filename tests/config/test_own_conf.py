"""The user's project: its folder `conf`, the packages that it trusts, and where its modules are found."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra._internal.utils import create_config_search_path

from conftest import CHECKOUT, Command
from expkit.config.composition import composed
from expkit.config.project import conf_dir, decided_once, own_conf
from expkit.config.trust import refusal
from expkit.terminal.errors import ConfigError

TRUST = '[tool.expkit]\ntrusted_modules = ["critic"]\n'
OWN = {
    "pyproject.toml": TRUST,
    "critic/__init__.py": "",
    "critic/optim.py": "class Own:\n    def __init__(self, params, lr: float): ...\n",
    "conf/optimizer/own.yaml": "_target_: critic.optim.Own\n_partial_: true\nlr: 1e-3\n",
    "conf/optimizer/sgd.yaml": "_target_: critic.optim.Own\n_partial_: true\nlr: 1e-4\n",
    "conf/experiment/own.yaml": "# @package _global_\ndefaults:\n  - override /optimizer: own\nseed: 7\n",
    "conf/experiment/race.yaml": "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\n"
    "  - override /hydra/sweeper: race\nhydra:\n  launcher:\n    n_jobs: 2\n",
    "conf/shop/a.yaml": "b: 1\n",
}
# What other tools keep in a folder of this name.
OTHERS = {
    "conf/nginx.conf": "server {}",
    "conf/data/broken.yaml": "a: [",
    "conf/data/list.yaml": "- a\n",
    "conf/optimizer/empty.yaml": "",
    "conf/model": "a file with the name of a group",
    "conf/optimizer/binary.yaml": "\x00",
}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def own(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project, in a folder of which commands are typed."""
    write(project, OWN)
    (project / "notes").mkdir()
    monkeypatch.chdir(project / "notes")
    monkeypatch.setattr(sys, "path", [*sys.path])
    with decided_once():
        yield project


def test_its_options_come_before_those_of_expkit(own: Path) -> None:
    assert own_conf() == own / "conf"
    assert sys.path[-1] == str(own), "where its modules are found"
    assert composed(["optimizer=own"]).optimizer["_target_"] == "critic.optim.Own"
    assert composed(["optimizer=sgd"]).optimizer.lr == 1e-4, "the project's takes the place"
    assert composed(["optimizer=adamw"]).optimizer["_target_"] == "torch.optim.AdamW"
    cfg = composed(["experiment=own"])
    assert (cfg.seed, cfg.optimizer.lr) == (7, 1e-3)
    with pytest.raises(ConfigError, match="allowed: adam, adamw, own, sgd; did you mean 'own'"):
        composed(["optimizer=owm"])


def test_its_recipes_choose_launchers_and_sweepers(own: Path, expkit: Command) -> None:
    done = expkit("--cfg", "hydra", "experiment=race")
    assert done.returncode == 0, done.stderr
    for part in ("JoblibLauncher", "n_jobs: 2", "RaceSweeper"):
        assert part in done.stdout
    assert "optimizer: adam, adamw, own, sgd" in expkit("--help").stdout


@pytest.mark.parametrize("name", ["config.yaml", "sweeper.yaml"])
def test_it_cannot_take_the_place_of_the_whole(name: str, own: Path) -> None:
    (own / "conf" / name).write_text("seed: 1\n")
    with pytest.raises(ConfigError, match=rf"conf/{name}: would replace.*experiment/mine.yaml"):
        composed([])


def test_a_folder_of_other_tools_breaks_nothing(project: Path, expkit: Command) -> None:
    write(project, OTHERS)
    done = expkit("dry_run=true", "precision=fp8")
    assert done.stderr.startswith("expkit: precision='fp8': allowed")
    assert composed([]).optimizer["_target_"] == "torch.optim.AdamW"
    assert "torch.optim.AdamW" in expkit("--cfg", "job").stdout


def test_other_programs_with_hydra_do_not_see_it(own: Path) -> None:
    paths = [e.path for e in create_config_search_path(str(own / "elsewhere")).get_path()]
    assert str(own / "conf") not in paths
    paths = [e.path for e in create_config_search_path(str(conf_dir())).get_path()]
    assert paths.index(str(own / "conf")) < paths.index(str(conf_dir()))


def test_a_checkout_of_expkit_is_no_project_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT / "tests")
    assert (CHECKOUT / "conf").is_dir()
    assert own_conf() is None


def test_only_the_pyproject_of_the_project_trusts(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal("critic.optim.Own", frozenset()) is None
    for other in ("criticism.Own", "evil.Own", "os.system", "torch.hub.load"):
        assert refusal(other, frozenset())
    (own / "notes" / "pyproject.toml").write_text(TRUST.replace("critic", "evil"))
    assert refusal("evil.Own", frozenset()), "the project was decided before"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool", r"pyproject\.toml: tool\.expkit: "),
        ("\x00", "Invalid statement"),
        ("[tool.expkit]\ntrusted_modules = 'critic'", "expected a list of texts"),
        ("[tool.expkit]\ntrusted_modules = {critic = true}", "expected a list of texts"),
        ("[tool.expkit]\ntrusted_modules = [['critic']]", "expected a list of texts"),
        ("tool = 'critic'", "tool.expkit: "),
        ("[tool.expkit]\ntrusted_modules = [1]", "expected a list of texts"),
        ("[tool.expkit]\ntrusted_module = ['critic']", "'trusted_module': no such key"),
        ("[tool.expkit]\ntrusted_modules = ['my-critic']", "is no name of a package"),
        ("\ufeff[tool.expkit]\ntrusted_modules = []", "is not trusted"),
        ("[tool.expkit]\ntrusted_modules = []", "is not trusted"),
        ("[tool.expkit]\ntrusted_modules = ['']", "is no name of a package"),
        ("[tool.expkit]\ntrusted_modules = ['*']", "is no name of a package"),
        ("[tool.expkit]\ntrusted_modules = ['crit', 'critic.opt']", "is not trusted"),
        ("[tool.other]", "is not trusted"),
    ],
)
def test_a_wrong_pyproject_trusts_nothing(text: str, message: str, own: Path) -> None:
    (own / "pyproject.toml").write_text(text)
    (own / "critic" / "__init__.py").write_text("raise SystemExit('was imported')")
    with pytest.raises(ConfigError, match=message) as raised:
        composed(["optimizer=own"])
    assert "\n" not in str(raised.value)
    assert composed(["optimizer=adamw"]), "who names nothing of the project needs no trust"
    assert "critic" not in sys.modules


@pytest.mark.parametrize("name", ["os", "subprocess", "hydra", "omegaconf"])
def test_some_packages_nobody_can_trust(name: str, own: Path) -> None:
    (own / "pyproject.toml").write_text(TRUST.replace("critic", name))
    (own / "conf" / "optimizer" / "own.yaml").write_text(f"_target_: {name}.system\n")
    with pytest.raises(ConfigError, match=f"{name!r} is not trusted, and trusted_modules cannot"):
        composed(["optimizer=own"])


def test_hydra_makes_nothing_of_the_project(own: Path, expkit: Command) -> None:
    write(own, {"conf/hydra/launcher/own.yaml": "_target_: critic.optim.Own\n"})
    done = expkit("-m", "seed=1,2", "hydra/launcher=own")
    assert done.returncode == 2
    assert "hydra.launcher._target_=critic.optim.Own: would be made by Hydra" in done.stderr
