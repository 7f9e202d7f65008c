"""Any list of overrides gives a configuration or one message that names one of them."""

import gc
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, fields
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from expkit.__main__ import main
from expkit.config.composition import work_has_begun
from expkit.config.project import conf_dir
from expkit.config.schema import COMPONENT_GROUPS, GROUPS, Root
from expkit.config.signatures import signature_of

pytestmark = [pytest.mark.fuzz, pytest.mark.slow]

OPTIONS = {
    "task": [
        "text_classification",
        "text_regression",
        "token_classification",
        "multilabel_classification",
        "masked_lm",
        "translation",
    ],
    "data": ["demo", "files", "hub"],
    "model": ["minilm", "tiny_bert", "tiny_marian", "tiny_t5", "bert_base_cased", "checkpoint"],
    "optimizer": ["adam", "adamw", "sgd"],
    "scheduler": ["constant", "linear", "cosine"],
    "lora": ["none", "attention", "all_linear"],
    "backend": ["torch", "trainer"],
    "tracking": ["mlflow"],
    "experiment": ["ner", "full_finetuning", "domain_adaptation", "translation_from_scratch"],
    "hydra/launcher": ["basic", "joblib", "submitit_local"],
    "hydra/sweeper": ["grid", "optuna"],
}


def _keys() -> Iterator[str]:
    yield from (f.name for f in fields(Root))
    for group, schema in GROUPS.items():
        yield from (f"{group}.{f.name}" for f in fields(schema))
    for group in COMPONENT_GROUPS:
        for file in conf_dir().joinpath(group).glob("*.yaml"):
            for target in re.findall(r"_target_: (\S+)", file.read_text()):
                signature = signature_of(target)
                assert signature
                yield from (f"{group}.{name}" for name in signature.kinds)


KEYS = sorted({*_keys(), *COMPONENT_GROUPS, *GROUPS, *(f"{g}._target_" for g in COMPONENT_GROUPS)})
# Values that go together in any number, so that what is wrong with a list is not one of these.
SOUND = [
    "seed=1",
    "train.epochs=2",
    "++train.batch_size=4",
    "train.max_steps=${train.epochs}",
    "train.patience=3",
    "eval.batch_size=8",
    "lora.r=4",
    "lora.dropout=${oc.decode:'0.5'}",
    "run_name='a, b=c'",
    "run_name='größe_二'",
    "tracking.experiment=e",
    "scheduler.warmup_ratio=0.5",
    "precision=fp32",
]
NUMBERS = ["0", "-1", "1", "7", "1.5", "1e-3", "1e400", "-1e400", "nan", "inf", "-inf", "9" * 30]
TEXTS = ["", "null", "true", "False", "???", "a b", "'a'", '"b', "'it\\'s'", "größe", "日本", "\\", "a=b", "a:b"]  # fmt: skip
PATHS = ["./nowhere", "/", ".", "~/x", "~nobody/x", "'~nobody/x'", "pkg://", "pkg://torch/none", "a.jsonl", f"{'x' * 300}.csv", "sqlite:///x.db", "pkg://..", "/dev/null/x"]  # fmt: skip
NESTED = ["[]", "{}", "[1,2]", "[a,[b]]", "{a: 1}", "{a: {b: [1]}}", "{_target_: os.system}", "{_target_: 3}", "{1: 2}", "[", "{", "]", "{a", "[a,", "[" * 200 + "]" * 200]  # fmt: skip
INTERPOLATIONS = ["${seed}", "${train.epochs}", "${train}", "${nothing}", "${a.b.c}", "${", "$", "${}", "${oc.env:NO_SUCH_VARIABLE}", "${oc.env:HOME}", "${oc.env:}", "${nosuch:1}", "${project_root:}", "${oc.decode:'[1'}", "${oc.create:{a: 1}}", "x${seed}y", "${.lr}", "${..seed}", "${...........seed}", "${hydra:job.num}", "${hydra.job.num}", "${oc.select:nothing,3}", "'${a'", "${seed}${"]  # fmt: skip
COMMAS = ["1,2", "a,b", "range(1,3)", "choice(1,2)", "interval(0,1)", "shuffle(1,2)", "int(3)", "int(x)", "str(1)", "glob(*)", "tag(a,1)", "no_such(1)"]  # fmt: skip
TARGETS = ["", ".", "a", "a.b", "torch.optim.SGD", "torch.optim.Nothing", "torch..optim.SGD", "expkit.optim", "expkit.optim.linear", "os.system", "builtins.eval", "no_such_package.Thing", "expkit.tasks.masked_lm.MaskedLM", "expkit.backends.x.Y", "größe.X", "[a]"]  # fmt: skip
# Hydra's own keys can have files written elsewhere and code run, so only these are tried.
OF_HYDRA = ["hydra.run.dir=other", "hydra.run.dir=${nothing}", "hydra.run.dir=", "hydra.run.dir=[1]", "hydra.run.dir=null", "hydra.run.dir=/dev/null/x", "hydra.mode=FAST", "hydra.mode=RUN", "hydra.job.chdir=maybe", "hydra.job.chdir=true", "hydra.job.name=${seed}", "hydra.job.num=x", "hydra.verbose=x", "hydra.output_subdir=sub", "hydra.launcher=3", "hydra.launcher.n_jobs=2", "hydra.sweeper.params=3", "hydra=x", "hydra/launcher=basik", "+hydra.foo=1", "+hydra.callbacks.x._target_=no.such.Class", "+hydra.callbacks.x=1", "hydra.job_logging.version=2", "~hydra.run", "~hydra", "hydra.searchpath=[pkg://no_such]", "hydra.searchpath=3", "hydra/job_logging=none", "hydra.help.template=${a", "hydra.nothing=1"]  # fmt: skip

