"""TF-IDF with one-vs-rest logistic regression on files of texts and labels, scored by expkit's own metrics.

python -m benchmarks.entity_types TRAIN.jsonl VALIDATION.jsonl
"""

import sys
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer

from expkit.data.files import read
from expkit.metrics.multilabel import MeanAveragePrecision, MultiLabel


def main(train: str, validation: str) -> None:
    """Print the scores for weak and strong regularisation, with and without balanced classes."""
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
            shown = ("f1_micro", "f1_macro", "subset_accuracy", "map")
            print(f"C={strength} class_weight={weights}", *(f"{n} {scores[n]:.4f}" for n in shown))


if __name__ == "__main__":
    main(*sys.argv[1:])
