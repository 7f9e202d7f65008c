"""Where configurations err and disagree, from the tables of answers that their runs have logged."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sacrebleu import sentence_chrf
from scipy.stats import entropy

from expkit.metrics.pictures import label
from expkit.terminal.display import number

# Of each example the input, the true answer and that of a run; for each configuration and run.
Runs = Mapping[str, Sequence[Sequence[tuple[str, Any, Any]]]]
Table = tuple[str, int, list[str], list[list[str]]]  # caption, columns of text, header, rows


class Kind(NamedTuple):
    """How answers are judged: by the `score` that `of` computes from a true and a given one; and their labels."""

    score: str
    of: Callable[[Any, Any], float]
    labels: Callable[[Any], Sequence[str]] | None = None


WRONG = "share of wrong answers", (lambda true, given: float(true != given))
NUMBERS = Kind("absolute error", lambda true, given: np.nan if given is None else given - true)
# By the column with the true answers in the table that a task logs; the next column has the model's.
KINDS = {
    "label": Kind(*WRONG, lambda answer: [answer]),
    "labels": Kind(*WRONG, lambda answer: answer),
    # `PER: Ada; LOC: London`; a semicolon that is a word of an entity stands between two blanks.
    "entities": Kind(*WRONG, re.compile(r"(?:^|(?<! ); )([^ ]+): ").findall),
    # Popović 2015, https://aclanthology.org/W15-3049
    "reference": Kind("chrF", lambda true, given: sentence_chrf(given, true.split("\n")).score),
}


def tables(files: Mapping[str, Sequence[Sequence[Path | None]]]) -> tuple[str, list[Table]]:
    """Return scores by label and by length and disagreements, or no tables; and a sentence on them.

    Args:
        files: for each configuration and seed the table of its run, or those of the runs of its folds.
    """
    read = {name: [[_read(file) for file in of] for of in s] for name, s in files.items() if s}
    kinds = [kind for seeds in read.values() for of in seeds for kind, _ in of] or [None]
    kind = kinds[0]
    if kind is None or None in kinds:
        return "The runs have logged no inputs with true answers and those of the model.", []
    runs = {name: [[*chain(*(e for _, e in of))] for of in s] for name, s in read.items()}
    known = [e[:2] for e in next(iter(runs.values()))[0]]
    if any([e[:2] for e in run] != known for of_one in runs.values() for run in of_one):
        return "The runs have not answered the same examples.", []
    by_label: dict[str, list[int]] = {}
    for i, (_, true) in enumerate(known):
        for name in set(kind.labels(true)) if kind.labels else ():
            by_label.setdefault(name, []).append(i)
    lengths = np.array([len(asked) for asked, _ in known])
    quarters = np.searchsorted(np.quantile(lengths, [0.25, 0.5, 0.75]), lengths)
    groups = [np.flatnonzero(quarters == k) for k in np.unique(quarters)]
    by_length = {f"{lengths[i].min():,} to {lengths[i].max():,}": i for i in groups}
    return f"Of {len(known):,} examples the runs have logged the answers.", [
        _means(runs, kind, "label", dict(sorted(by_label.items()))),
        _means(runs, kind, "characters", by_length),
        _disagreements(runs, kind),
    ]


def _read(file: Path | None) -> tuple[Kind | None, list[tuple[str, Any, Any]]]:
    table = json.loads(file.read_text(encoding="utf-8")) if file else {"columns": []}
    for at, (true, given) in enumerate(pairwise(table["columns"])):
        if at and true in KINDS and given in ("predicted", "prediction") and table["data"]:
            rows = [(" | ".join(map(str, r[:at])), r[at], r[at + 1]) for r in table["data"]]
            return NUMBERS if isinstance(rows[0][1], int | float) else KINDS[true], rows
    return None, []


def _means(runs: Runs, kind: Kind, what: str, groups: Mapping[str, Any]) -> Table:
    """Return the mean score of each configuration on groups of examples."""
    scores = [np.abs([[kind.of(*e[1:]) for e in run] for run in of]) for of in runs.values()]
    rows = [
        [name, f"{len(group):,}", *(number(float(of[:, group].mean())) for of in scores)]
        for name, group in groups.items()
    ]
    return f"Mean {kind.score} by {what}", 1, [what, "examples", *runs], rows


def _disagreements(runs: Runs, kind: Kind) -> Table:
    """Return the 20 examples on which the runs disagree most, and how many runs of each configuration said what."""
    examples = list(zip(*chain(*runs.values()), strict=True))
    if kind.labels:
        measure = "entropy of the answers, in bits"
        counts = [[*Counter(str(e[2]) for e in of).values()] for of in examples]
        spreads = np.array([entropy(count, base=2) for count in counts])
    else:
        measure = f"standard deviation of {'the answers' if kind is NUMBERS else kind.score}"
        spreads = np.std([[kind.of(*e[1:]) for e in of] for of in examples], axis=1)
    rows = []
    for i in [i for i in np.argsort(-spreads, kind="stable")[:20] if spreads[i] > 1e-9]:
        said = [Counter(_shown(run[i][2]) for run in of).most_common() for of in runs.values()]
        cells = ["; ".join(f"{t} ({n} ×)" if n > 1 else t for t, n in of) for of in said]
        rows.append([*map(_shown, examples[i][0][:2]), *cells, number(float(spreads[i]))])
    caption = f"Examples on which the runs disagree most, by the {measure}"
    return caption, 2 + len(runs), ["input", "true", *runs, "disagreement"], rows


def _shown(answer: Any) -> str:
    text = ", ".join(answer) if isinstance(answer, list) else str(answer)
    return number(answer) if isinstance(answer, float) else label(text, 300) or "(nothing)"
