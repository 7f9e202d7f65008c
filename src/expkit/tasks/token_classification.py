"""A tag for each word of a sentence: named entities."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal

import evaluate
import numpy as np
import torch
from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedModel

from expkit.answering import tags
from expkit.answering.decoding import decoded, outside
from expkit.answering.located_words import located
from expkit.answering.windows import Window, windows
from expkit.config.constraints import at_least
from expkit.data.splits import CHUNK, Columns, Record, Split, Splits
from expkit.data.steps import Batch, Collate, Example
from expkit.metrics.local import CONFIDENCES
from expkit.metrics.outcomes import Report
from expkit.models.head import Head
from expkit.tasks.confusion import draw_confusion
from expkit.tasks.interface import IGNORED, Scores, Seen, Tokenizer, naming
from expkit.tasks.reliability import reliability
from expkit.tasks.tagging.pretokenized import take_words
from expkit.tasks.tagging.tagged_columns import TaggedColumns, Tags
from expkit.tasks.weights import ClassWeights, CrossEntropyTask, Smoothing, weights_of
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, UserError


class TokenClassification(CrossEntropyTask):
    """One tag for each word, learned and predicted at its first sub-word.

    A sentence that is longer than `max_length` is cut into overlapping windows; each word is
    trained on and scored in one of them. A word that tokenises to nothing counts as `O`.

    Args:
        tokens_column: the words of a sentence, a list of texts.
        tags_column: a tag for each word in a scheme of `tags.py`, or the ids of such tags.
        labels: names of the tags in the order of their ids; None: those that the data give to ids, else
            the tags that occur in the training data.
        label_all_tokens: train on all sub-words of a word; it is still scored by the first.
        max_length: in tokens.
        stride: tokens that two windows of a sentence share, at most half of `max_length`.
        metrics: `evaluate.Metric` objects on lists of BIO tags.
        class_weights, label_smoothing: see `CrossEntropyTask`; the labels are the tags, counted by word. A tag
            that no word of the training split has counts 1.
        decoding: "argmax" takes the most probable tag of each word, "valid" the most probable sequence of
            tags for a sentence in which no I- begins an entity.
    """

    short_name = "ner"  # in names of runs
    pipeline = "token-classification"
    has_several_rows = True

    def __init__(
        self,
        tokens_column: str,
        tags_column: str,
        labels: Sequence[str] | None,
        label_all_tokens: bool,
        max_length: Annotated[int, at_least(8)],
        stride: Annotated[int, at_least(0)],
        metrics: Mapping[str, evaluate.Metric],
        class_weights: ClassWeights = None,
        label_smoothing: Smoothing = 0.0,
        decoding: Literal["argmax", "valid"] = "argmax",
    ) -> None:
        if 2 * stride > max_length:
            raise UserError(
                f"task.stride={stride}: must be at most half of task.max_length={max_length}"
            )
        super().__init__([tokens_column], max_length, metrics, label_smoothing, class_weights)
        self.serving = {"max_length": max_length, "stride": stride, "decoding": decoding}
        self._tags_column = tags_column
        self._data = TaggedColumns(tokens_column, tags_column, labels or ())
        self._label_all_tokens = label_all_tokens
        self._stride = stride
        self._decoding = decoding
        self._labels: list[str] = []
        self._adopted: list[str] = []
        self._scheme = ""

    def setup(self, splits: Splits) -> None:
        """Check words and tags, find the types of entities and the scheme of the tags."""
        for split in splits.named().values():
            self._data.require(split)
        types = () if self._adopted else self._data.types(splits.train)
        found = [tags.OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI")]
        self._labels = self._adopted or found
        for split in splits.named().values():
            self._data.require_types(split, self._labels)
        reading, self._scheme = self._data.reading(splits)
        if reading.rewritten:
            say(f"{self._tags_column}: {self._scheme}")
        self._weights = weights_of(
            self._asked_weights,
            self._labels,
            lambda: Counter(chain.from_iterable(self._data.bio(splits.train))),
            splits.train.source,
        )

    def adopt(self, config: PretrainedConfig) -> None:
        """The tags. Ids in the data are others, because the model numbers its tags by itself."""
        super().adopt(config)
        self._adopted = [config.id2label[i] for i in range(config.num_labels)]

    def gold(self, split: Split) -> Iterator[tuple[list[str], Tags]]:
        """The types of the entities, and the tags."""
        for sentence in self._data.bio(split):
            yield [entity.type for entity in tags.entities(sentence)], sentence

    def head(self) -> Head:
        """Token classification with the names of the tags in the model's config."""
        return Head(
            "AutoModelForTokenClassification",
            naming(self._labels),
            configure=lambda model, tokenizer: take_words(tokenizer),
        )

    def texts(self, split: Split) -> Iterator[str]:
        """The sentences, with spaces between the words."""
        yield from map(" ".join, self._data.words(split))

    def encode(
        self, split: Split, tokenizer: Tokenizer, config: PretrainedConfig
    ) -> Iterator[Columns]:
        """Windows of sentences.

        Columns beside the model inputs: `labels` and `scored` (1 at the first sub-word of a word
        that the window owns) for each token, `words` (their numbers), `record` (the sentence).
        """
        sentences, bio = self._data.words(split), self._data.bio(split)
        is_empty = True
        for start in range(0, len(sentences), CHUNK):
            chunk = sentences[start : start + CHUNK]
            rows = [
                self._example(window, bio[start + window.record], start)
                for window in windows(tokenizer, chunk, self.max_length, self._stride)
            ]
            if rows:
                is_empty = False
                yield {name: [row[name] for row in rows] for name in rows[0]}
        if is_empty:
            raise DataError(f"{split.source}: all of its words tokenise to nothing")

    def _example(self, window: Window, bio: Tags, start: int) -> Example:
        """`start` is the number of the sentence that the windows count from."""
        length = len(window.inputs["input_ids"])
        labels, scored = [IGNORED] * length, [0] * length
        for word, (first, end) in zip(window.words, window.spans, strict=True):
            scored[first] = 1
            labels[first] = self._labels.index(bio[word])
            if self._label_all_tokens:
                later = self._labels.index(tags.inside(bio[word]))
                labels[first + 1 : end] = [later] * (end - first - 1)
        return {
            **window.inputs,
            "labels": labels,
            "scored": scored,
            "words": window.words,
            "record": start + window.record,
            "length": length,
        }

    def collator(self, tokenizer: Tokenizer, model: PreTrainedModel) -> Collate:
        """Pad to the longest of the batch; padding has no label and is not scored."""
        names = tokenizer.model_input_names

        def collate(examples: list[Example], seeds: Sequence[int]) -> Batch:
            rows = [{k: e[k] for k in names if k in e} for e in examples]
            batch = dict(tokenizer.pad(rows, padding_side="right", return_tensors="pt"))
            width = batch["input_ids"].shape[1]
            for name, filler in (("labels", IGNORED), ("scored", 0)):
                padded = [e[name] + [filler] * (width - len(e[name])) for e in examples]
                batch[name] = torch.tensor(padded)
            return batch

        return collate

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Logits (batch, length, labels)."""
        return super().logits(model, {k: v for k, v in batch.items() if k != "scored"})

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[Any]:
        """What is predicted for the words that a window owns, in order: the most probable label ids, or
        log-probabilities (words, labels) if more than these is needed.
        """
        scored = batch["scored"].bool()
        if not self._keeps_scores():
            rows = zip(logits.argmax(-1), scored, strict=True)
            return [labels[of_row].tolist() for labels, of_row in rows]
        scores = logits[scored].float().log_softmax(-1).cpu().numpy()
        return np.split(scores, scored.sum(1).cumsum(0)[:-1].tolist())

    def for_metrics(
        self, predictions: list[Any], split: Split, encoded: Dataset
    ) -> tuple[list[Tags], list[Tags]]:
        """The tags of all words of the split, whole sentences also where they were cut."""
        return self._joined(predictions, split, encoded), self._data.bio(split)

    def seen_by(self, needs: str, predictions: list[Any], split: Split, encoded: Dataset) -> Seen:
        """Confidences are those of words, and the label of each is its most probable tag alone."""
        if needs != CONFIDENCES:
            return super().seen_by(needs, predictions, split, encoded)
        scores = np.concatenate(predictions)
        best = zip(scores.argmax(1).tolist(), np.exp(scores.max(1)).tolist(), strict=True)
        columns = (chain.from_iterable(encoded[name][:]) for name in ("labels", "scored"))
        labels = [label for label, scored in zip(*columns, strict=True) if scored]
        records = np.repeat(encoded["record"][:], list(map(len, predictions))).tolist()
        return list(map(list, best)), labels, records

    def asked(self, split: Split) -> list[list[str]]:
        """The words of each sentence."""
        return self._data.words(split)

    def _joined(
        self, predictions: Sequence[Sequence[Any]], split: Split, encoded: Dataset
    ) -> list[Tags]:
        """The predicted tags of each sentence; `O` for words that no window owns."""
        unseen = outside(self._labels) if self._keeps_scores() else self._labels.index(tags.OUTSIDE)
        joined: list[list[Any]] = [[unseen] * len(words) for words in self._data.words(split)]
        seen: set[tuple[int, int]] = set()
        owned = zip(encoded["record"][:], encoded["words"][:], predictions, strict=True)
        for record, words, found in owned:
            for word, of_word in zip(words, found, strict=True):
                assert (record, word) not in seen, f"word {word} of {split.where(record)} twice"
                seen.add((record, word))
                joined[record][word] = of_word
        if self._keeps_scores():
            joined = [decoded(scores, self._labels, self._decoding) for scores in joined]
        return [[self._labels[i] for i in ids] for ids in joined]

    def _keeps_scores(self) -> bool:
        """Whether a prediction is more than the most probable label id of each word."""
        return self._decoding == "valid" or CONFIDENCES in self.all_needs()

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """The scores of giving each word the tag that it has most often in the training split."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        words, bio = self._data.words(splits.train), self._data.bio(splits.train)
        for word, tag in zip(chain.from_iterable(words), chain.from_iterable(bio), strict=True):
            counts[word][tag] += 1
        lexicon = {word: found.most_common(1)[0][0] for word, found in counts.items()}
        predicted = [
            [lexicon.get(word, tags.OUTSIDE) for word in words]
            for words in self._data.words(splits.validation)
        ]
        scores = self.compute(predicted, self._data.bio(splits.validation))
        return {f"lexicon_{name}": value for name, value in scores.items()}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Sentences with true and predicted entities, and by word the confusion of types and reliability."""
        words, true = self._data.words(split), self._data.bio(split)
        predicted = self._joined(predictions, split, encoded)
        table = {
            "text": list(map(" ".join, words)),
            "entities": list(map(_listed, words, true)),
            "predicted": list(map(_listed, words, predicted)),
        }
        types = sorted(set(map(tags.type_of, self._labels)) - {tags.OUTSIDE})
        draw = partial(
            draw_confusion,
            list(map(tags.type_of, chain.from_iterable(true))),
            list(map(tags.type_of, chain.from_iterable(predicted))),
            [*types, tags.OUTSIDE],
            shares=True,
        )
        figures: dict[str, Any] = {"confusion_of_words": draw}
        if self._keeps_scores():
            figures |= reliability(self.seen_by(CONFIDENCES, predictions, split, encoded))
        return Report(tables={"predictions": table}, figures=figures)

    def describe(self, splits: Splits, tokenizer: Tokenizer) -> dict[str, str]:
        """The scheme of the tags, and what the splits look like."""
        return {self._tags_column: self._scheme, **super().describe(splits, tokenizer)}

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """Words, entities, and the share of sentences that are cut into windows."""
        words = self._data.words(split)
        found = chain.from_iterable(map(tags.entities, self._data.bio(split)))
        counts = Counter(entity.type for entity in found)
        tokens = tokenizer(words, is_split_into_words=True)["input_ids"]
        long = sum(len(ids) > self.max_length for ids in tokens)
        return {
            "words": f"{sum(map(len, words)):,}",
            "entities": ", ".join(f"{kind} {n:,}" for kind, n in sorted(counts.items())),
            f"longer than {self.max_length} tokens": f"{long / len(split):.1%}",
        }

    def inputs(self, split: Split) -> list[Record]:
        """Texts, or lists of words."""
        name = self.columns[0]
        sentences = split.column(name)
        for i, sentence in enumerate(sentences):
            try:
                located(sentence)
            except UserError as error:
                raise DataError(f"{split.where(i)}: {name}={error}") from None
        return [{name: sentence} for sentence in sentences]

    def input_example(self, split: Split) -> Any:
        """A sentence."""
        return next(self.texts(split))


def _listed(words: Sequence[str], bio: Sequence[str]) -> str:
    """Such as `PER: Ada Lovelace; LOC: London`."""
    return "; ".join(f"{e.type}: {' '.join(words[e.start : e.end])}" for e in tags.entities(bio))
