"""One run, top to bottom."""

import gc
import math
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from expkit.config.components import make
from expkit.config.fingerprint import digest_of_values, identity_of
from expkit.config.naming import labels, run_name
from expkit.config.resolved import plain, runnable
from expkit.data.inspection import inspected, lines
from expkit.metrics.result import FINAL, VALIDATION, final_of, set_of
from expkit.models import lora
from expkit.models.hub import go_online_if_asked
from expkit.optim import parameter_groups
from expkit.processes.outcome import IsPromising, Outcome
from expkit.processes.ranks import is_main
from expkit.terminal.display import say
from expkit.terminal.quiet import hush
from expkit.terminal.secrets import redacted
from expkit.tracking.card import CARD, card_of
from expkit.tracking.note import Scores, command_of, note_of_run, score_table
from expkit.tracking.params import params_of
from expkit.tracking.run import AnyRun, finished_before, open_run
from expkit.tracking.summary import show_summary
from expkit.training import auto_precision, checkpoint, precision, sharding
from expkit.training.evaluation import (
    EvalSet,
    Evaluation,
    evaluate,
    require_independence,
    score_of_rest,
)
from expkit.training.export import Exported, export_best, settle
from expkit.training.interface import Training
from expkit.training.prepared import Prepared, read_and_encode, steps_of
from expkit.training.train import train


def run(
    cfg: DictConfig,
    choices: Mapping[str, str],
    is_promising: IsPromising | None = None,
    typed: Sequence[str] = (),
) -> Outcome:
    """Train, evaluate, export and log one configuration that has been checked.

    `choices` has the option of each config group, `typed` what was typed; for `is_promising`, see Monitor.
    """
    hush()
    go_online_if_asked(cfg)
    config = plain(cfg)
    identity = identity_of(config)
    if cfg.resume == "auto" and (earlier := finished_before(cfg, digest_of_values(identity))):
        return earlier
    names, command = labels(config, choices), command_of(typed)
    name = cfg.run_name or run_name(config, choices, typed)
    with open_run(cfg.tracking, name, identity, cfg.resume, checkpoint.exists) as tracked:
        state = checkpoint.newest(tracked.folder) if tracked.goes_on else None
        begin(tracked, state, cfg.objective, names, command)
        if cfg.tracking.get("system_metrics"):
            tracked.watch_system()
        prepared = prepare_logged(cfg.copy(), tracked, identity, typed)
        train(cfg, prepared, tracked, state, is_promising)
        exported = export_best(cfg, prepared, tracked)
        results = score(prepared, exported, tracked)
        table = conclude(config, prepared, exported, results, tracked, names, command)
    checkpoint.remove(tracked.folder)
    remarks, has_model = prepared.task.remarks(), cfg.tracking.log_model
    show_summary(tracked, table, remarks, prepared.trained, exported, has_model)
    value = results[set_of(cfg.objective)].metrics[cfg.objective.partition("/")[2]]
    return Outcome("finished", tracked.id, value)


def begin(
    tracked: AnyRun,
    state: checkpoint.SavedState | None,
    objective: str,
    names: Mapping[str, str],
    command: str,
) -> None:
    """Start logging (after the entries that a checkpoint covers) and log what is known before any work."""
    tracked.start(state.memory["logged"] if state else 0, command)
    if state is None:
        # The UI's comparison of runs starts with the metric logged first, which should be the result.
        tracked.log({final_of(objective): math.nan})
    tracked.log_environment()
    for group in ("task", "model", "data"):
        tracked.tag(f"expkit.{group}", redacted(names[group]))


def prepare_logged(
    cfg: DictConfig, tracked: AnyRun, identity: Mapping[str, Any], typed: Sequence[str]
) -> Prepared:
    """Log the configuration, and the value that `precision=auto` stands for as soon as it is known.

    A run that goes on keeps the precision that it had before.
    """
    cfg.precision = tracked.kept("precision", cfg.precision)
    tracked.log_config(params_of(plain(cfg), typed), runnable(cfg))
    prepared = prepare(cfg)
    if cfg.precision == "auto":
        cfg.precision = prepared.training.precision
        tracked.keep_identity({**identity, "precision": cfg.precision})
        tracked.log_config(params_of(plain(cfg), typed), runnable(cfg))
    tracked.log_data(prepared.splits)
    tracked.log_inspection(prepared.report)
    return prepared


