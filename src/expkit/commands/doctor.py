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


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    return argparse.ArgumentParser(description=__doc__)


def run(options: argparse.Namespace) -> bool:
    """Print the table, and return whether all is there that a run needs."""
    works = True
    print("| what | here |\n|---|---|")
    for part in (_machine, _store, _surroundings, _extras):
        try:
            rows = part()
        except Exception as error:  # whatever a broken library does when it is imported
            works, rows = False, {f"BROKEN: {part.__name__[1:]}": reason(error)}
        for row in rows.items():
            shown = (" ".join(redacted(cell).replace("|", "\\|").split()) for cell in row)
            print(f"| {' | '.join(shown)} |".replace(str(Path.home()), "~"), flush=True)
    return works


def _machine() -> dict[str, str]:
    import torch

    from expkit.processes.group import device
    from expkit.tracking.environment import environment
    from expkit.training.precision import has_fast_bf16

    files = sorted(
        (output_dir() / "cache/precision").glob("*.json"), key=lambda f: f.stat().st_mtime
    )
    rates = f"samples/s: {files[-1].read_text()}" if files else "a run measures it"
    auto = f"the faster of fp32 and bf16 ({rates})" if has_fast_bf16() else "fp32"
    kind, formats = device().type, "auto, fp32, bf16"
    found = {"system": platform.platform(), **environment(), "device": f"{kind}, {cores()} cores"}
    if kind == "cuda":
        formats += ", fp16, tf32"
        memory = torch.cuda.mem_get_info()[1] / 2**30
        found["device"] += f", CUDA {torch.version.cuda}, {memory:.0f} GiB on the GPU"
    return {**found, "precision": f"auto takes {auto}; allowed: {formats}"}


def _store() -> dict[str, str]:
    from expkit.tracking.store import connect, experiment_ids, sqlite_file, tracking_uri

    uri, runs = tracking_uri(None), "no runs yet"
    if not (file := sqlite_file(uri)) or file.exists():
        client = connect(None)
        found = client.search_runs(experiment_ids(client), max_results=1000)
        runs = f"{len(found)}{' or more' * bool(found.token)} runs"
    return {"store": f"{without_password(uri)}, {runs}"}


def _extras() -> dict[str, str]:
    extras = metadata("expkit").get_all("Provides-Extra") or ()
    return {f"extra {extra}": _missing(extra) or "complete" for extra in extras}


def _surroundings() -> dict[str, str]:
    require_outputs()
    if why := [*problems(), *filter(None, [_missing("")])]:
        raise UserError("; ".join(why))
    there = next(path for path in (output_dir(), *output_dir().parents) if path.exists())
    free = f"{shutil.disk_usage(there).free / 2**30:.0f} GiB free"
    hub = f"HF_HUB_OFFLINE={os.environ.get('HF_HUB_OFFLINE', '')}"
    return {"outputs": f"{output_dir()}, {free}", "hub": hub}


def _missing(extra: str) -> str:
    """What an extra of expkit lacks and how to get it, or an empty text; "" is expkit itself."""
    lacks = []
    for need in map(Requirement, requires("expkit") or ()):
        versions = [each.version for each in distributions(name=need.name)]
        asked = need.marker.evaluate({"extra": extra}) if need.marker else not extra
        if asked and not any(map(need.specifier.contains, versions)):
            lacks.append(f"{need.name}{need.specifier}")
    how = f"pip install 'expkit[{extra}]'".replace("[]", "")
    return f"lacks {', '.join(lacks)}: {how}" if lacks else ""
