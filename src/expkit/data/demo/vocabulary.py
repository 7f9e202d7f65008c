"""The frames and words that the demo generators draw from; they lie beside this file."""

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


def vocabulary(name: str) -> dict[str, Any]:
    """The content of `<name>.yaml`."""
    found: dict[str, Any] = yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))
    return found
