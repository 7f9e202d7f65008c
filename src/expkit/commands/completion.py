"""Print what lets a shell complete commands, options, groups and keys.

A line of ~/.bashrc switches it on: eval "$(expkit completion bash)"; and the same with zsh in ~/.zshrc.
"""

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Literal, get_args, get_origin

from expkit.commands import summaries

# The function asks this command for words, which end with a space if they are complete; without any, the shell takes
# names of files. $2 is what bash replaces, which may begin after a = (COMP_WORDBREAKS). macOS has a bash without mapfile.
ZSH = "autoload -Uz compinit bashcompinit; (( $+functions[compdef] )) || compinit; bashcompinit"
FUNCTION = """_expkit() {
    local REPLY; COMPREPLY=()
    while IFS= read -r; do COMPREPLY+=("$REPLY"); done < <(
        COMP_LINE="${COMP_LINE:0:$COMP_POINT}" COMP_WORD="$2" "$1" completion bash 2>/dev/null)
}
complete -o nospace -o default -F _expkit expkit"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shell", choices=("bash", "zsh"))
    return parser


def run(options: argparse.Namespace) -> bool:
    """Print the function for the shell, or what it asks for: the words that may stand at the end of COMP_LINE."""
    if (line := os.environ.get("COMP_LINE")) is None:
        print(*[ZSH] * (options.shell == "zsh"), FUNCTION, sep="\n")
        return True
    *words, word = re.split(r"(?<!\\)\s+", re.sub("['\"]", "", line))
    kept = len(word.removesuffix(os.environ["COMP_WORD"]))
    for found in _candidates(words[1:], word):
        if found.startswith(word) and found != word:
            print(shlex.quote(found[kept:].rstrip()) + " " * found.endswith(" "))
    return True


def _candidates(words: Sequence[str], word: str) -> list[str]:
    """What may follow the words; some of it does not begin as `word` does."""
    known = summaries()
    if words and words[0] in known:
        parser = import_module(f"expkit.commands.{words[0]}").parser()
    else:
        parser = import_module("hydra._internal.utils").get_args_parser()
    options = parser._option_string_actions
    if word.startswith("-"):
        return [f"{option} " for option in options]
    places = parser._get_positional_actions()
    if before := next((each for each in reversed(words) if each in options), None):
        nargs = options[before].nargs
        if nargs in ("+", "*") or (nargs != 0 and words[-1] == before):
            places = [options[before]]
    found = [f"{choice} " for place in places for choice in place.choices or ()]
    found += [f"{name} " for name in known if not words]
    return found + (_overrides(words, word) if any(p.dest == "overrides" for p in places) else [])


def _overrides(words: Sequence[str], word: str) -> list[str]:
    """Groups, their options and keys as Hydra's own completion finds them, and the words that a key takes."""
    from hydra import initialize_config_dir
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra.core.global_hydra import GlobalHydra

    from expkit.config.project import conf_dir
    from expkit.config.schema import sections

    key, equals, _ = word.partition("=")
    group, _, name = key.rpartition(".")
    kind = {at: kinds for at, _, kinds in sections({})}.get(group, {}).get(name)
    if equals and get_origin(kind) is Literal:
        return [f"{key}={choice} " for choice in get_args(kind)]
    typed = [each for each in words if re.match(r"~|\+*[\w/@.]+=", each)]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        hydra = BashCompletion(GlobalHydra.instance().config_loader())
        for given in (typed, []):  # without what was typed before, if it does not fit
            with suppress(Exception):
                if found := hydra._query("config", " ".join(["-m", *given, word])):
                    # Hydra leaves out the sign after a group that has folders too.
                    signs = [" " if equals else "/" if each == "hydra" else "=" for each in found]
                    return [f + s * (f[-1] not in "=./") for f, s in zip(found, signs, strict=True)]
    return []
