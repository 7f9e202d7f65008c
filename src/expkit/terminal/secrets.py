"""Keeps passwords and tokens out of everything that is printed and logged.

A secret is recognised by its place, such as the password in an address or the value of a variable whose
name ends in TOKEN.
"""

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

MARK = "***"
SHORTEST = 4  # characters of a secret; a shorter one would be found in any text
VARIABLES = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_KEY|ACCESS_KEY)$", re.IGNORECASE)
# urlsplit would not find passwords with / or #, which databases allow.
ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*)://[^\s'\"<>]*@", re.IGNORECASE)
PARAMETER = re.compile(r"(?i)([?&](?:password|passwd|pwd|token)=)[^&\s'\"]*")
FILES = ("sqlite", "file", "pkg")  # addresses of files; an @ in their names marks no password

_of_addresses: set[str] = set()


def without_password(uri: str) -> str:
    """The address without its user and password."""
    if uri.startswith(FILES):
        return uri
    return PARAMETER.sub(rf"\1{MARK}", re.sub(r"(?<=://).*@", f"{MARK}@", uri))


def remember(uri: str) -> None:
    """Let `redacted` find the password of this address in other texts too."""
    user, found, _ = uri.partition("://")[2].rpartition("@")
    password = user.partition(":")[2]
    if found and len(password) >= SHORTEST and not uri.startswith(FILES):
        _of_addresses.update((password, unquote(password)))


def without_address(overrides: Iterable[str]) -> list[str]:
    """The overrides without the address of the store, which may have a password."""
    return [override for override in overrides if "tracking.uri" not in override]


def redacted(text: str) -> str:
    """The text without passwords in addresses and secrets of the environment."""
    text = ADDRESS.sub(lambda m: m[0] if m[1].startswith(FILES) else f"{m[1]}://{MARK}@", text)
    text = PARAMETER.sub(rf"\1{MARK}", text)
    for secret in sorted(_known(), key=len, reverse=True):  # a secret may be a part of another
        text = text.replace(secret, MARK)
    return text


def redacted_in(node: Any) -> Any:
    """Mappings and lists with `redacted` applied to all their texts."""
    if isinstance(node, dict):
        return {key: redacted_in(value) for key, value in node.items()}
    if isinstance(node, list):
        return [redacted_in(value) for value in node]
    return redacted(node) if isinstance(node, str) else node


def _known() -> set[str]:
    of_environment = {v for name, v in os.environ.items() if VARIABLES.search(name)}
    return {secret for secret in of_environment | _of_addresses if len(secret) >= SHORTEST}
