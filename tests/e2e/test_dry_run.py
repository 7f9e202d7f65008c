"""`dry_run=true` reports and leaves nothing behind."""

from pathlib import Path

from conftest import TINY, Command


def test_reports_sizes_data_and_estimates(expkit: Command, project: Path) -> None:
    done = expkit(*TINY, "dry_run=true")
    assert done.returncode == 0, done.stderr
    for part in ("trained parameters", "train: labels", "cut to 128 tokens", "optimizer steps"):
        assert part in done.stdout
    assert "about" in done.stdout
    assert "GiB" in done.stdout
    left = [entry.name for entry in (project / "outputs").iterdir()]
    assert left == ["cache"], "a dry run is no run; its tokens serve the run that follows"
