"""Bad input: one message that names key, value and what is allowed; no traceback; no torch."""

import json
import sys
from pathlib import Path

import pytest

from conftest import composed
from expkit.config.checks import check
from expkit.config.messages import explain
from expkit.terminal.errors import ConfigError

FURTHER = (
    *("data=files", "data.train_file={}/train.jsonl", "data.validation_file={}/train.jsonl"),
    "data.eval_files={june: train.jsonl}",
)
# name: (overrides, what the message must contain). `{}` is the test's folder.
CASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown option of a group": (
        ("optimizer=adamx",),
        ("optimizer=adamx", "adam, adamw, sgd", "did you mean 'adam"),
    ),
    "unknown group": (("optimiser=adam",), ("optimiser", "did you mean 'optimizer'")),
    "unknown key": (
        ("optimizer.learning_rate=1",),
        ("optimizer.learning_rate", "allowed: lr, betas"),
    ),
    "key of another group": (("train.lr=1",), ("train.lr", "there is also optimizer.lr")),
    "key appended with a plus": (("+optimizer.lrr=1",), ("optimizer.lrr=1", "did you mean 'lr'")),
    "unknown key of the run": (("+sead=1",), ("sead=1", "did you mean 'seed'")),
    "not an override": (("optimizer",), ("optimizer", "key=value")),
    "a text for a number": (("optimizer.lr=fast",), ("optimizer.lr='fast'", "a number")),
    "a fraction for a whole number": (("train.epochs=1.5",), ("train.epochs=1.5", "whole number")),
    "a number for a switch": (("train.group_by_length=7",), ("train.group_by_length=7", "true or")),
    "null where a value is needed": (
        ("train.batch_size=null",),
        ("train.batch_size=None", "whole"),
    ),
    "negative batch size": (("train.batch_size=-4",), ("train.batch_size=-4", "at least 1")),
    "learning rate of zero": (("optimizer.lr=0",), ("optimizer.lr=0", "more than 0")),
    "a share of more than all": (
        ("task=masked_lm", "task.mlm_probability=1.5"),
        ("task.mlm_probability=1.5", "at most 1"),
    ),
    "momentum of one": (
        ("optimizer=sgd", "optimizer.momentum=1"),
        ("optimizer.momentum=1", "less"),
    ),
    "warm-up longer than the run": (("scheduler.warmup_ratio=1.5",), ("warmup_ratio=1.5", "less")),
    "Nesterov without momentum": (
        ("optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"),
        ("optimizer.nesterov=true", "optimizer.momentum"),
    ),
    "unknown size of a vocabulary": (
        ("task=translation", "model.vocab_size=automatic"),
        ("model.vocab_size='automatic'", "expected a whole number or auto"),
    ),
    "small vocabulary": (("task=translation", "model.vocab_size=63"), ("at least 64",)),
    "unknown precision": (("precision=fp8",), ("precision='fp8'", "auto, fp32, tf32, bf16, fp16")),
    "unknown metric as objective": (
        ("objective=eval/f2",),
        ("objective='eval/f2'", "eval/accuracy", "did you mean 'eval/f1'"),
    ),
    "objective of no split": (("objective=f1",), ("objective='f1'", "eval/")),
    "the test split as objective": (
        ("objective=test/f1",),
        ("objective='test/f1'", "no estimate for new data", "take eval/f1"),
    ),
    "an evaluation set as objective that there is not": (
        (*FURTHER, "objective=jun/f1"),
        ("objective='jun/f1'", "eval/loss or june/loss"),
    ),
    "unknown metric of an evaluation set": (
        (*FURTHER, "objective=june/f2"),
        ("objective='june/f2': no such metric", "did you mean 'june/f1'"),
    ),
    "an evaluation set with a name that is taken": (
        (*FURTHER[:3], "data.eval_files={test: june.jsonl}"),
        ("data.eval_files: 'test' cannot name", "names something else"),
    ),
    "an evaluation set with a blank in its name": (
        (*FURTHER[:3], "data.eval_files={june 1: june.jsonl}"),
        ("data.eval_files: 'june 1' is no name", "letters, digits"),
    ),
    "an evaluation split with a dot": (
        ("data=hub", "data.path=x", "data.eval_splits={june.1: june}"),
        ("data.eval_splits: 'june.1' is no name",),
    ),
    "a label twice": (
        ("task.labels=[pos,pos,neg]",),
        ("task.labels=['pos', 'pos', 'neg']", "each of them once", "'pos' is there 2 times"),
    ),
    "a tag twice": (
        ("task=token_classification", "task.labels=[O,B-X,O]"),
        ("task.labels=", "'O' is there 2 times"),
    ),
    "one label": (("task.labels=[pos]",), ("task.labels=['pos']", "at least two names")),
    "one tag": (
        ("task=token_classification", "task.labels=[O]"),
        ("task.labels=['O']", "at least two names"),
    ),
    "an empty label": (("task.labels=[pos,'']",), ("task.labels=['pos', '']", "none blank")),
    "a blank label": (("task.labels=[pos,' ']",), ("task.labels=['pos', ' ']", "none blank")),
    "a weight of zero": (
        ("task.class_weights={a:0}",),
        ("task.class_weights={'a': 0}: must be more than 0",),
    ),
    "a weight that is no number": (("task.class_weights={a:nan}",), ("must be more than 0",)),
    "a weight without an end": (("task.class_weights={a:inf}",), ("must be less than inf",)),
    "another word for weights": (
        ("task.class_weights=blanced",),
        ("task.class_weights='blanced': expected balanced or a mapping to numbers or null",),
    ),
    "a label named null": (
        ("task.class_weights={null:2}",),
        ("task.class_weights: a name in it is null, which cannot be typed",),
    ),
    "a score to tune for that is none": (
        ("task.tune_for=acuracy",),
        (
            "task.tune_for='acuracy': no such score; allowed: accuracy, f1, matthews, ece; did you mean 'accuracy'",
        ),
    ),
    "a set to tune on": (("task.threshold=tune", "task.tune_for=test/f1"), ("no such score",)),
    "a metric named loss": (
        ("+task.metrics.loss={_target_: expkit.metrics.calibration.ECE}",),
        ("task.metrics: 'loss' is the name of several scores",),
    ),
    "nothing but smoothing": (("task.label_smoothing=1",), ("must be less than 1",)),
    "another decoding": (
        ("task=token_classification", "task.decoding=vaild"),
        ("task.decoding='vaild': allowed: argmax, valid; did you mean 'valid'",),
    ),
    "columns without a tag": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "data.conll.columns=[id,word,ner]",
        ),
        ("data.conll=", "['id', 'word', 'ner']", "one of them word, one tag"),
    ),
    "columns with two words": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "data.conll.columns=[word,word,tag]",
        ),
        ("data.conll=", "one of them word, one tag"),
    ),
    "columns as a text": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "data.conll.columns=word",
        ),
        ("data.conll=", "a name for each"),
    ),
    "no columns": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "data.conll.columns=[]",
        ),
        ("data.conll=", "a name for each"),
    ),
    "another key of columns": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "+data.conll.column=[word,tag]",
        ),
        ("data.conll=", "expected columns=null"),
    ),
    "an unknown encoding": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "data.encoding=cp1252x",
        ),
        ("data.encoding='cp1252x': no encoding of text", "did you mean 'cp1252'"),
    ),
    "a delimiter of two characters": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "data.csv.delimiter='||'",
        ),
        ("data.csv=", "'||'", "one character such as ';', or tab"),
    ),
    "an unknown quoting": (
        (
            "data=files",
            "data.train_file={}/train.jsonl",
            "data.validation_file={}/train.jsonl",
            "data.csv.quoting=nine",
        ),
        ("data.csv.quoting='nine'", "did you mean 'none'"),
    ),
    "an empty list of files": (
        ("data=files", "data.train_file=[]", "data.validation_file={}/train.jsonl"),
        ("data.train_file='[]': names no file",),
    ),
    "missing file": (
        ("data=files", "data.train_file={}/trian.jsonl", "data.validation_file={}/train.jsonl"),
        ("data.train_file=", "trian.jsonl", "no such file", "did you mean 'train.jsonl'"),
    ),
    "no file given": (
        ("data=files", "data.train_file={}/train.jsonl"),
        ("data.validation_file", "required"),
    ),
    "unknown kind of file": (
        ("data=files", "data.train_file={}/train.xls", "data.validation_file={}/train.jsonl"),
        ("data.train_file=", "train.xls", ".jsonl, .json, .csv, .parquet"),
    ),
    "target that does not exist": (
        ("optimizer._target_=torch.optim.AdamZ",),
        ("optimizer._target_=torch.optim.AdamZ", "no 'AdamZ'", "did you mean 'Adam"),
    ),
    "module that does not exist": (
        ("optimizer._target_=torch.optin.AdamW",),
        ("optimizer._target_=torch.optin.AdamW", "'torch.optin' does not exist", "'optim'"),
    ),
    "target that does not take an argument": (
        ("optimizer._target_=torch.optim.Adafactor",),
        ("optimizer.betas=", "torch.optim.Adafactor takes no such argument", "beta2_decay"),
    ),
    "target in a package that is not installed": (
        ("backend._target_=no_such_package.Backend", "trusted_modules=[no_such_package]"),
        ("backend._target_=no_such_package.Backend", "no module named 'no_such_package'"),
    ),
    "target that is not trusted": (
        ("backend._target_=subprocess.Popen",),
        ("backend._target_=subprocess.Popen", "not trusted", "trusted_modules"),
    ),
    "positional arguments": (("+optimizer._args_=[1]",), ("optimizer._args_", "by name")),
    "target that is no name": (("backend._target_=7",), ("backend._target_=7", "package.module")),
    "component without a target": (("~backend",), ("backend", "missing")),
    "null for a group": (("backend=null",), ("backend=null", "must be a string")),
    "targets of LoRA as a number": (
        ("lora.target_modules=3",),
        ("lora.target_modules='3'", "list"),
    ),
    "rank of zero": (("lora.r=0",), ("lora.r=0", "at least 1")),
    "checkpoint that is not there": (
        ("model.path=./nowhere",),
        ("model.path='./nowhere'", "no such"),
    ),
    "folder that is no checkpoint": (("model.path={}",), ("model.path=", "no config.json")),
    "checkpoint without weights": (("model.path={}/empty",), ("model.path=", "no weights")),
    "pickled weights only": (
        ("model.path={}/pickled",),
        ("model.path=", "no weights", "*.bin", "convert", "safetensors"),
    ),
    "package that is not installed": (
        ("model.path=pkg://no_such_package/model",),
        ("model.path=", "no_such_package", "pip install"),
    ),
    "heads that do not divide": (
        ("model=tiny_bert", "model.heads=3"),
        ("model.heads=3", "model.hidden_size=128"),
    ),
    "tracking address of no known kind": (
        ("tracking.uri=ftp://host",),
        ("tracking.uri='ftp://host'", "sqlite", "http"),
    ),
    "a store in memory": (("tracking.uri=sqlite://",), ("tracking.uri='sqlite://'", "lost")),
    "a store in memory by name": (
        ("tracking.uri='sqlite:///:memory:?timeout=60'",),
        ("tracking.uri='sqlite:///:memory:", "lost"),
    ),
    "a store in memory with a driver": (
        ("tracking.uri='sqlite+pysqlite://'",),
        ("tracking.uri='sqlite+pysqlite://'", "lost"),
    ),
    "a store that is a folder": (("tracking.uri=./mlruns",), ("tracking.uri='./mlruns'", "sqlite")),
    "a store of files": (("tracking.uri='file:///x'",), ("tracking.uri='file:///x'", "sqlite")),
    "a store of a service": (("tracking.uri=databricks",), ("tracking.uri='databricks'", "http")),
    "an old name of a database": (
        ("tracking.uri='postgres://h/d'",),
        ("tracking.uri='postgres://h/d'", "did you mean 'postgresql'"),
    ),
    "no address of a store": (("tracking.uri=''",), ("tracking.uri=''", "sqlite")),
    "an experiment without a name": (
        ("tracking.experiment=",),
        ("tracking.experiment=''", "a name"),
    ),
    "an experiment with a blank name": (
        ("tracking.experiment='  '",),
        ("tracking.experiment='  '", "is empty"),
    ),
    "an experiment with a long name": (
        (f"tracking.experiment={'x' * 501}",),
        ("tracking.experiment=", "501 characters", "at most 500"),
    ),
    "a run with a long name": (
        (f"run_name={'x' * 9000}",),
        ("run_name=", "9,000 characters", "at most 250"),
    ),
    "a mapping for a number": (("+seed.x=1",), ("seed=", "expected a whole number")),
    "a mapping for a word": (("+resume.x=1",), ("resume=", "expected a text")),
    "a broken interpolation": (("seed=${nothing.here}",), ("seed", "nothing.here")),
    "a group removed that others take values from": (
        ("~task",),
        ("task: missing from the configuration",),
    ),
    "a metric that is none": (
        ("+task.metrics.x=1",),
        ("task.metrics.x=1", "_target_"),
    ),
    "names of a metric that are none": (
        ("task=token_classification", "++task.metrics.seqeval.names=3"),
        ("task.metrics.seqeval.names=3", "list of texts"),
    ),
    "a number for a list of packages": (("trusted_modules=3",), ("trusted_modules=3", "a list")),
    "a number for a metric": (("objective=3",), ("objective='3'", "eval/loss")),
    "a target with an empty part": (("backend._target_=a..b",), ("backend._target_=a..b",)),
    "a path that is too long": (
        ("model.path=" + "x/" * 3000,),
        ("model.path=", "File name too long"),
    ),
    "a home folder of nobody": (
        ("model.path='~nobody_at_all/x'",),
        ("model.path='~nobody", "home"),
    ),
    "a character that needs quotes": (("run_name=größe",), ("run_name=größe: Hydra", "quotes")),
    "an equals sign in a text": (
        ("run_name=a=b",),
        (
            "run_name=a=b: Hydra cannot read",
            """write 'run_name='"'"'a=b'"'"''""",
        ),
    ),
    "nothing at all": (("",), ("'': not an override",)),
    "a tilde alone": (("~",), ("~: Could not delete",)),
    "several values without a sweep": (("seed=1,2",), ("seed=1,2", "--multirun")),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    for name in ("empty", "pickled"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"")
    return tmp_path


