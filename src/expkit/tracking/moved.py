"""Correct the absolute paths in MLflow's store after the project was moved or copied."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import sqlalchemy
from sqlalchemy import text

from expkit.config.project import output_dir, project_root, run_folder
from expkit.terminal.display import say
from expkit.terminal.errors import UserError
from expkit.tracking.outbox import is_written

LOCATIONS = {  # MLflow's tables, and their columns that hold paths of artifacts
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}


def follow_project(uri: str) -> None:
    """Rewrite the paths of artifacts in a sqlite store that has moved together with its project."""
    engine = sqlalchemy.create_engine(uri)
    with engine.begin() as db:
        query = "SELECT artifact_location FROM experiments ORDER BY experiment_id"
        then, now = made_in(db.execute(text(query)).scalars().all()), project_root()
        if then is None or _is_here(then):
            return
        file = Path(sqlalchemy.make_url(uri).database or "")
        if file.parent == then or file.is_relative_to(then / "outputs"):
            return  # the store of a project in a folder of this one, which has not moved
        running = db.execute(text("SELECT run_uuid FROM runs WHERE status = 'RUNNING'")).scalars()
        if busy := next((run for run in running if is_written(run_folder(run))), None):
            raise UserError(f"run {busy} is at work and knows this project as {then}; wait for it")
        for table, columns in LOCATIONS.items():
            for column in columns:
                for old, new in ((then.as_uri(), now.as_uri()), (str(then), str(now))):
                    change = (
                        f"UPDATE {table} SET {column} = :new || substr({column}, :length + 1) "
                        f"WHERE substr({column}, 1, :length + 1) = :old || '/'"
                    )
                    db.execute(text(change), {"old": old, "new": new, "length": len(old)})
    engine.dispose()
    say(f"this project was {then} before; its artifacts are now those in {output_dir()}")


def made_in(locations: Sequence[str]) -> Path | None:
    """Return the root of the project in which a store was made, found by the locations of its artifacts.

    The first location belongs to MLflow's default experiment and is below the folder in which the store was
    made. The others may belong to other projects that use the store.
    """
    folders = [local_path(location) for location in locations]
    roots = [f.parents[1] for f in folders if f and f.match("outputs/artifacts")]
    around = [root for root in roots if folders[0] and folders[0].is_relative_to(root)]
    return max(around, key=lambda root: (_is_here(root), len(root.parts)), default=None)


def local_path(location: str) -> Path | None:
    """Return the folder at an address of artifacts; None if the address is none of the file system."""
    path = unquote(urlsplit(location).path) if location.startswith("file:") else location
    return Path(path) if Path(path).is_absolute() else None


def _is_here(root: Path) -> bool:
    """Return whether a path leads to this project, perhaps through a link or a mount."""
    then, now = root / "outputs", output_dir()
    return root == project_root() or (then.exists() and now.exists() and then.samefile(now))
