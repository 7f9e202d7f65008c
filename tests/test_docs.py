"""What the README and docs/ say is true: their commands, their links, and where the code is.

Every command goes through real shells, and what comes out is checked.

The shells parse and expand the lines as they stand. `python`, `make` and the other programs are
stand-ins that write down what they were given, because running all of it would take hours; what
`python -m expkit` was given is then composed and checked as it would be there.
"""

import ast
import importlib
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import OmegaConf

from conftest import CHECKOUT
from expkit.commands import summaries
from expkit.config.composition import watch_composition
from expkit.config.project import conf_dir, project_root
from expkit.config.texts import TextParser
from expkit.sweeps.plan import plan
from expkit.sweeps.search.space import probes, search_space
from small_glue import write_glue

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
PROGRAMS = [
    "python",
    "expkit",
    "make",
    "torchrun",
    "accelerate",
    "pip",
    "head",
    "tail",
    "docker",
    "mlflow",
    "curl",
    "sha256sum",
]
SHELLS = [shell for shell in ("bash", "zsh") if shutil.which(shell)]
STAND_IN = '#!/bin/sh\n{ printf "%s\\037" "${0##*/}" "$@"; echo; } >> "$RECORD"\n'
COMMAND = re.compile(rf"^(?:[A-Z_]+=\S* )*(?:{'|'.join(PROGRAMS)}) ", re.M)