def complaint(overrides: list[str]) -> str:
    """What is printed for a configuration, as __main__ does it."""
    try:
        check(composed(*overrides), overrides)
    except ConfigError as error:
        return str(error)
    except Exception as error:
        return explain(error, overrides)
    return ""


@pytest.mark.parametrize(
    "override",
    [
        "tracking.experiment=team/nlp/try",
        f"tracking.experiment={'x' * 500}",
        f"run_name={'x' * 250}",
        "tracking.uri='sqlite:///x.db?timeout=60'",
        "tracking.uri='sqlite+pysqlite:////data/x.db'",
        "tracking.uri='postgresql+psycopg://user:p%40ss@host/db'",
    ],
)
def test_a_name_or_an_address_that_mlflow_takes_is_right(override: str) -> None:
    assert complaint([override]) == ""


def test_the_address_in_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite://")
    assert complaint([]).startswith("MLFLOW_TRACKING_URI='sqlite://': would be lost")
    assert complaint(["tracking.uri='http://host:5000'"]) == ""


@pytest.mark.parametrize(("overrides", "expected"), CASES.values(), ids=list(CASES))
def test_message_names_key_value_and_what_is_allowed(
    overrides: tuple[str, ...], expected: tuple[str, ...], folder: Path
) -> None:
    message = complaint([o.replace("{}", str(folder)) for o in overrides])
    for part in expected:
        assert part in message


