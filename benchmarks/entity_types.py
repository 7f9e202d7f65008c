"""expkit, and TF-IDF with one-vs-rest logistic regression, on files of texts and labels, scored by the same metrics.

python -m benchmarks.entity_types TRAIN.jsonl VALIDATION.jsonl
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer

from expkit.data.files import read
from expkit.metrics.multilabel import MeanAveragePrecision, MultiLabel

SHOWN = ("f1_micro", "f1_macro", "subset_accuracy", "map")


def main(train: str, validation: str) -> None:
    """Print expkit's scores, and those for weak and strong regularisation, with and without balanced classes."""
    print("expkit", *(f"{n} {score:.4f}" for n, score in expkit(train, validation).items()))
    (texts, labels), (asked, true) = (
        (split.column("text"), split.column("labels"))
        for split in (read(Path(name)) for name in (train, validation))
    )
    binary = MultiLabelBinarizer().fit(labels)
    for strength in (1, 10, 100):
        for weights in (None, "balanced"):
            rule = LogisticRegression(C=strength, class_weight=weights, max_iter=2000)
            model = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(rule))
            probabilities = model.fit(texts, binary.transform(labels)).predict_proba(asked)
            given = {"references": binary.transform(true).tolist()}
            decided = (probabilities >= 0.5).astype(int).tolist()
            names = list(binary.classes_)
            scores = MultiLabel().compute(predictions=decided, label_names=names, **given)
            scores |= MeanAveragePrecision().compute(predictions=probabilities.tolist(), **given)
            print(f"C={strength} class_weight={weights}", *(f"{n} {scores[n]:.4f}" for n in SHOWN))


def expkit(train: str, validation: str) -> dict[str, float]:
    """The final scores of a run of four epochs."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(prefix="expkit-bench-") as folder:
        store = f"sqlite:///{folder}/mlflow.db"
        options = [
            *("task=multilabel_classification", "data=files", f"data.train_file={train}"),
            *(f"data.validation_file={validation}", "task.text_columns=[text]"),
            *("task.label_column=labels", "train.epochs=4", "precision=fp32", "seed=1"),
            *(f"tracking.uri={store}", "tracking.log_model=false"),
        ]
        subprocess.run([sys.executable, "-m", "expkit", *options], check=True, stdout=sys.stderr)
        client = MlflowClient(store)
        (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
        return {name: run.data.metrics[f"final/{name}"] for name in SHOWN}


if __name__ == "__main__":
    main(*sys.argv[1:])
