"""Masked language modelling on blocks of running text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset
from transformers import PretrainedConfig, PreTrainedModel

from expkit.answering.answers import MASK
from expkit.config.constraints import above, at_least
from expkit.data.languages import primary_subtag
from expkit.data.splits import CHUNK, Columns, Split, Splits
from expkit.data.steps import Batch, Collate, Example
from expkit.data.words import segmenter, word_spans
from expkit.metrics.outcomes import Outcomes, Report, digest
from expkit.models.head import Head, head_modules, inner_model
from expkit.models.last_layer import last_layer_at
from expkit.tasks.interface import IGNORED, Scores, Task, Tokenizer, logits_of
from expkit.tasks.masking import NO_WORD, choose, hide, words_of_tokens
from expkit.terminal.display import say
from expkit.terminal.errors import DataError, UserError

if TYPE_CHECKING:
    import evaluate

REPORTED_BLOCKS = 200
TEXTS_AT_ONCE = 1000


class MaskedLM(Task):
    """All texts in a row, cut into blocks; some words are hidden and have to be found.

    Args:
        text_column: running text; each record is one text with the tokenizer's special tokens.
        block_size: tokens of a block.
        mlm_probability: share of the tokens that are hidden, special tokens aside (Devlin et al.,
            2019: 0.15).
        whole_word_mask: hide all tokens of a word, or none.
        language: a code that decides what a word is: zh, ja, or any with spaces between words.
        remainder: the tokens after the last whole block: `drop` them, or `keep` a shorter block.
        metrics: `Perplexity` on log-likelihoods, others on token ids of the hidden positions.

    Raises:
        UserError: there is no such language, or its words cannot be found.
    """

    short_name = "mlm"  # in names of runs
    pipeline = "fill-mask"
    has_several_rows = True

    def __init__(
        self,
        text_column: str,
        block_size: Annotated[int, at_least(8)],
        mlm_probability: Annotated[float, above(0, at_most=1)],
        whole_word_mask: bool,
        language: str,
        remainder: Literal["drop", "keep"],
        metrics: "Mapping[str, evaluate.Metric]",
    ) -> None:
        super().__init__([text_column], block_size, metrics)
        self.serving = {"max_length": block_size}
        self._probability = mlm_probability
        self._whole_words = whole_word_mask
        self._language = language
        primary_subtag(language, "task.language")
        if whole_word_mask:
            segmenter(language, "task.language")
        self._keeps_remainder = remainder == "keep"

    def gold(self, split: Split) -> None:
        """Nothing, as the text is running text."""

    def head(self) -> Head:
        """A masked language model."""
        return Head("AutoModelForMaskedLM")

    def encode(
        self, split: Split, tokenizer: Tokenizer, config: PretrainedConfig
    ) -> Iterator[Columns]:
        """Blocks of `input_ids` with the word that each token belongs to.

        Raises:
            UserError: the tokenizer has no mask token, or no offsets for whole words.
            DataError: the text is shorter than one block.
        """
        if tokenizer.mask_token is None:
            raise UserError(f"model: {type(tokenizer).__name__} has no mask token")
        if self._whole_words and not tokenizer.is_fast:
            raise UserError("task.whole_word_mask=true: needs a tokenizer that gives offsets")
        size = self.max_length
        rest = np.empty((2, 0), dtype=np.int32)
        count = 0
        for tokens in self._tokens(split, tokenizer):
            count += tokens.shape[1]
            rest = np.concatenate([rest, tokens], axis=1)
            end = rest.shape[1] // size * size
            if end:
                yield _blocks(rest[:, :end], size)
                rest = rest[:, end:]
        if self._keeps_remainder and rest.size:
            yield _blocks(rest, size)
            rest = rest[:, :0]
        dropped = rest.shape[1]
        if dropped == count:
            raise DataError(
                f"{split.source}: has {count} tokens, fewer than one block of "
                f"task.block_size={size}; make it smaller, or task.remainder=keep"
            )
        say(f"{split.name}: {count:,} tokens in blocks of {size}, {dropped} dropped")

    def _tokens(self, split: Split, tokenizer: Tokenizer) -> Iterator[np.ndarray]:
        """Arrays (2, tokens), one for some texts at a time: token ids, and the number of each token's word.

        No two words of a split have the same number.
        """
        texts = self.texts(split)
        # An unknown token stands for a part of the text, and often for a part of a word.
        special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        count = 0
        while batch := list(islice(texts, TEXTS_AT_ONCE)):
            encoded = tokenizer(batch, return_offsets_mapping=self._whole_words, verbose=False)
            offsets = encoded.get("offset_mapping", [None] * len(batch))
            ids: list[np.ndarray] = []
            words: list[np.ndarray] = []
            for text, text_ids, spans in zip(batch, encoded["input_ids"], offsets, strict=True):
                found: Any = np.arange(len(text_ids))
                if self._whole_words:
                    found = words_of_tokens(spans, word_spans(text, self._language), text)
                found = np.where([i in special for i in text_ids], NO_WORD, found)
                ids.append(np.asarray(text_ids, dtype=np.int32))
                words.append(np.where(found == NO_WORD, NO_WORD, found + count))
                count += int(found.max(initial=NO_WORD)) + 1
            yield np.stack([np.concatenate(ids), np.concatenate(words)]).astype(np.int32)

    def collator(self, tokenizer: Tokenizer, model: PreTrainedModel) -> Collate:
        """Hide words: for an example always the same ones for the same seed."""
        special = set(tokenizer.all_special_ids)
        vocabulary = np.array([i for i in range(len(tokenizer)) if i not in special])
        pad_id, mask_id = tokenizer.pad_token_id or 0, tokenizer.mask_token_id

        def collate(examples: list[Example], seeds: Sequence[int]) -> Batch:
            shape = (len(examples), max(e["length"] for e in examples))
            hidden = np.full(shape, pad_id, dtype=np.int64)
            attended = np.zeros(shape, dtype=np.int64)
            labels = np.full(shape, IGNORED, dtype=np.int64)
            for row, (example, seed) in enumerate(zip(examples, seeds, strict=True)):
                rng = np.random.default_rng(seed)
                ids = np.asarray(example["input_ids"])
                chosen = choose(np.asarray(example["words"]), self._probability, rng)
                hidden[row, : len(ids)] = hide(ids, chosen, mask_id, vocabulary, rng)
                attended[row, : len(ids)] = 1
                for positions in chosen:
                    labels[row, positions] = ids[positions]
            arrays = {"input_ids": hidden, "attention_mask": attended, "labels": labels}
            return {name: torch.from_numpy(array) for name, array in arrays.items()}

        return collate

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """−Σ log p(token) over hidden positions, and logits (hidden positions, vocabulary)."""
        hidden = batch["labels"] != IGNORED
        with last_layer_at(model, lambda states: states[hidden]), _head_sees_only(model, hidden):
            logits = logits_of(model, batch)
        if logits.ndim == 3:
            logits = logits[hidden]
        return F.cross_entropy(logits.float(), batch["labels"][hidden], reduction="sum"), logits

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[dict[str, Any]]:
        """Ids and tokens at the hidden positions of each example, predicted and true.

        Also −log p(token) of the true ones, in nats.
        """
        hidden = batch["labels"] != IGNORED
        counts = hidden.sum(1).tolist()
        true_ids = batch["labels"][hidden]
        surprise = F.cross_entropy(logits.float(), true_ids, reduction="none")
        columns = {"predicted": logits.argmax(-1), "true": true_ids, "surprise": surprise}
        split = {name: ids.split(counts) for name, ids in columns.items()}
        return [
            {
                "predicted": predicted.tolist(),
                "true": true.tolist(),
                "predicted tokens": tokenizer.convert_ids_to_tokens(predicted.tolist()),
                "true tokens": tokenizer.convert_ids_to_tokens(true.tolist()),
                "surprise": nats.tolist(),
            }
            for predicted, true, nats in zip(*split.values(), strict=True)
        ]

    def score(self, loss: float, predictions: list[Any], split: Split, encoded: Dataset) -> Scores:
        """Perplexity from the loss, and metrics on the ids at hidden positions.

        Raises:
            DataError: the text is so short that nothing was hidden.
        """
        predicted = list(chain.from_iterable(p["predicted"] for p in predictions))
        true = list(chain.from_iterable(p["true"] for p in predictions))
        if not true:
            raise DataError(
                f"{split.source}: with task.mlm_probability={self._probability} no token of it is "
                "hidden, so there is nothing to score; it needs more text, or a larger share"
            )
        scores: Scores = {}
        for metric in self.metrics.values():
            if _takes_references(metric):
                scores |= metric.compute(predictions=predicted, references=true)
            else:
                scores |= metric.compute(predictions=[loss])
        return scores

    def outcomes(self, predictions: list[Any], split: Split, encoded: Dataset) -> list[Outcomes]:
        """The hidden tokens; an example is a block."""
        items = {
            name: list(chain.from_iterable(p[name] for p in predictions))
            for name in ("predicted", "true", "surprise")
        }
        blocks = [block for block, p in enumerate(predictions) for _ in p["true"]]
        inputs = digest([*encoded["input_ids"][:], blocks, items["true"]])
        of_ids = [name for name, metric in self.metrics.items() if _takes_references(metric)]
        of_likelihoods = [name for name in self.metrics if name not in of_ids]
        return [
            Outcomes(inputs, of_ids, items["predicted"], items["true"], blocks),
            Outcomes(inputs, of_likelihoods, items["surprise"], None, blocks),
        ]

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """Perplexity of the validation text under the token frequencies of the training text.

        Frequencies are smoothed by adding one to the count of each token that occurs in either.
        """
        counts = _ordinary_tokens(encoded["train"])
        tokens = _ordinary_tokens(encoded["validation"])
        total = counts.total() + len(counts.keys() | tokens.keys())
        surprise = sum(-np.log((counts[t] + 1) / total) * n for t, n in tokens.items())
        return {"unigram_perplexity": float(np.exp(surprise / tokens.total()))}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """Hidden tokens of the first blocks beside what was predicted."""
        shown = predictions[:REPORTED_BLOCKS]
        table = {
            name: [" ".join(p[f"{name} tokens"]) for p in shown] for name in ("true", "predicted")
        }
        return Report(tables={"predictions": table})

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """Texts and characters."""
        characters = sum(map(len, self.texts(split)))
        return {"texts": f"{len(split):,} with {characters:,} characters"}

    def input_example(self, split: Split) -> Any:
        """A mask and the first words of a text, which fit into a block: a character has at most four tokens."""
        words = " ".join(split.rows[0][self.columns[0]].split()[:5])
        return f"{MASK} {words[: (self.max_length - 4) // 4]}"


def _takes_references(metric: "evaluate.Metric") -> bool:
    return "references" in metric.features


def _blocks(tokens: np.ndarray, size: int) -> Columns:
    """Tokens and their words (2, tokens) as blocks; the last one may be shorter."""
    ids, words = tokens
    starts = range(0, len(ids), size)
    return {
        "input_ids": [ids[start : start + size] for start in starts],
        "words": [words[start : start + size] for start in starts],
        "length": [min(size, len(ids) - start) for start in starts],
    }


def _ordinary_tokens(encoded: Dataset) -> Counter[int]:
    """How often each token occurs, the special ones aside."""
    counts: Counter[int] = Counter()
    for start in range(0, len(encoded), CHUNK):
        rows = encoded[start : start + CHUNK]
        ids = np.concatenate([np.asarray(block) for block in rows["input_ids"]])
        words = np.concatenate([np.asarray(block) for block in rows["words"]])
        kinds, numbers = np.unique(ids[words != NO_WORD], return_counts=True)
        counts.update(dict(zip(kinds.tolist(), numbers.tolist(), strict=True)))
    return counts


@contextmanager
def _head_sees_only(model: torch.nn.Module, positions: torch.Tensor) -> Iterator[None]:
    """Compute the vocabulary's logits at some positions (batch, length) only.

    The first module of the head gets just their hidden states. Heads work on each position by
    itself, so that loss and gradients stay the same, at a fraction of the cost. A model whose head
    is called in another way computes all logits. A pooler sees the first position and leads to no
    token.
    """
    inner = inner_model(model)
    assert inner is not None
    heads = [name for name in head_modules(inner) if not name.endswith(".pooler")]
    if not heads:
        yield
        return

    def select(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        first = inputs[0] if inputs else None
        if isinstance(first, torch.Tensor) and first.shape[:-1] == positions.shape:
            return (first[positions], *inputs[1:])
        return None

    with inner.get_submodule(heads[0]).register_forward_pre_hook(select):
        yield
