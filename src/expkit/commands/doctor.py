"""Show versions, hardware, the store and what is missing, as a table to paste into an issue.

It makes nothing and shows no password. The exit code is 1 if a run cannot work here.
"""

import argparse
import os
import platform
import shutil
from importlib.metadata import distributions, metadata, requires
from pathlib import Path

from packaging.requirements import Requirement

from expkit.config.project import output_dir, require_outputs
from expkit.config.surroundings import problems
from expkit.processes.cores import cores
from expkit.terminal.errors import UserError, reason
from expkit.terminal.secrets import redacted, without_password

COUNTED = 1000  # runs, at most


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    return argparse.ArgumentParser(description=__doc__)


def run(options: argparse.Namespace) -> bool:
    """Print the table, and return whether all is there that a run needs."""
    works, parts = True, [_machine, _outputs, _store, _surroundings]
    rows: list[tuple[str, str]] = []
    for part in parts:
        try:
            rows += part().items()
        except Exception as error:  # whatever a broken library does when it is imported
            works = False
            rows.append((f"BROKEN: {part.__name__[1:]}", reason(error)))
    print("| what | here |\n|---|---|")
    for row in rows:
        shown = (" ".join(redacted(cell).replace("|", "\\|").split()) for cell in row)
        print(f"| {' | '.join(shown)} |".replace(str(Path.home()), "~"))
    return works


def _machine() -> dict[str, str]:
    import torch

    from expkit.processes.group import device
    from expkit.tracking.environment import environment
    from expkit.training.precision import has_fast_bf16

    files = (output_dir() / "cache" / "precision").glob("*.json")
    rates = [file.read_text() for file in sorted(files, key=lambda file: file.stat().st_mtime)]
    measured = f"samples/s of the last model: {rates[-1]}" if rates else "a run measures it"
    auto = f"the faster of fp32 and bf16 ({measured})" if has_fast_bf16() else "fp32"
    kind, formats, gpu = device().type, "auto, fp32, bf16", "none"
    if kind == "cuda":
        memory = torch.cuda.get_device_properties().total_memory / 2**30
        formats, gpu = f"{formats}, fp16, tf32", f"{memory:.0f} GiB, CUDA {torch.version.cuda}"
    return {
        "system": f"{platform.platform()}, {cores()} cores for this process",
        **environment(),
        "device": f"{kind}, memory of its own: {gpu}",
        "precision": f"allowed: {formats}; auto takes {auto}",
    }


def _outputs() -> dict[str, str]:
    require_outputs()
    there = next(path for path in (output_dir(), *output_dir().parents) if path.exists())
    return {"outputs": f"{output_dir()}, {shutil.disk_usage(there).free / 2**30:.0f} GiB free"}


def _store() -> dict[str, str]:
    from expkit.tracking.store import connect, experiment_ids, sqlite_file, tracking_uri

    uri, runs = tracking_uri(None), "no runs yet"
    if not (file := sqlite_file(uri)) or file.exists():
        client = connect(None)
        found = client.search_runs(experiment_ids(client), max_results=COUNTED)
        runs = f"{len(found)} runs{' or more' * (len(found) == COUNTED)}"
    return {"store": f"{without_password(uri)}, {runs}"}


def _surroundings() -> dict[str, str]:
    missing = {
        extra: _missing(extra) for extra in metadata("expkit").get_all("Provides-Extra") or ()
    }
    if why := [*problems(), *filter(None, [_missing("")])]:
        raise UserError("; ".join(why))
    hub = f"HF_HUB_OFFLINE={os.environ.get('HF_HUB_OFFLINE', '')}"
    return {
        "hub": hub,
        **{f"extra {extra}": lacks or "complete" for extra, lacks in missing.items()},
    }


def _missing(extra: str) -> str:
    """What an extra of expkit lacks and how to get it, or an empty text; "" is expkit itself."""
    lacks = []
    for need in map(Requirement, requires("expkit") or ()):
        asked = need.marker.evaluate({"extra": extra}) if need.marker else not extra
        if asked and not any(
            need.specifier.contains(each.version) for each in distributions(name=need.name)
        ):
            lacks.append(f"{need.name}{need.specifier}")
    how = f"pip install 'expkit[{extra}]'".replace("[]", "")
    return f"lacks {', '.join(lacks)}: {how}" if lacks else ""