def test_all_problems_are_reported_at_once() -> None:
    message = complaint(["train.batch_size=0", "optimizer.lr=x", "lora.dropout=2"])
    assert [line.split("=")[0] for line in message.splitlines()] == [
        "train.batch_size",
        "lora.dropout",
        "optimizer.lr",
    ]


@pytest.mark.parametrize(
    "option",
    [
        *(f"optimizer={name}" for name in ("adam", "adamw", "sgd")),
        *(f"scheduler={name}" for name in ("constant", "linear", "cosine")),
        *(f"lora={name}" for name in ("none", "attention", "all_linear")),
        *(f"model={name}" for name in ("minilm", "tiny_bert", "bert_base_cased", "distilbert")),
        *(f"backend={name}" for name in ("torch", "trainer")),
    ],
)
def test_every_option_passes(option: str) -> None:
    assert complaint([option]) == ""


def test_typing_a_target_of_ones_own_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_optimizers.py").write_text(
        "class Mine:\n    def __init__(self, params, lr): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    typed = ["optimizer._target_=own_optimizers.Mine"]
    rest = [f"~optimizer.{key}" for key in ("betas", "eps", "weight_decay", "fused")]
    check(composed(*typed, *rest), typed)
    with pytest.raises(ConfigError, match="not trusted"):
        check(composed(*typed, *rest), [])
    assert "own_optimizers" not in sys.modules, "checking must not run the user's code"


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "hydra.utils.get_method"])
def test_typing_a_dangerous_target_is_no_reason_to_trust_it(target: str) -> None:
    typed = [f"backend._target_={target}"]
    with pytest.raises(ConfigError, match="not trusted"):
        check(composed(*typed), typed)


