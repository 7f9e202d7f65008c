"""Keep passwords and tokens out of what is printed and logged.

A secret is known by its place (an address, a variable of the environment), because nobody says of a
text that it is one.
"""

import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

MARK = "***"
SHORTEST = 4  # characters; a shorter one would be found in any text
VARIABLES = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|API_KEY|ACCESS_KEY)$", re.IGNORECASE)
# Not by urlsplit: databases take passwords that hold / and #.
ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*)://[^\s'\"<>]*@", re.IGNORECASE)
PARAMETER = re.compile(r"(?i)([?&](?:password|passwd|pwd|token)=)[^&\s'\"]*")
FILES = ("sqlite", "file", "pkg")  # addresses of files, whose names may hold an @

_of_addresses: set[str] = set()


def without_password(uri: str) -> str:
    """The address as it may be shown."""
    if uri.startswith(FILES):
        return uri
    return PARAMETER.sub(rf"\1{MARK}", re.sub(r"(?<=://).*@", f"{MARK}@", uri))


def remember(uri: str) -> None:
    """From now on `hidden` also knows the password of this address outside of it."""
    user, found, _ = uri.partition("://")[2].rpartition("@")
    password = user.partition(":")[2]
    if found and len(password) >= SHORTEST and not uri.startswith(FILES):
        _of_addresses.update((password, unquote(password)))


def without_address(overrides: Iterable[str]) -> list[str]:
    """The overrides but the address of the store, which may hold a password."""
    return [override for override in overrides if "tracking.uri" not in override]


def hidden(text: str) -> str:
    """A text as it may be shown: without passwords in addresses and secrets of the environment."""
    text = ADDRESS.sub(lambda m: m[0] if m[1].startswith(FILES) else f"{m[1]}://{MARK}@", text)
    text = PARAMETER.sub(rf"\1{MARK}", text)
    for secret in sorted(_known(), key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, MARK)
    return text


def hidden_in(node: Any) -> Any:
    """The same of all texts in mappings and lists."""
    if isinstance(node, dict):
        return {key: hidden_in(value) for key, value in node.items()}
    if isinstance(node, list):
        return [hidden_in(value) for value in node]
    return hidden(node) if isinstance(node, str) else node


def _known() -> set[str]:
    of_environment = {v for name, v in os.environ.items() if VARIABLES.search(name)}
    return {secret for secret in of_environment | _of_addresses if len(secret) >= SHORTEST}