def prepare(cfg: DictConfig) -> Prepared:
    """Make the data, tokens, model, LoRA, optimizer, schedule and backend of a run."""
    precision.require(cfg.precision)
    splits, task, builder, tokenizer, model, encoded = read_and_encode(cfg)
    task.require_fitting_metrics(encoded["train"])
    report = inspected(task, splits.named(), encoded, tokenizer)
    for line in lines(report):
        say(line)
    collate = task.collator(tokenizer, model)
    if cfg.lora.target_modules:
        model = lora.apply(model, cfg.lora)
    sharding.to_device(model)
    steps = steps_of(cfg, encoded["train"], collate)
    chosen = auto_precision.settle(cfg.precision, auto_precision.Trial(model, task, steps))
    precision.choose_attention(model, chosen, task.max_length)
    trained = lora.trainable_parameters(model)
    total = sum(p.numel() for p in model.parameters())
    say(f"model: {type(model).__name__}, trains {trained:,} of {total:,} parameters in {chosen}")

    sharding.shard_if_asked(model, cfg.launch, chosen)
    optimizer = make(cfg, "optimizer", parameter_groups(model))
    scheduler = make(cfg, "scheduler", optimizer, total_steps=len(steps))
    training = Training(
        model, task, steps, optimizer, scheduler, chosen, cfg.train.max_grad_norm, cfg.seed
    )
    eval_sets = {
        name: EvalSet(split, encoded[name], tokenizer, collate, cfg.eval.batch_size)
        for name, split in splits.named().items()
        if name != "train"
    }
    require_independence(model, task, eval_sets["validation"])
    backend = make(cfg, "backend")
    gc.enable()  # see processes/attempt.py
    return Prepared(
        splits, task, builder, tokenizer, encoded, eval_sets, training, backend, trained, report
    )


def score(prepared: Prepared, exported: Exported, tracked: AnyRun) -> dict[str, Evaluation]:
    """Score the exported model in fp32, as anybody would load it, on all splits but `train`.

    The scores belong to no training step; they are logged at step 0 so that the UI draws them as bars.
    """
    results = {}
    for name, data in prepared.eval_sets.items():
        results[name] = evaluate(exported.model, prepared.task, data)
        if name == VALIDATION:
            settle(prepared.task, exported, results[name], data)
        folder, prefix = ("eval", FINAL) if name == VALIDATION else (name, f"{name}/")
        tracked.log({f"{prefix}{metric}": v for metric, v in results[name].metrics.items()})
        tracked.log_predictions(prepared.task, results[name].predictions, data, folder)
        seen = prepared.report[name]["in_train"]["positions"]
        if rest := score_of_rest(prepared.task, results[name], data, seen):
            tracked.log({f"{prefix[:-1]}.unseen/{metric}": v for metric, v in rest.items()})
            results[f"{name} without {len(seen)} in train"] = Evaluation(rest, [])
    return results


def conclude(
    config: Mapping[str, Any],
    prepared: Prepared,
    exported: Exported,
    results: Mapping[str, Evaluation],
    tracked: AnyRun,
    names: Mapping[str, str],
    command: str,
) -> Scores:
    """Log the baseline, the model, the description and the pictures; returns the table of scores."""
    baseline = prepared.task.baseline(prepared.splits, prepared.encoded)
    tracked.log({f"baseline/{name}": value for name, value in baseline.items()})
    table = score_table({s: result.metrics for s, result in results.items()}, baseline)
    if config["tracking"]["log_model"]:
        if is_main():
            card = card_of(tracked.id, config, prepared, exported, results, table, names, command)
            (exported.folder / CARD).write_text(card, encoding="utf-8")
        example = prepared.task.input_example(prepared.splits.validation)
        name = config["tracking"].get("register")
        tracked.log_model(exported.folder, prepared.task, example, name)
    remarks = prepared.task.remarks()
    tracked.describe(
        note_of_run(tracked.id, config, table, names, command, exported.folder, remarks)
    )
    tracked.draw()
    return table
