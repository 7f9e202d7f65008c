"""Make what a config group names by its `_target_`."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from expkit.errors import UserError


def make(cfg: DictConfig, group: str, *args: Any, **kwargs: Any) -> Any:
    """The component of `cfg[group]`; a partial one is completed with the further arguments.

    Raises:
        UserError: the component refuses its arguments.
    """
    node = cfg[group]
    try:
        component = instantiate(node, _convert_="all")
        return component(*args, **kwargs) if node.get("_partial_") else component
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise UserError(f"{group}: {node._target_}: {error.__cause__ or error}") from error
    except UserError:
        raise
    except Exception as error:  # whatever a component does with what it was given
        raise UserError(f"{group}: {node._target_}: {error}") from error