def scripts(page: Path) -> list[str]:
    """What a reader may paste: fenced blocks without a language, and code in prose."""
    found, block = [], None
    prose = []
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("```"):
            if block is None:
                block = [line.strip()]
            else:
                found += ["\n".join(block[1:])] if block[0] in ("```", "```bash", "```sh") else []
                block = None
        elif block is None:
            prose.append(line)
        else:
            block.append(line)
    found += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", "\n".join(prose))]
    return [text for text in dict.fromkeys(found) if COMMAND.search(text)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the commands are typed, with the things that they name."""
    (tmp_path / "bin").mkdir()
    for program in PROGRAMS:
        (tmp_path / "bin" / program).write_text(STAND_IN)
        (tmp_path / "bin" / program).chmod(0o755)
    here = tmp_path / "here"
    (here / "FOLDER").mkdir(parents=True)
    for checkpoint in (here / "my-checkpoint", here / "outputs" / "runs" / "RUN_ID" / "model"):
        checkpoint.mkdir(parents=True)
        (checkpoint / "config.json").write_text("{}")
        (checkpoint / "model.safetensors").touch()
    (here / "FOLDER" / "run.yaml").write_text("defaults: [config]\n")
    write_glue(here / "FOLDER")
    (here / "my_pkg").mkdir()
    own = "class MyOptimizer:\n    def __init__(self, **options): ...\n"
    (here / "my_pkg" / "__init__.py").write_text(own)
    monkeypatch.syspath_prepend(str(here))
    monkeypatch.chdir(here)
    yield here
    OmegaConf.register_new_resolver("project_root", lambda: str(project_root()), replace=True)


def recorded(shell: str, script: str, folder: Path) -> list[list[str]]:
    """What each program was given by the shell."""
    record = folder.parent / "record"
    record.write_text("")
    environment = {
        "PATH": f"{folder.parent}/bin:/usr/bin:/bin",
        "RECORD": str(record),
        "MLFLOW_TRACKING_URI": "http://localhost:5000",
        "MLFLOW_TRACKING_USERNAME": "anna",
    }
    done = subprocess.run(
        [shell, "-e", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{shell}: {script}\n{done.stderr}"
    return [line.split("\037")[:-1] for line in record.read_text().splitlines() if "\037" in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_right(page: Path, folder: Path) -> None:
    # Hydra looks for `# @package` in the first line, so the name of such a file stands in the second.
    for text, name in re.findall(
        r"^```\w+\n((?:# @[^\n]*\n)?# (\S+\.\w+)\n.*?)^```", page.read_text(), re.M | re.S
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)  # which the page says to write
        (folder / name).write_text(text)
    for script in scripts(page):
        first, *others = (recorded(shell, script, folder) for shell in SHELLS)
        assert all(other == first for other in others), script
        for program, *arguments in first:
            if program == "make" and not arguments[0].startswith("-"):
                target = rf"^{re.escape(arguments[0])}:"
                assert re.search(target, (CHECKOUT / "Makefile").read_text(), re.M), arguments
            if program != "expkit":
                if "-m" not in arguments:
                    continue
                module, *arguments = arguments[arguments.index("-m") + 1 :]
                if module.startswith("expkit."):
                    arguments = [module.removeprefix("expkit."), *arguments]
                elif module != "expkit":
                    continue
            if "--help" in arguments or any("..." in text for text in arguments):
                continue
            if arguments and arguments[0] in summaries():
                command, *given = arguments
                importlib.import_module(f"expkit.commands.{command}").parser().parse_args(given)
            else:
                would_run(arguments, folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    """The site checks links between its pages too, but neither the README nor links to other files."""
    links = re.findall(r"\]\((?!\w+:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_site_leads_to_every_page() -> None:
    site = tomllib.loads((CHECKOUT / "zensical.toml").read_text(encoding="utf-8"))
    assert set(leaves(site["project"]["nav"])) == {page.name for page in PAGES[1:]}


def leaves(node: Any) -> Iterator[str]:
    """The pages of a navigation, at any depth."""
    if isinstance(node, str):
        yield node
    else:
        for child in node.values() if isinstance(node, dict) else node:
            yield from leaves(child)


def test_the_table_of_behaviours_names_what_there_is() -> None:
    page = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`([\w/]+\.py):([\w.]+)`", page)
    assert len(places) > 30
    for file, name in places:
        source = (CHECKOUT / "src" / "expkit" / file).read_text(encoding="utf-8")
        assert name in set(defined(ast.parse(source))), f"{file}:{name}"


def defined(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[str]:
    """The names of functions, classes and methods, such as `Monitor.on_step`."""
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield f"{prefix}{child.name}"
        if isinstance(child, ast.ClassDef):
            yield from defined(child, f"{child.name}.")


def would_run(given: list[str], folder: Path) -> None:
    """Raises a ConfigError if the command is wrong."""
    options = get_args_parser().parse_args(given)
    for override in options.overrides:
        key, _, value = override.partition("=")
        if re.fullmatch(r"data\.\w+_files?", key):
            for name in re.findall(r"[^\s,:{}\[\]'\"]+\.\w+", value):
                file = folder / name.replace("*", "a")  # a pattern needs a file that it matches
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
    searched = create_config_search_path(str(conf_dir()))
    if options.config_dir:
        own = f"file://{folder / options.config_dir}"
        searched.prepend("command-line", own, SearchPathQuery(provider="schema"))
    watch_composition()
    OmegaConf.register_new_resolver("project_root", lambda: str(folder), replace=True)
    setup_globals()
    loader = ConfigLoaderImpl(searched)
    mode = RunMode.MULTIRUN if options.multirun else RunMode.RUN
    master = loader.load_configuration(options.config_name or "config", options.overrides, mode)
    typed = [text for text in options.overrides if not text.startswith("hydra")]
    plan(loader, master, list(islice(combinations(loader, master, typed), 3)))


def combinations(loader: Any, master: Any, typed: list[str]) -> Iterator[list[str]]:
    """The overrides of the first jobs, or of a search the ends of its ranges."""
    if master.hydra.sweeper._target_.endswith(".OptunaSweeper"):
        fixed, space = search_space(loader, typed)
        yield from ([*fixed, *probe] for probe in probes(space))
    else:
        parsed = TextParser.create(config_loader=loader).parse_overrides(typed)
        yield from BasicSweeper.split_arguments(parsed, None)[0]
