"""One run, top to bottom."""

import gc
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed  # that of transformers takes PEFT along, 0.2 s
from datasets import Dataset
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from expkit.config.components import make, make_task
from expkit.config.direction import direction_of
from expkit.config.fingerprint import digest_of, digest_of_facts, facts
from expkit.config.naming import labels, run_name
from expkit.config.project import conf_dir
from expkit.data.cache import cached, digest_of_tokenizer
from expkit.data.splits import Splits, Texts
from expkit.data.steps import Collate, Steps
from expkit.metrics.result import FINAL, final_of, result_of
from expkit.models import lora
from expkit.models.fit import fit, require_positions
from expkit.models.hub import go_online_if_asked
from expkit.optim import parameter_groups
from expkit.processes import group as processes
from expkit.processes import ranks
from expkit.processes.interrupts import stops_after_step
from expkit.processes.shortage import is_out_of_memory, out_of_disk
from expkit.tasks.interface import Task
from expkit.terminal.display import Progress, say
from expkit.terminal.errors import Pruned, UserError
from expkit.terminal.quiet import hush
from expkit.terminal.secrets import hidden, without_password
from expkit.tracking.note import command_of, note_of_run, score_table
from expkit.tracking.params import params_of
from expkit.tracking.run import AnyRun, environment, finished_before, open_run
from expkit.tracking.summary import show_summary
from expkit.training import auto_precision, checkpoint, precision
from expkit.training.evaluation import EvalSet, Evaluation, evaluate, require_independence
from expkit.training.export import PROBED_EXAMPLES, Exported, export, require_served
from expkit.training.interface import Backend, Training
from expkit.training.monitor import Monitor
from expkit.training.sharding import is_sharded, shard


@dataclass(frozen=True)
class Prepared:
    """All components of a run, ready for the first step."""

    splits: Splits
    task: Task
    builder: Any
    tokenizer: PreTrainedTokenizerBase
    encoded: dict[str, Dataset]
    eval_sets: dict[str, EvalSet]
    training: Training
    backend: Backend


IsPromising = Callable[[float, float], bool]


def run(
    cfg: DictConfig,
    choices: Mapping[str, str],
    is_promising: IsPromising | None = None,
    typed: Sequence[str] = (),
) -> float:
    """Train, evaluate, export and log one configuration that has been checked.

    Args:
        cfg: the composed configuration.
        choices: the option taken in each config group, for the name of the run.
        is_promising: asked after each evaluation whether to go on; see Monitor.
        typed: overrides of the command line, which the run shows before all other parameters.

    Returns:
        The objective, scored by the exported model of the best checkpoint.
    """
    hush()
    go_online_if_asked(cfg)
    config = _plain(cfg)
    identity = facts(config)
    name = cfg.run_name or run_name(config, choices, typed)
    if cfg.resume == "auto":
        digest = digest_of_facts(identity)
        if past := processes.from_main(lambda: finished_before(cfg.tracking, digest)):
            say(f"finished before: run {past.info.run_name} ({past.info.run_id}), so not run again")
            found = result_of(past.data.metrics, cfg.objective)
            return math.nan if found is None else found
    opened = open_run(cfg.tracking, name, identity, resume=cfg.resume, can_go_on=checkpoint.exists)
    with opened as tracked, processes.failures_told(tracked.folder), explained(tracked):
        say(f"run {tracked.name} ({tracked.id})")
        state = None
        if tracked.goes_on:
            state = processes.from_main(lambda: checkpoint.newest(tracked.folder))
        command = command_of(typed)
        tracked.start(state.memory["logged"] if state else 0, command)
        if state is None:
            # The UI's comparison of runs starts with the metric that came first: let it be the result.
            tracked.log({final_of(cfg.objective): math.nan})
        if ranks.is_main():  # it asks git, and one of several processes logs it
            tracked.log_environment(environment())
        names = labels(config, choices)
        for group in ("task", "model", "data"):
            tracked.tag(f"expkit.{group}", hidden(names[group]))
        prepared = prepare_logged(cfg.copy(), tracked, identity, typed)
        tracked.log_data(prepared.splits.named())
        trained = lora.trainable_parameters(prepared.training.model)
        train(cfg, prepared, tracked, state, is_promising)
        if cfg.lora.target_modules:
            tracked.log({"lora/trainable_parameters": trained})
        exported = export_best(cfg, prepared, tracked)
        results = score(prepared, exported, tracked)
        baseline = prepared.task.baseline(prepared.splits, prepared.encoded)
        tracked.log({f"baseline/{name}": value for name, value in baseline.items()})
        if cfg.tracking.log_model:
            example = prepared.task.input_example(prepared.splits.validation)
            tracked.log_model(exported.folder, prepared.task.pipeline, example)
        scores = score_table({s: result.metrics for s, result in results.items()}, baseline)
        tracked.describe(note_of_run(tracked.id, config, scores, names, command, exported.folder))
        tracked.draw()
    if ranks.is_main():
        checkpoint.remove(tracked.folder)
        show_summary(tracked.name, tracked.id, scores, trained, exported)
    return results["validation"].metrics[cfg.objective.removeprefix("eval/")]


