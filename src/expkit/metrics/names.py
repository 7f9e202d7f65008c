"""Turn names of users into keys of MLflow and names of files, so that two names never become the same.

MLflow allows letters and digits of any script, spaces and `_ . - / :` in the keys of metrics, parameters and
tags (mlflow/utils/validation.py). Within a name, a slash and a colon are escaped too: a slash separates the
groups of expkit, such as `eval/`, and Windows refuses a colon.
"""

import hashlib
import re
from collections.abc import Iterable

KEY_LIMIT = 250  # characters, MLflow's own limit
DIGEST_LENGTH = 16  # hexadecimal digits
# Characters that MLflow refuses, dots that would make a path, and what looks like an escaped character.
UNFIT = re.compile(r"[^\w.\- ]|^\.(?=\.|$)|_(?=x[0-9A-F]{4})")


def escaped(name: str) -> str:
    """Replace each character that a key must not hold by its number: `A&B` becomes `A_x0026_B`.

    The notation is that of Office Open XML (ECMA-376, ST_Xstring).
    """
    return UNFIT.sub(lambda found: f"_x{ord(found[0]):04X}_", name)


def key_of(name: str) -> str:
    """Return the key of a tag or of a metric such as `eval/f1_A&B`, where `eval` is the group."""
    return _cut("/".join(map(escaped, name.split("/", 1))))


def param_key(path: Iterable[object]) -> str:
    """Join the keys that lead to a parameter by dots; a dot within one of them is escaped."""
    return _cut(".".join(escaped(str(part)).replace(".", "_x002E_") for part in path))


def _cut(key: str) -> str:
    """Put a digest in place of the end of a key that is too long.

    Only such a key is as long as the limit, so it cannot equal a key that was not cut.
    """
    if len(key) < KEY_LIMIT:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{key[: KEY_LIMIT - DIGEST_LENGTH - 1]}_{digest}"
