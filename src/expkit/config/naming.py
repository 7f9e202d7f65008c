"""Short names of what a run is made of, the same from the command line and from Python."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from expkit.config.project import conf_dir
from expkit.config.targets import attribute_of, package_of
from expkit.config.trust import typed_value

SEVERAL = ("load", "examples")  # functions that more than one module of expkit has


def short_target(target: str) -> str:
    """The name of a class or function of expkit or torch without its module.

    Others keep their module, as another package may have a class of the same name.
    """
    name = target.rpartition(".")[2]
    is_known = package_of(target) in ("expkit", "torch") and name not in SEVERAL
    return name if is_known else target


def labels(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, str]:
    """The names of task, model, optimizer and data.

    Args:
        config: resolved.
        choices: the option taken in each config group, as far as somebody has taken one.
    """
    target, data = str(config["task"]["_target_"]), config["data"]
    task = attribute_of(target, "short_name") if package_of(target) == "expkit" else None
    names = {group: _option(group, config, choices) for group in ("model", "optimizer", "data")}
    read = Path(str(data.get("train_file") or data.get("path") or "")).name
    return {**names, "task": task or target.rpartition(".")[2], "data": read or names["data"]}


def run_name(
    config: Mapping[str, Any], choices: Mapping[str, str], typed: Sequence[str] = ()
) -> str:
    """Short enough for a column of the UI, such as `ner minilm lora-attention adamw s3`.

    Args:
        config: resolved.
        choices: see `labels`.
        typed: overrides; the seed is part of the name if it is among them, and no option of lora
            stands for modules that were typed.
    """
    names, modules = labels(config, choices), config["lora"]["target_modules"]
    attention = str(config["model"].get("attention_modules"))
    options = {"all-linear": "all_linear", attention: "attention"}
    keys = {typed_value(override)[0] for override in typed}
    taken = "none" if "lora.target_modules" in keys else choices.get("lora", "none")
    option = options.get(str(modules), taken)
    lora = "full" if not modules else "lora" if option == "none" else f"lora-{option}"
    parts = [names["task"], names["model"], lora, names["optimizer"]]
    if "seed" in keys:
        parts.append(f"s{config['seed']}")
    return " ".join(parts)


def _option(group: str, config: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """The option that was taken, or the only one with that class or with these values; else the class."""
    node, options, chosen = config[group], _options(group), choices.get(group)
    target = str(node["_target_"])
    if chosen and options.get(chosen, {}).get("_target_", target) == target:
        return chosen
    found = [name for name, option in options.items() if option.get("_target_") == target]
    if len(found) != 1:
        found = [
            name
            for name, option in options.items()
            if all(node.get(key) == value for key, value in option.items() if key != "defaults")
        ]
    return found[0] if len(found) == 1 else target.rpartition(".")[2]


@cache
def _options(group: str) -> dict[str, Any]:
    """What stands in the files of a group, by their names."""
    files = sorted(conf_dir().joinpath(group).glob("*.yaml"))
    return {file.stem: OmegaConf.to_container(OmegaConf.load(file)) for file in files}