@contextmanager
def explained(tracked: AnyRun) -> Iterator[None]:
    """Say what to do after an interruption, and when the machine was too small."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"stopped; resume=auto or resume={tracked.id} with the same command goes on")
        raise
    except (OSError, SafetensorError, RuntimeError, MemoryError) as error:
        hint = "; the last checkpoint is whole: resume=auto goes on from there"
        again = hint if checkpoint.exists(tracked.folder) else ""
        if why := out_of_disk(error):
            raise UserError(f"{why} ({tracked.folder}){again}") from error
        if is_out_of_memory(error):
            raise UserError(
                "out of memory; try a smaller train.batch_size with more train.accumulation, a "
                f"smaller eval.batch_size, or shorter inputs (task.max_length){again}"
            ) from error
        raise


def prepare_logged(
    cfg: DictConfig, tracked: AnyRun, identity: Mapping[str, Any], typed: Sequence[str]
) -> Prepared:
    """Log the configuration, and the value that `precision=auto` stands for as soon as it is known.

    A run that goes on takes the precision that it has taken before.
    """
    cfg.precision = processes.from_main(lambda: tracked.fact("precision", cfg.precision))
    tracked.log_config(params_of(_plain(cfg), typed), _runnable(cfg))
    prepared = prepare(cfg)
    if cfg.precision == "auto":
        cfg.precision = prepared.training.precision
        tracked.keep_facts({**identity, "precision": cfg.precision})
        tracked.log_config(params_of(_plain(cfg), typed), _runnable(cfg))
    return prepared


def prepare(cfg: DictConfig) -> Prepared:
    """Data, tokens, model, LoRA, optimizer, schedule."""
    precision.require(cfg.precision)
    splits: Splits = make(cfg, "data")
    say(f"data: {', '.join(f'{len(s)} {name}' for name, s in splits.named().items())}")
    task = make_task(cfg)
    if not isinstance(task, Task):
        raise UserError(
            f"task._target_={cfg.task._target_}: is no task; a class of your own inherits from "
            "expkit.tasks.interface.Task (docs/add-a-task.md)"
        )
    task.setup(splits)
    if cfg.tracking.log_model:
        require_served(task)

    builder = make(cfg, "model")
    texts = Texts(partial(task.texts, splits.train), digest_of_facts(read_by(cfg, task, splits)))
    tokenizer = builder.tokenizer(texts)
    tokenizer.model_max_length = task.max_length  # saved with it: whoever loads it cuts as we do

    model = build_base(cfg, task, builder, tokenizer)
    length_key = "task.block_size" if "block_size" in cfg.task else "task.max_length"
    require_positions(model, task.max_length, length_key)
    encoded = encode(cfg, splits, task, tokenizer, model.config)
    collate = task.collator(tokenizer, model)
    if cfg.lora.target_modules:
        model = lora.apply(model, cfg.lora)
    model.to(processes.device())
    steps = steps_of(cfg, encoded["train"], collate)
    chosen = auto_precision.settle(cfg.precision, auto_precision.Trial(model, task, steps))
    precision.choose_attention(model, chosen, task.max_length)
    say(
        f"model: {type(model).__name__}, trains {lora.trainable_parameters(model):,} of "
        f"{sum(p.numel() for p in model.parameters()):,} parameters in {chosen}"
    )

    if cfg.launch.fsdp:
        if chosen == "fp16":
            raise UserError("launch.fsdp=true: cannot train in fp16; allowed: bf16, fp32, tf32")
        if ranks.count() > 1:
            shard(model)
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
    backend: Backend = make(cfg, "backend")
    gc.enable()  # see sweeps/job.py
    return Prepared(splits, task, builder, tokenizer, encoded, eval_sets, training, backend)


def steps_of(cfg: DictConfig, encoded: Dataset, collate: Collate) -> Steps:
    """What this process trains on."""
    return Steps(
        encoded,
        encoded["length"][:],
        collate,
        batch_size=cfg.train.batch_size,
        accumulation=cfg.train.accumulation * cfg.launch.processes,
        epochs=cfg.train.epochs,
        max_steps=cfg.train.max_steps,
        group_by_length=cfg.train.group_by_length,
        seed=cfg.seed,
        process=(ranks.rank(), ranks.count()),
    )


def encode(
    cfg: DictConfig,
    splits: Splits,
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    config: PretrainedConfig,
) -> dict[str, Dataset]:
    """The model inputs of each split, out of the cache where they have been made before."""
    facts = {
        **read_by(cfg, task, splits),
        "tokenizer": digest_of_tokenizer(tokenizer),
        "model": config.model_type,
    }
    with processes.main_first():
        return {
            name: cached(
                {**facts, "split": split.digest}, partial(task.encode, split, tokenizer, config)
            )
            for name, split in splits.named().items()
        }


def read_by(cfg: DictConfig, task: Task, splits: Splits) -> dict[str, Any]:
    """What decides which texts and labels the task finds in records."""
    settings = OmegaConf.to_container(cfg.task, resolve=True)
    assert isinstance(settings, dict)
    source = inspect.getsourcefile(type(task))
    return {
        "task": {key: value for key, value in settings.items() if key != "metrics"},
        "source": digest_of(Path(source)) if source else "",
        "train": splits.train.digest,  # labels are found there
    }


def build_base(
    cfg: DictConfig, task: Task, builder: Any, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """The model before training; random weights are the same ones at each call."""
    set_seed(cfg.seed)
    head = task.head()
    model = builder.build(head, tokenizer)
    fit(model, tokenizer)
    if head.configure:
        head.configure(model, tokenizer)
    return model


def train(
    cfg: DictConfig,
    prepared: Prepared,
    tracked: AnyRun,
    state: checkpoint.Checkpoint | None,
    is_promising: IsPromising | None = None,
) -> Monitor:
    """Fit, from a checkpoint if there is one, and leave the best weights in the model."""
    training = prepared.training
    tracked.tag("precision", training.precision)
    validation = prepared.eval_sets["validation"]

    def keep(done: int) -> None:
        memory = {"monitor": monitor.memory(), "logged": tracked.position()}
        checkpoint.save(training, done, memory, tracked.folder, cfg.checkpoint.keep)

    with Progress(len(training.steps)) as progress, stops_after_step() as must_stop:
        monitor = Monitor(
            training.model,
            training.steps,
            lambda: evaluate(training.model, prepared.task, validation, training.precision),
            tracked.log,
            progress,
            objective=cfg.objective,
            direction=direction_of(_plain(cfg)),
            eval_every=cfg.train.eval_every,
            log_every=cfg.train.log_every,
            patience=cfg.train.patience,
            best_file=tracked.folder / checkpoint.BEST,
            keep=keep,
            keep_every=cfg.checkpoint.every_steps,
            must_stop=lambda: processes.any_of(must_stop() or bool(tracked.is_deleted())),
            is_promising=lambda share, value: (
                is_promising is None or processes.from_main(lambda: is_promising(share, value))
            ),
        )
        if state:
            checkpoint.restore(training, state)
            if ranks.is_main():
                checkpoint.restore_best(state, tracked.folder)
            monitor.recall(state.done, state.memory["monitor"])
            training = replace(training, start=state.done)
            say(f"goes on after step {state.done} of {len(training.steps)}")
        try:
            if not state and cfg.train.eval_on_start:
                monitor.on_start()
            if not monitor.is_over:
                with precision.matmul(training.precision):
                    prepared.backend.fit(training, monitor.on_step)
        except KeyboardInterrupt:
            if not tracked.is_deleted():
                raise
            raise UserError(
                f"training has stopped because the run was deleted in MLflow; {tracked.folder} keeps "
                f"its checkpoint, and when the run is restored, resume={tracked.id} goes on"
            ) from None
        except Pruned:
            if ranks.is_main():
                checkpoint.remove(tracked.folder)  # nobody goes on with it
            raise
        if processes.any_of(must_stop()):
            raise KeyboardInterrupt
    monitor.restore_best()
    return monitor


def export_best(cfg: DictConfig, prepared: Prepared, tracked: AnyRun) -> Exported:
    """Save adapter and merged model, and prove that they are what was trained."""
    if not ranks.is_main():
        processes.barrier()
        return Exported.load(prepared.task, tracked.folder, processes.device())
    model = prepared.training.model
    if is_sharded(model):
        model = build_base(cfg, prepared.task, prepared.builder, prepared.tokenizer)
        if cfg.lora.target_modules:
            model = lora.apply(model, cfg.lora)
        model.to(processes.device())
        checkpoint.load_weights(model, tracked.folder / checkpoint.BEST)
    validation = prepared.eval_sets["validation"]
    probe = validation.batch(list(range(min(PROBED_EXAMPLES, len(validation.encoded)))))
    exported = export(
        model,
        lambda: build_base(cfg, prepared.task, prepared.builder, prepared.tokenizer),
        prepared.tokenizer,
        prepared.task,
        probe,
        tracked.folder,
    )
    if exported.adapter is not None:
        tracked.log({"lora/merge_max_abs_diff": exported.max_abs_diff})
        tracked.log_folder(exported.adapter, "adapter")
    processes.barrier()
    return exported


def score(prepared: Prepared, exported: Exported, tracked: AnyRun) -> dict[str, Evaluation]:
    """Score the exported model in fp32, as anybody would load it, on all splits but `train`.

    The scores are those of no step: at step 0 the UI draws them as bars.
    """
    results = {}
    for name, data in prepared.eval_sets.items():
        results[name] = evaluate(exported.model, prepared.task, data)
        folder, prefix = ("eval", FINAL) if name == "validation" else (name, f"{name}/")
        tracked.log({f"{prefix}{metric}": v for metric, v in results[name].metrics.items()})
        if not ranks.is_main():
            continue
        report = prepared.task.report(results[name].predictions, data.split, data.encoded)
        tracked.log_report(report, folder)
        if made := prepared.task.outcomes(results[name].predictions, data.split, data.encoded):
            tracked.log_outcomes(made, folder)
    return results


def _plain(cfg: DictConfig) -> dict[str, Any]:
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    if cfg.tracking.uri:
        config["tracking"]["uri"] = without_password(cfg.tracking.uri)
    return {str(key): value for key, value in config.items()}


def _runnable(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config with Hydra's own settings, so that it runs again as a file."""
    settings = OmegaConf.load(conf_dir() / "config.yaml")
    defaults: Any = OmegaConf.to_container(settings.defaults)
    ours = [
        d for d in defaults if d == "sweeper" or str(next(iter(d))).startswith("override hydra/")
    ]
    return {
        "defaults": ["_self_", *ours],
        **_plain(cfg),
        "resume": "never",
        "hydra": OmegaConf.to_container(settings.hydra, resolve=False),
    }
