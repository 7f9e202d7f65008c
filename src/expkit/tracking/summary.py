"""Print the table at the end of a run."""

from collections.abc import Sequence

from mlflow import MlflowClient

from expkit.processes.ranks import is_main
from expkit.terminal.display import say, table
from expkit.tracking.note import Scores
from expkit.tracking.run import AnyRun
from expkit.tracking.views import announce_run
from expkit.training.export import Exported


def show_summary(
    tracked: AnyRun,
    scores: Scores,
    remarks: Sequence[str],
    trainable: int,
    exported: Exported,
    has_model: bool,
) -> None:
    """Print in the main process the metrics beside the baseline, and what the user can do next."""
    if not is_main():
        return
    table(tracked.name, *scores)
    for remark in remarks:
        say(remark)
    say(f"trained parameters  {trainable:,}")
    if exported.adapter is not None:
        say(f"merge difference    {exported.max_abs_diff:.1e} (largest, in logits)")
    say(f"model               {exported.folder}")
    say(f"run                 {tracked.id}")
    if has_model:
        say(f"predict             python -m expkit.predict {tracked.id} --text ...")
    announce_run(MlflowClient(), tracked.id)
