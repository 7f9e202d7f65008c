"""`python -m benchmarks.house [COMMIT ...]`: the size and the shape of the source, one column a commit.

Without a commit it measures the working tree. It reads the source and imports none of it.
"""

import argparse
import ast
import io
import math
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

CHECKOUT = Path(__file__).parents[1]
LONG = 50  # lines of a function
PACKAGE = "expkit"

# Text of each Python file, by its path below src.
Source = Mapping[str, str]


class Measured(NamedTuple):
    """The number of lines of a file or a function."""

    lines: int
    name: str


@dataclass(frozen=True)
class Import:
    """One module that another one imports, and the place where it does so."""

    file: str
    line: int
    importer: str
    imported: str

    @property
    def ends(self) -> tuple[str, str]:
        """The two packages: that of the importer, and the one it imports from."""
        return package_of(self.importer), package_of(self.imported)


def working_tree() -> Source:
    """The source as it lies in this checkout."""
    src = CHECKOUT / "src"
    return {
        file.relative_to(src).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted(src.rglob("*.py"))
    }


def archive_of(commit: str) -> tarfile.TarFile:
    """The files of a commit. Ends this process with a message if git does not find the commit."""
    command = ["git", "archive", "--format=tar", commit]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True)
    if done.returncode:
        sys.exit(f"{commit}: git cannot read this commit: {done.stderr.decode().strip()}")
    return tarfile.open(fileobj=io.BytesIO(done.stdout))


def source_of(commit: str) -> Source:
    """The source as it was in a commit."""
    with archive_of(commit) as archive:
        return {
            member.name.removeprefix("src/"): file.read().decode()
            for member in archive
            if member.name.startswith("src/")
            and member.name.endswith(".py")
            and (file := archive.extractfile(member))
        }


def module_name(file: str) -> str:
    """`expkit/data/cache.py` is `expkit.data.cache`, and `expkit/data/__init__.py` is `expkit.data`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def package_of(module: str) -> str:
    """The package below expkit that a module lies in; a module beside the packages is its own."""
    root, _, below = module.partition(".")
    return below.split(".")[0] if root == PACKAGE and below else root


def imports_of(source: Source) -> list[Import]:
    """Every import, also those inside functions, but not those that only type checkers follow."""
    modules = {module_name(file) for file in source}
    return [
        Import(file, node.lineno, module_name(file), name)
        for file, text in source.items()
        for node in _executed(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _imported(node, file, modules)
    ]


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children = node.orelse
    for child in children:
        yield from _executed(child)


def _imported(node: ast.Import | ast.ImportFrom, file: str, modules: set[str]) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    base = node.module or ""
    if node.level:  # relative to the folder of the file, or to one above
        folder = list(Path(file).parts[: -node.level])
        base = ".".join(folder + ([base] if base else []))
    # What is imported from a package may be one of its modules.
    inside = {f"{base}.{alias.name}" for alias in node.names}
    return {name if name in modules else base for name in inside}


def circles(imports: Iterable[Import]) -> list[list[str]]:
    """Groups of packages of which each one imports, directly or through others, all the others."""
    follows: dict[str, set[str]] = {}
    for each in imports:
        importer, imported = each.ends
        if importer != imported:
            follows.setdefault(importer, set()).add(imported)
    reached = {package: _reached_from(package, follows) for package in follows}
    groups = {
        frozenset(other for other in reached[package] if package in reached.get(other, ()))
        for package in follows
        if package in reached[package]
    }
    return sorted(sorted(group) for group in groups)


def _reached_from(package: str, follows: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [package]
    while waiting:
        new = follows.get(waiting.pop(), set()) - reached
        reached |= new
        waiting.extend(new)
    return reached


def files_of(source: Source) -> list[Measured]:
    """All files with their lines, as `wc -l` counts them, the shortest first."""
    return sorted(Measured(text.count("\n"), file) for file, text in source.items())


def functions_of(source: Source) -> list[Measured]:
    """All functions with their lines, from `def` to the end, the shortest first."""
    return sorted(
        Measured(node.end_lineno - node.lineno + 1, f"{file}:{node.name}")
        for file, text in source.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    )


def _spread(measured: list[Measured]) -> str:
    lines = [each.lines for each in measured]
    p90 = lines[math.ceil(0.9 * len(lines)) - 1]
    return f"{statistics.median(lines):g} / {p90} / {lines[-1]}\n({measured[-1].name})"


def _import_statements(file: str, source: Source) -> int:
    return len({each.line for each in imports_of(source) if each.file == file})


def _circles(source: Source) -> str:
    found = circles(each for each in imports_of(source) if each.imported.startswith(PACKAGE))
    return "\n".join([str(len(found)), *(" ↔ ".join(circle) for circle in found)])


def _at_top(source: Source) -> list[str]:
    files = (file for file in source if Path(file).parent == Path(PACKAGE))
    return [file for file in files if not file.endswith("__init__.py")]


ROWS: dict[str, Callable[[Source], object]] = {
    "lines of source": lambda source: sum(file.lines for file in files_of(source)),
    "files": len,
    "lines of a file: median / p90 / longest": lambda source: _spread(files_of(source)),
    "lines of a function: median / p90 / longest": lambda source: _spread(functions_of(source)),
    f"functions of more than {LONG} lines": lambda source: sum(
        function.lines > LONG for function in functions_of(source)
    ),
    "imports of experiment.py": lambda source: _import_statements(
        f"{PACKAGE}/experiment.py", source
    ),
    "import circles between packages": _circles,
    "modules at the top level": lambda source: len(_at_top(source)),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.house", description=__doc__)
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="none: the working tree")
    commits = parser.parse_args().commits
    sources = [source_of(commit) for commit in commits] or [working_tree()]
    table = Table("", *(commits or ["working tree"]), show_lines=True)
    for name, measure in ROWS.items():
        table.add_row(name, *(str(measure(source)) for source in sources))
    Console().print(table)


if __name__ == "__main__":
    main()
