"""What the data hold, and what in them is probably a mistake.

Two inputs are equal if the JSON of what the model is asked is equal; a digest of 64 bits stands for it.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.data.similar import LEAST_SIMILARITY, first_similar
from expkit.data.splits import Split, digest_of_value

if TYPE_CHECKING:
    from expkit.tasks.interface import Task

SHOWN = 5  # cases of a finding, and labels
PERCENTILES = {"median": 50, "95 %": 95, "99 %": 99, "longest": 100}
FINDINGS = {
    "empty": "empty or blank inputs",
    "repeated": "inputs that repeat an earlier one",
    "ambiguous": "inputs with several answers",
    "in_train": "inputs that stand in train",
    "almost_in_train": f"inputs that almost stand in train (similarity {LEAST_SIMILARITY} or more)",
}
OF_ONE_ANSWER = ("repeated", "ambiguous")  # a sentence may be said twice, and have two translations


def inspected(
    task: "Task",
    splits: Mapping[str, Split],
    encoded: Mapping[str, Dataset],
    tokenizer: Tokenizer,
    full: bool = False,
) -> dict[str, Any]:
    """A report on each split, which JSON can hold; docs/data.md describes it.

    Args:
        splits: one of them is `train`.
        full: also look for near duplicates, and let the task describe the splits; both take longer.
    """
    report: dict[str, Any] = {}
    keys = {
        n: np.fromiter(map(digest_of_value, task.asked(s)), np.uint64) for n, s in splits.items()
    }
    train = splits["train"]
    for name, split in splits.items():
        gold, labels, answers = task.gold(split), Counter[str](), array("Q")
        answer = None
        for of_record, answer in gold or ():
            labels.update(of_record)
            answers.append(digest_of_value(answer))
        repeated, ambiguous = _repeated(keys[name], np.asarray(answers or keys[name]))
        blank = [i for i, asked in enumerate(task.asked(split)) if _is_blank(asked)]
        found: dict[str, Any] = {
            "examples": len(split),
            "labels": None if gold is None else dict(labels.most_common()),
            "one_answer": bool(labels) or isinstance(answer, float),
            "tokens": _lengths(encoded[name]["length"][:], task.max_length),
            "unknown_tokens": _unknown(encoded[name], tokenizer),
            "described": task.describe_split(split, tokenizer) if full else {},
            "empty": _finding(blank, split),
            "repeated": _finding(repeated, split, split),
            "ambiguous": _finding(ambiguous, split, split),
        }
        report[name] = found
        if name == "train":
            continue
        shared = _shared(keys[name], keys["train"]).tolist()
        found["in_train"] = _finding(shared, split, train)
        found["in_train"]["positions"] = [] if gold is None else [i for i, _ in shared]
        if full:
            known = {*blank, *(i for i, _ in shared)}
            texts = {i: _text(x) for i, x in enumerate(task.asked(split)) if i not in known}
            near = first_similar(texts, map(_text, task.asked(train)))
            found["almost_in_train"] = _finding(sorted(near.items()), split, train)
    _note_lacking(report)
    return report


def _note_lacking(report: Mapping[str, Any]) -> None:
    """Add to each split the labels that only other splits have."""
    everywhere = dict.fromkeys(
        label for found in report.values() for label in found["labels"] or ()
    )
    for found in report.values():
        found["lacks"] = [label for label in everywhere if label not in found["labels"]]


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """One line for each split, and then one for each finding that is probably a mistake."""
    for name, found in report.items():
        tokens, labels = found["tokens"], found["labels"]
        parts = [f"labels {shares(labels)}"] if labels else []
        parts.append("tokens " + ", ".join(f"{key} {tokens[key]}" for key in PERCENTILES))
        if labels is not None and tokens["at_limit"]:
            parts.append(f"{tokens['at_limit']} inputs reach the limit of {tokens['limit']}")
        if found["unknown_tokens"]:
            parts.append(f"{found['unknown_tokens']:.2%} unknown")
        yield f"{name}: {'; '.join(parts)}"
    for name, found in report.items():
        for key in FINDINGS if found["labels"] is not None else ():
            cases = found.get(key, {}).get("cases")
            if cases and (found["one_answer"] or key not in OF_ONE_ANSWER):
                count = f"{found[key]['count']} of {found['examples']}"
                yield f"WARNING: {name}: {FINDINGS[key]}: {count}, first {cases[0]}"
        if found["lacks"]:
            yield f"WARNING: {name}: no example has the label {_few(found['lacks'])}"


def shares(labels: Mapping[str, int]) -> str:
    """The most frequent labels with their shares, such as `1 (67%), 0 (33%)`."""
    return _few([f"{label:.40} ({n / sum(labels.values()):.0%})" for label, n in labels.items()])


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _is_blank(asked: Any) -> bool:
    """Whether a text, or one of several columns, has nothing but blanks."""
    return not all(_text(x).strip() for x in (asked if isinstance(asked, tuple) else [asked]))


def _text(asked: Any) -> str:
    return " ".join(map(_text, asked)) if isinstance(asked, list | tuple) else str(asked)


def _shared(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pairs (n, 2): the position of each key that is among the others, and the first position there."""
    known, first = np.unique(others, return_index=True)
    at = np.searchsorted(known, keys) % len(known)
    shared = np.flatnonzero(known[at] == keys)
    return np.stack([shared, first[at[shared]]], axis=1)


def _repeated(keys: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A pair for each input that stands before, and one for each input that has several answers."""
    pairs = _shared(keys, keys)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    differing = pairs[answers[pairs[:, 0]] != answers[pairs[:, 1]]]
    return pairs, differing[np.unique(differing[:, 1], return_index=True)[1]]


def _finding(found: Any, split: Split, other: Split | None = None) -> dict[str, Any]:
    """The number of positions or pairs of them, and the first ones, such as `a.csv, line 3 (b.csv, line 9)`."""
    cases = [
        f"{split.where(case[0])} ({other.where(case[1])})" if other else split.where(case)
        for case in np.asarray(found[:SHOWN]).tolist()
    ]
    return {"count": len(found), "cases": cases}


def _lengths(lengths: Sequence[int], limit: int) -> dict[str, int]:
    """Percentiles of the model inputs after they were cut."""
    found = np.percentile(lengths, list(PERCENTILES.values()), method="inverted_cdf").tolist()
    at_limit = sum(length >= limit for length in lengths)
    return {**dict(zip(PERCENTILES, found, strict=True)), "limit": limit, "at_limit": at_limit}


def _unknown(encoded: Dataset, tokenizer: Tokenizer) -> float | None:
    """The share of unknown tokens, special tokens aside; None if the tokenizer knows everything."""
    unknown = tokenizer.unk_token_id
    if unknown is None or "input_ids" not in encoded.column_names:
        return None
    found = count = 0
    for chunk in encoded.data.column("input_ids").chunks:
        ids = chunk.flatten().to_numpy(zero_copy_only=False)
        found += int((ids == unknown).sum())
        count += int((~np.isin(ids, tokenizer.all_special_ids) | (ids == unknown)).sum())
    return found / count if count else 0.0
