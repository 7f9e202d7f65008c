"""A configuration as parameters: nothing is refused, and what is cut says so."""

from expkit.tracking.params import MARK, PARAM_LIMIT, params_of, params_of_command


def as_dict(config: dict[str, object]) -> dict[str, str]:
    return {param.key: param.value for param in params_of(config)}


def test_leaves_have_dotted_keys_and_lists_stay_whole() -> None:
    config = {"seed": 1, "optimizer": {"lr": 0.1, "betas": [0.9, 0.999]}, "run_name": None}
    assert as_dict(config) == {
        "seed": "1",
        "optimizer.lr": "0.1",
        "optimizer.betas": "[0.9, 0.999]",
        "run_name": "null",
    }


def test_a_value_as_long_as_mlflow_takes_is_whole() -> None:
    assert as_dict({"a": "x" * 501})["a"] == "x" * 501
    assert as_dict({"a": "x" * PARAM_LIMIT})["a"] == "x" * PARAM_LIMIT


def test_a_longer_value_is_cut_with_a_mark() -> None:
    value = as_dict({"a": "日" * 7000})["a"]
    assert len(value) == PARAM_LIMIT
    assert value.endswith(MARK)


def test_a_command_becomes_parameters_that_mlflow_takes() -> None:
    command = ["optimizer=adamw,sgd", "+hydra.x=1", "~lora", "db@main=a=b"]
    typed = {param.key: param.value for param in params_of_command(command)}
    assert typed == {"optimizer": "adamw,sgd", "hydra.x": "1", "lora": "", "db_x0040_main": "a=b"}
