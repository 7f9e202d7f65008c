"""Write a report on a sweep: one HTML page that needs no network, and its tables as Markdown.

It has what was run, the data, curves, the verdict, errors by label and by length, the examples on which the best
configurations disagree, times, versions, and the commands that do it again. No model is loaded.
"""

import argparse
from pathlib import Path

from expkit.commands import add_trust
from expkit.terminal.errors import UserError

MARK = "<!-- expkit report -->"  # begins both files, so that the next report may replace them


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    about = "the id of a sweep, or its first characters (default: the last sweep)"
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help=about)
    about = "folder for index.html and tables.md (default: report)"
    parser.add_argument("--out", type=Path, default=Path("report"), metavar="FOLDER", help=about)
    add_trust(parser, "the metrics of the runs")
    return parser


def run(options: argparse.Namespace) -> bool:
    """Write the page and the tables; a file that no report has written stays, and is an error."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    from expkit.terminal.display import say
    from expkit.terminal.quiet import hush
    from expkit.tracking.jobs import select
    from expkit.tracking.note import in_markdown
    from expkit.tracking.paper import parts_of

    hush()
    selection = select([options.sweep] if options.sweep else [])
    if not selection.sweeps:
        raise UserError(f"{options.sweep}: is a single run; expkit report takes a sweep")
    parts = parts_of(selection, frozenset(options.trust))
    pages = Environment(loader=PackageLoader("expkit", "commands"), autoescape=select_autoescape())
    pages.filters["markdown"] = in_markdown
    files = [options.out / name for name in ("index.html", "tables.md")]
    for file in files:
        if file.is_file() and not file.read_bytes().startswith(MARK.encode()):
            raise UserError(f"{file}: is no report's; move it, or use another --out")
    for file in files:
        made = pages.get_template(file.name).render(title=selection.title, parts=parts)
        try:
            options.out.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{MARK}\n{made}", encoding="utf-8")
        except OSError as error:
            raise UserError(f"--out {options.out}: {error.strerror}; expected a folder") from error
        say(f"written  {file}")
    return True