def test_a_share_may_be_all() -> None:
    assert complaint(["task=masked_lm", "task.mlm_probability=1"]) == ""


def test_values_take_the_type_of_their_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes out of the environment is a text, and 'false' must not count as true."""
    monkeypatch.setenv("EPOCHS", "3")
    monkeypatch.setenv("GROUP", "false")
    cfg = composed(
        "train.epochs=${oc.env:EPOCHS}",
        "train.group_by_length=${oc.env:GROUP}",
        "task.labels=[0,1]",
    )
    check(cfg, [])
    assert cfg.train.epochs == 3
    assert cfg.train.group_by_length is False
    monkeypatch.setenv("EPOCHS", "many")
    with pytest.raises(ConfigError, match="epochs='many'"):
        check(composed("train.epochs=${oc.env:EPOCHS}"), [])


@pytest.mark.parametrize(
    ("code", "expected"),
    [("def (:", "own_broken.py, line 1"), ("import no_such_thing\nMine = 1 / 1", "no_such_thing")],
)
def test_a_broken_module_of_the_users_own_is_named(
    code: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_broken.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    message = complaint(["backend._target_=own_broken.Mine", "trusted_modules=[own_broken]"])
    assert "backend._target_=own_broken.Mine" in message
    assert expected in message


def test_home_folder_in_data_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    files = ["data=files", "data.validation_file='~/train.jsonl'"]
    check(composed(*files, "data.train_file='~/train.jsonl'"), [])
    message = complaint([*files, "data.train_file='~/trian.jsonl'"])
    assert "data.train_file='~/trian.jsonl': no such file; in " in message
    assert "did you mean 'train.jsonl'?" in message
    assert "~nobody-at-all/train.jsonl" in complaint(
        [*files, "data.train_file='~nobody-at-all/train.jsonl'"]
    )


def test_columns_that_are_named(folder: Path) -> None:
    file = f"{folder}/train.jsonl"
    files = ["data=files", f"data.train_file={file}", f"data.validation_file={file}"]
    for columns in ("[word,tag]", "[id,word,_,tag,_]", "[tag,pos,word]", "null"):
        check(composed(*files, f"data.conll.columns={columns}"), [])
