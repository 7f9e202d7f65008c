"""Names of users as keys of MLflow and as names of files; two names never become one.

MLflow takes letters and digits of any script, spaces and `_ . - / :` in the keys of metrics,
parameters and tags (mlflow/utils/validation.py). A slash divides the groups of expkit, such as `eval/`,
and on Windows a colon is refused, so that inside of a name both are written otherwise as well.
"""

import hashlib
import re
from collections.abc import Iterable

KEY_LIMIT = 250  # characters, MLflow's own limit
DIGEST_LENGTH = 16  # hexadecimal digits
# Refused characters, dots that would make a path, and what already looks like an escaped character.
UNFIT = re.compile(r"[^\w.\- ]|^\.(?=\.|$)|_(?=x[0-9A-F]{4})")


def escaped(name: str) -> str:
    """The name itself where it can be a key, else with numbers for characters: `A_x0026_B` for `A&B`.

    The notation is that of Office Open XML (ECMA-376, ST_Xstring).
    """
    return UNFIT.sub(lambda found: f"_x{ord(found[0]):04X}_", name)


def key_of(name: str) -> str:
    """The key of a metric such as `eval/f1_A&B`, or of a tag; what is before a slash is its group."""
    return _cut("/".join(map(escaped, name.split("/", 1))))


def param_key(path: Iterable[object]) -> str:
    """The key of a parameter from the keys that lead to it; a dot inside of one is escaped too."""
    return _cut(".".join(escaped(str(part)).replace(".", "_x002E_") for part in path))


def _cut(key: str) -> str:
    """With a digest in place of the end if it is too long; only such a key is as long as allowed."""
    if len(key) < KEY_LIMIT:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{key[: KEY_LIMIT - DIGEST_LENGTH - 1]}_{digest}"