anything = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
bytes_of_another_encoding = st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
values = st.one_of(
    *map(st.sampled_from, (NUMBERS, TEXTS, PATHS, NESTED, INTERPOLATIONS, COMMAS)),
    st.integers().map(str),
    st.floats().map(str),
    anything,
    bytes_of_another_encoding.map("x".__add__),
    st.sampled_from(["x", "9", "[", "a,", "日"]).map(lambda text: text * 2_000),
)


def misspelled(key: str, cut: int) -> str:
    at = cut % len(key)
    return key[:at] + key[at + 1 :]


odd_keys = st.one_of(
    st.builds(misspelled, st.sampled_from(KEYS), st.integers(0, 40)),
    st.builds("{}.{}".format, st.sampled_from(KEYS), st.sampled_from(["x", "0", "", "a.b.c"])),
    anything,
)
keys = st.sampled_from(KEYS)
group = st.sampled_from(sorted(OPTIONS))
choices = group.flatmap(
    lambda name: st.builds(
        "{}{}={}".format,
        st.sampled_from(["", "", "+", "~"]),
        st.sampled_from([name, name, f"{name}@other", f"{name}@", f"{name}@_global_"]),
        st.sampled_from([*OPTIONS[name], "nothing", OPTIONS[name][0][:-1], "[a,b]"]),
    )
)
targets = st.builds(
    "{}._target_={}".format, st.sampled_from(COMPONENT_GROUPS), st.sampled_from(TARGETS)
)
signs = st.sampled_from(["", "+", "++", "~", "+++"])
hydras = st.builds("{}{}".format, st.sampled_from(["", "", "+", "++"]), st.sampled_from(OF_HYDRA))
# Most are a value of a known key: what has a wrong key already ends before values are looked at.
wild = st.one_of(
    st.builds("{}={}".format, keys, values),
    st.builds("{}={}".format, keys, st.sampled_from(INTERPOLATIONS)),
    st.builds("{}={}".format, keys, st.sampled_from([*NESTED, *TEXTS, *NUMBERS])),
    st.builds("{}{}={}".format, signs, keys | odd_keys, values),
    st.builds("+{}={}".format, odd_keys, values),
    st.builds("~{}".format, keys | odd_keys),
    st.builds("{}={}".format, group, values),
    choices,
    targets,
    hydras,
    anything,
).filter(lambda override: not override.startswith("-"))  # that would be an option
lists_of_them = st.lists(wild, max_size=1) | st.lists(wild, max_size=3)


@dataclass
class Outcome:
    """What became of `python -m expkit`: the configuration that it would run, or its complaint."""

    code: Any = None
    message: str = ""
    configs: list[Any] = field(default_factory=list)


Start = Callable[[Sequence[str]], Outcome]


@pytest.fixture
def start(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """The command up to the place where work begins: what would run is kept instead of run."""
    would_run: list[Any] = []

    def run(cfg: DictConfig, *_: Any, **__: Any) -> None:
        would_run.append(OmegaConf.to_container(cfg, resolve=True))

    for module, function in (("expkit.experiment", "run"), ("expkit.dry_run", "dry_run")):
        stand_in = ModuleType(module)
        setattr(stand_in, function, run)
        monkeypatch.setitem(sys.modules, module, stand_in)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", _composing_once())

    def start(overrides: Sequence[str]) -> Outcome:
        work_has_begun.clear()
        would_run.clear()
        monkeypatch.setattr(sys, "argv", ["expkit", *overrides])
        outcome = Outcome(configs=would_run)
        printed = StringIO()  # which takes any character, as the stream of errors does
        try:
            with redirect_stderr(printed), redirect_stdout(StringIO()):
                main()
        except SystemExit as ending:
            outcome.code = ending.code
        finally:
            gc.enable()
        outcome.message = printed.getvalue()
        return outcome

    handler = signal.getsignal(signal.SIGTERM)
    yield start
    signal.signal(signal.SIGTERM, handler)
    work_has_begun.clear()


def _composing_once() -> Callable[..., DictConfig]:
    """Hydra composes twice, first to see whether it is a sweep, which is most of the time taken."""
    composed: dict[str, DictConfig] = {}
    load = ConfigLoaderImpl.load_configuration

    def load_configuration(self: Any, *args: Any, **kwargs: Any) -> DictConfig:
        asked = repr((args, sorted(kwargs.items())))
        if asked in composed:
            return composed.pop(asked)
        composed.clear()
        composed[asked] = load(self, *args, **kwargs)
        return composed[asked]

    return load_configuration


def names(override: str) -> set[str]:
    """What of an override a message may show to say that it is about this one."""
    key = re.split(r"[=@]", override.lstrip("+~"), maxsplit=1)[0].strip()
    parts = {key, *re.split(r"[./]", key), override[:30], repr(override)[1:30]}
    return {part for part in parts if part} or {"''"}


@settings(
    max_examples=max(settings().max_examples, 150),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(sound=st.lists(st.sampled_from(SOUND), max_size=3), odd=lists_of_them)
@example(sound=SOUND, odd=[])
def test_a_configuration_or_one_message(start: Start, sound: list[str], odd: list[str]) -> None:
    outcome = start([*sound, *odd])
    if outcome.code is None:
        assert len(outcome.configs) == 1
        assert outcome.message == ""
        return
    first, _, text = outcome.message.partition("expkit: ")
    assert first == "", "nothing is printed but the message"
    assert outcome.code in (1, 2)
    assert not outcome.configs
    assert text.strip()
    assert len(text) < 10_000
    assert "Traceback" not in text
    assert not re.fullmatch(r"\w+(Error|Exception)", text.strip())
    assert any(name in text for override in odd for name in names(override)), text
