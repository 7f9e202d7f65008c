"""Names of users as keys of MLflow: each is taken, and no two become one."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag

from expkit.metrics.names import KEY_LIMIT, escaped, key_of, param_key

# Of each pair both were one name, or one of them was refused, before there was one rule.
PAIRS = [
    ("A&B", "A+B"),
    ("A&B", "A_B"),
    ("A/B", "A_B"),
    ("A:B", "A_B"),
    ("A&B", "A_x0026_B"),
    ("A_x0026_B", "A_x005F_x0026_B"),
    ("&x0026_", "_x0026&"),
    ("sales (EU)", "sales [EU]"),
    ("100%", "100$"),
    ("..", "."),
    ("../x", "./x"),
    ("a//b", "a/b"),
    ("😀", "😁"),
    ("x" * 300 + "a", "x" * 300 + "b"),
    ("&" * 300, "&" * 301),
    ("a\n", "a\t"),
]


def accepted(key: str) -> bool:
    """Whether MLflow takes it as the key of a metric, of a parameter and of a tag."""
    _validate_metric(key, 1.0, 0, 0)
    _validate_param(key, "1")
    _validate_tag(key, "1")
    return True


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_two_names_stay_two(first: str, second: str) -> None:
    makers: list[Callable[[str], str]] = [
        lambda name: key_of(f"eval/f1_{name}"),
        lambda name: key_of(f"eval/{name}"),
        lambda name: param_key(["task", "weights", name]),
        key_of,
    ]
    for make in makers:
        keys = make(first), make(second)
        assert len(set(keys)) == 2
        assert all(map(accepted, keys))


@pytest.mark.parametrize(
    "name",
    ["eval/f1_PER", "eval/f1_creative-work", "eval/f1_人名", "eval/f1_work of art", "train/loss"],
)
def test_a_name_that_mlflow_takes_stays_as_it_is(name: str) -> None:
    assert key_of(name) == name


def test_how_an_escaped_name_looks() -> None:
    assert key_of("eval/f1_R&D") == "eval/f1_R_x0026_D"
    assert param_key(["task", "weights", "U.S."]) == "task.weights.U_x002E_S_x002E_"
    assert key_of("version.torch") == "version.torch"


NAMES = st.text("aA0_x26&+./: -.\n😀人", max_size=12) | st.text(max_size=300)


@given(NAMES, NAMES)
def test_no_two_names_have_one_key(first: str, second: str) -> None:
    assert (escaped(first) == escaped(second)) == (first == second)
    for make in (lambda n: key_of(f"eval/f1_{n}"), lambda n: param_key(["task", n])):
        assert (make(first) == make(second)) == (first == second)
        assert accepted(make(first))
        assert len(make(first)) <= KEY_LIMIT


@given(st.lists(st.text(".ab_&", max_size=3), max_size=4, min_size=1), st.data())
def test_no_two_paths_have_one_key(path: list[str], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.text(".ab_&", max_size=3), max_size=4, min_size=1))
    assert (param_key(["task", *path]) == param_key(["task", *other])) == (path == other)


def test_a_store_keeps_all_of_them(project: Path) -> None:
    client = MlflowClient(f"sqlite:///{project}/outputs/mlflow.db")
    run = client.create_run(client.create_experiment("x")).info.run_id
    names = sorted({name for pair in PAIRS for name in pair})
    metrics = {key_of(f"eval/f1_{name}"): float(i) for i, name in enumerate(names)}
    client.log_batch(
        run,
        [Metric(key, value, 0, 0) for key, value in metrics.items()],
        [Param(param_key(["weights", name]), name) for name in names],
        [RunTag(key_of(name), name) for name in names],
    )
    data = client.get_run(run).data
    assert data.metrics == metrics
    assert len(metrics) == len(names)
    assert {data.params[param_key(["weights", name])] for name in names} == set(names)
    assert all(data.tags[key_of(name)] == name for name in names)
    assert len(list(combinations(names, 2))) > 100
