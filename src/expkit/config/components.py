"""Make the component that a config group names by its `_target_`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from expkit.config.targets import package_of
from expkit.terminal.errors import UserError


def make(cfg: DictConfig, group: str, *args: Any, **kwargs: Any) -> Any:
    """The component of `cfg[group]`; a partial one is completed with the further arguments.

    Raises:
        UserError: the component refuses its arguments.
    """
    node = cfg[group]

    def component() -> Any:
        made = instantiate(node, _convert_="all")
        return made(*args, **kwargs) if node.get("_partial_") else made

    return _explained(component, group, node._target_)


def make_task(cfg: DictConfig) -> Any:
    """The task; see `Metrics`.

    Raises:
        UserError: the task or a metric refuses its arguments.
    """
    task = dict(cfg.task)
    if "metrics" not in task:
        return make(cfg, "task")
    metrics = Metrics(task.pop("metrics"))
    return make(OmegaConf.create({"task": {**task, "_partial_": True}}), "task", metrics=metrics)


class Metrics(Mapping[str, Any]):
    """Metrics by name, each made when it is first looked up, so that training begins without them.

    `evaluate` takes half a second to import. A metric that has settings or is not expkit's own may
    refuse what it is given, so it is made at once.
    """

    def __init__(self, nodes: Mapping[Any, Any]) -> None:
        self._nodes = {str(name): node for name, node in nodes.items()}
        self.made: dict[str, Any] = {}
        for name, node in self._nodes.items():
            if set(node) != {"_target_"} or package_of(node["_target_"]) != "expkit":
                self[name]

    def __getitem__(self, name: str) -> Any:
        if name not in self.made:
            node = self._nodes[name]
            self.made[name] = _explained(
                lambda: instantiate(node, _convert_="all"), f"task.metrics.{name}", node["_target_"]
            )
            if hasattr(self.made[name], "score_name"):
                self.made[name].score_name = name
        return self.made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)


def _explained(component: Callable[[], Any], key: str, target: str) -> Any:
    try:
        return component()
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"{key}: {target}: {error.__cause__ or error}") from error
    except UserError:
        raise
    except Exception as error:  # whatever a component does with what it was given
        raise UserError(f"{key}: {target}: {error}") from error
