"""The table at the end of a run."""

from collections.abc import Mapping

from expkit.display import say, table
from expkit.evaluation import Evaluation
from expkit.models.export import Exported


def show_summary(
    name: str,
    run_id: str,
    results: Mapping[str, Evaluation],
    baseline: Mapping[str, float],
    trainable: int,
    exported: Exported,
) -> None:
    """Metrics of each split beside the baseline, and what to do next."""
    metrics = list(results["validation"].metrics)
    base = {name.partition("_")[2]: value for name, value in baseline.items()}
    kind = next(iter(baseline), "").partition("_")[0]
    # A split may lack a metric that another has: the F1 of a type of entity that it does not hold.
    scores = [*(result.metrics for result in results.values()), base]
    rows = [
        [metric, *(f"{m[metric]:.4f}" if metric in m else "" for m in scores)] for metric in metrics
    ]
    table(name, ["metric", *results, f"{kind} baseline"], rows)
    say(f"trained parameters  {trainable:,}")
    if exported.adapter is not None:
        say(f"merge difference    {exported.max_abs_diff:.1e} (largest, in logits)")
    say(f"model               {exported.folder}")
    say(f"run                 {run_id}")
    say(f"predict             python -m expkit.predict {run_id} --text ...")
    say("compare             make ui   (then http://127.0.0.1:5000)")
