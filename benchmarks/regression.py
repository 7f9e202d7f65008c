"""Regression on texts: expkit beside the usual script with Trainer, with the same settings and several seeds.

python -m benchmarks.regression TRAIN.jsonl VALIDATION.jsonl FURTHER.jsonl
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from datasets import load_dataset
from peft import LoraConfig, TaskType, get_peft_model
from scipy.stats import pearsonr
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from benchmarks import material

SEEDS, EPOCHS, RATE, BATCH = (1, 2, 3), 2, 1e-3, 16
ADAPTED = ["query", "key", "value", "attention.output.dense"]
DRAWS = 1000


def main(train: str, validation: str, further: str) -> None:
    """Print Pearson's correlation of both for each seed, and the difference with its interval."""
    lines = Path(validation).read_text(encoding="utf-8").splitlines()
    true = np.array([json.loads(line)["score"] for line in lines])
    with tempfile.TemporaryDirectory(prefix="expkit-bench-") as folder:
        predicted = {
            "expkit": np.array(list(expkit(train, validation, further, Path(folder)))),
            "Trainer": np.array([reference(train, validation, folder, s) for s in SEEDS]),
        }
    means = {}
    for name, rows in predicted.items():
        scores = [pearsonr(row, true).statistic for row in rows]
        means[name] = np.mean(scores)
        print(f"{name}: pearson {', '.join(f'{s:.4f}' for s in scores)}; mean {means[name]:.4f}")
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(DRAWS):
        examples = rng.integers(0, len(true), len(true))
        seeds = rng.integers(0, len(SEEDS), len(SEEDS))
        ours, theirs = (
            np.mean([pearsonr(rows[s][examples], true[examples]).statistic for s in seeds])
            for rows in predicted.values()
        )
        differences.append(ours - theirs)
    low, high = np.percentile(differences, (2.5, 97.5))
    difference = means["expkit"] - means["Trainer"]
    print(
        f"difference {difference:+.4f}, 95 % of draws of examples and seeds [{low:+.4f}, {high:+.4f}]"
    )


def expkit(train: str, validation: str, further: str, folder: Path) -> list[list[float]]:
    """A sweep over the seeds; returns the predictions of each exported model on the validation split."""
    from mlflow import MlflowClient

    from expkit.metrics.outcomes import FILE, read

    store = f"sqlite:///{folder}/mlflow.db"
    options = [
        *("task=text_regression", "data=files", f"data.train_file={train}"),
        *(f"data.validation_file={validation}", f"data.eval_files={{amazon: {further}}}"),
        *(f"train.epochs={EPOCHS}", f"train.batch_size={BATCH}", f"optimizer.lr={RATE}"),
        *("precision=fp32", f"tracking.uri={store}", "tracking.log_model=false"),
    ]
    for seed in SEEDS:
        command = [sys.executable, "-m", "expkit", *options, f"seed={seed}"]
        subprocess.run(command, check=True, stdout=sys.stderr)
    client = MlflowClient(store)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    runs.sort(key=lambda run: run.data.params["seed"])
    for run in runs:
        further_set = run.data.metrics["amazon/pearson"]
        print(f"seed {run.data.params['seed']}: final/pearson {run.data.metrics['final/pearson']:.4f}, amazon/pearson {further_set:.4f}")  # fmt: skip
    files = (client.download_artifacts(run.info.run_id, f"eval/{FILE}") for run in runs)
    return [list(read(Path(file))[0].predictions) for file in files]


def reference(train: str, validation: str, folder: str, seed: int) -> list[float]:
    """The usual script with `problem_type="regression"`, LoRA by peft and dynamic padding."""
    tokenizer = AutoTokenizer.from_pretrained(material.MINILM)
    names = {"train": train, "validation": validation}
    data = load_dataset("json", data_files=names, cache_dir=folder)
    data = data.map(
        lambda rows: tokenizer(rows["text"], truncation=True, max_length=128), batched=True
    )
    data = data.map(lambda row: {"labels": float(row["score"])})
    torch.manual_seed(seed)
    settings = {"num_labels": 1, "problem_type": "regression"}
    model = AutoModelForSequenceClassification.from_pretrained(
        material.MINILM, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **settings
    )
    lora = LoraConfig(
        TaskType.SEQ_CLS,
        r=16,
        lora_alpha=32,
        target_modules=ADAPTED,
        modules_to_save=["classifier", "pooler"],
    )
    arguments = TrainingArguments(
        folder,
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=64,
        learning_rate=RATE,
        weight_decay=0.01,
        warmup_steps=0.06,
        seed=seed,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    collator = DataCollatorWithPadding(tokenizer)
    trainer = Trainer(get_peft_model(model, lora), arguments, collator, train_dataset=data["train"])
    trainer.train()
    made = trainer.predict(data["validation"]).predictions
    return list(made.reshape(-1).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])
