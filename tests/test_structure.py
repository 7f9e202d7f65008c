"""The packages of expkit import each other in one direction, so that each can be read without those above it."""

from benchmarks.house import PACKAGE, circles, imports_of, working_tree

# A package imports only those that stand before it. What is not listed (`__main__`, the modules that
# `python -m` runs, and Hydra's plugins) may import everything, and nothing imports it.
LAYERS = (
    "answering",
    "terminal",
    "processes",
    "config",
    "data",
    "metrics",
    "optim",
    "models",
    "tasks",
    "training",
    "backends",
    "comparison",
    "tracking",
    "experiment",
    "dry_run",
    "sweeps",
    "commands",
    "app",
    "untouched",
    "api",
)


def test_packages_import_only_those_below_them() -> None:
    height = {package: layer for layer, package in enumerate((PACKAGE, *LAYERS))}
    top = len(height)
    upwards = [
        f"src/{each.file}:{each.line} imports {each.imported}"
        for each in imports_of(working_tree())
        for importer, imported in [each.ends]
        if each.imported.partition(".")[0] == PACKAGE
        and importer != imported
        and (imported not in height or height[imported] > height.get(importer, top))
    ]
    advice = "move what is imported further down, or hand it in; LAYERS has the order"
    assert not upwards, "\n".join([*upwards, advice])


def test_no_listed_package_has_gone() -> None:
    found = {package for each in imports_of(working_tree()) for package in each.ends}
    assert set(LAYERS) <= found


def test_imports_are_read_wherever_they_stand() -> None:
    source = {
        "expkit/__init__.py": "",
        "expkit/low/__init__.py": "",
        "expkit/low/part.py": "def late() -> None:\n    from expkit import high\n",
        "expkit/high.py": "if True:\n    import os, expkit.low.part\nfrom expkit.low import part, name\n",
        "expkit/typed.py": "if TYPE_CHECKING:\n    import expkit.high\nelse:\n    from . import low\n",
    }
    found = {(each.importer, each.line, each.imported) for each in imports_of(source)}
    assert found == {
        ("expkit.low.part", 2, "expkit.high"),
        ("expkit.high", 2, "os"),
        ("expkit.high", 2, "expkit.low.part"),
        ("expkit.high", 3, "expkit.low.part"),
        ("expkit.high", 3, "expkit.low"),
        ("expkit.typed", 4, "expkit.low"),
    }


def test_packages_that_reach_each_other_are_a_circle() -> None:
    source = {
        "expkit/__init__.py": "",
        "expkit/one.py": "import expkit.two",
        "expkit/two.py": "import expkit.three",
        "expkit/three.py": "import expkit.one",
        "expkit/four.py": "import expkit.one",
        "expkit/five/a.py": "import expkit.five.b",
        "expkit/five/b.py": "import expkit.five.a",
    }
    assert circles(imports_of(source)) == [["one", "three", "two"]]
