"""A configuration as parameters: nothing is refused, and what is cut says so."""

from expkit.tracking.params import CUT_MARK, PARAM_LIMIT, config_of, params_of, params_of_command

CONFIG = {
    "seed": 1,
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001},
    "run_name": "x",
    "dry_run": False,
    "resume": "never",
    "tracking": {"uri": "somewhere"},
}


def test_leaves_have_dotted_keys_and_lists_stay_whole() -> None:
    config = {"seed": 1, "optimizer": {"lr": 0.1, "betas": [0.9, 0.999]}, "direction": None}
    assert params_of(config) == {
        "seed": "1",
        "optimizer.lr": "0.1",
        "optimizer.betas": "[0.9, 0.999]",
        "direction": "null",
    }


def test_a_value_as_long_as_mlflow_takes_is_whole() -> None:
    assert params_of({"a": "x" * 501})["a"] == "x" * 501
    assert params_of({"a": "x" * PARAM_LIMIT})["a"] == "x" * PARAM_LIMIT


def test_a_longer_value_is_cut_with_a_mark() -> None:
    value = params_of({"a": "日" * 7000})["a"]
    assert len(value) == PARAM_LIMIT
    assert value.endswith(CUT_MARK)


def test_a_command_becomes_parameters_that_mlflow_takes() -> None:
    command = ["optimizer=adamw,sgd", "+hydra.x=1", "~lora", "db@main=a=b"]
    assert params_of_command(command) == {
        "optimizer": "adamw,sgd",
        "hydra.x": "1",
        "lora": "",
        "db_x0040_main": "a=b",
    }


def test_what_was_typed_comes_first_and_once_more_at_the_end() -> None:
    typed = [
        "optimizer.lr=1e-3",
        "optimizer=adamw",
        "tracking.uri=x",
        "run_name=y",
        "~task.metrics.f1",
    ]
    assert list(params_of(CONFIG, typed).items()) == [
        ("optimizer.lr", "0.001"),
        ("optimizer", "adamw"),
        ("seed", "1"),
        ("optimizer._target_", "AdamW"),
        ("Typed.optimizer.lr", "1e-3"),
        ("Typed.optimizer", "adamw"),
        ("Typed.task.metrics.f1", ""),
    ]


def test_how_a_value_was_typed_is_no_part_of_the_configuration() -> None:
    """The last one is of a run that an earlier version has logged."""
    ways = [
        params_of(CONFIG),
        params_of(CONFIG, ["optimizer=adamw", "optimizer.lr=1e-3", "+experiment=mine", "seed=1"]),
        params_of(CONFIG, ["optimizer._target_=torch.optim.AdamW", "optimizer.lr=0.001"]),
        {"seed": "1", "optimizer._target_": "torch.optim.AdamW", "optimizer.lr": "0.001"},
    ]
    for params in ways:
        assert config_of(params) == {
            "seed": "1",
            "optimizer._target_": "AdamW",
            "optimizer.lr": "0.001",
        }


def test_classes_of_ones_own_keep_their_module() -> None:
    found = [params_of({"task": {"_target_": target}}) for target in ("a.Task", "b.Task")]
    assert [config_of(params)["task._target_"] for params in found] == ["a.Task", "b.Task"]
