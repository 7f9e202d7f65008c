"""What models answer to texts: labels, numbers, entities, words and translations, as rows of a table."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from transformers import PretrainedConfig
from transformers import PreTrainedModel as Model
from transformers import PreTrainedTokenizerBase as Tokenizer

from . import DataError, UserError
from .decoding import decoded, outside
from .located_words import DIGITS, located
from .windows import windows

Array = np.ndarray
Row = dict[str, Any]
Texts = Sequence[str]

KEY = "decision"  # in the config of an exported model
MASK = "[MASK]"  # in texts, whatever the tokenizer's own mask token is
MULTILABEL = "multi_label_classification"
TOP = 5  # answers for each mask
WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class Decision:
    """How logits are read.

    Attributes:
        thresholds: the least probability of label 1 of two, or of each of several labels; None: the most
            probable label is taken, or each label with a probability of at least 0.5.
        chosen_on: the digest of the examples that both were chosen on; empty if they were given.
    """

    temperature: float = 1.0
    thresholds: Sequence[float] | None = None
    chosen_on: str = ""

    @classmethod
    def of(cls, config: Any) -> "Decision":
        """What `settle` has put into the config of an exported model."""
        return cls(**(getattr(config, KEY, None) or {}))

    def probabilities(self, logits: Any, has_several: bool) -> Array:
        """The probabilities of the labels, each by itself if an example has several of them."""
        scaled = np.asarray(logits, dtype=float) / self.temperature
        return np.asarray(expit(scaled) if has_several else softmax(scaled, axis=-1))

    def labels(self, probabilities: Array, has_several: bool) -> Array:
        """The ids of the labels (examples,), or 0 and 1 for each (examples, labels) if there are several."""
        if has_several:
            thresholds = 0.5 if self.thresholds is None else np.asarray(self.thresholds)
            return (probabilities >= thresholds).astype(int)
        if self.thresholds is None:
            return probabilities.argmax(-1)
        return (probabilities[..., 1] >= self.thresholds[0]).astype(int)


def tokenized(
    texts: Sequence[Texts], tokenizer: Tokenizer, config: PretrainedConfig, places: Iterable[str]
) -> Any:
    """Model inputs without padding; a text without a token gets the one that begins or ends texts.

    Args:
        texts: one column, or two for pairs.
        places: where each example comes from, for messages.

    Raises:
        UserError: there are more than two columns.
        DataError: there is no such token, or a text holds the token that ends texts.
    """
    if len(texts) > 2:
        raise UserError(f"task: reads {len(texts)} columns; expected one, or two for pairs")
    inputs = tokenizer(*texts, truncation=True)
    begin = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    end = config.eos_token_id if config.is_encoder_decoder else None
    ends = tokenizer(*("a" for _ in texts))["input_ids"].count(end)
    for row, (ids, place) in enumerate(zip(inputs["input_ids"], places)):  # noqa: B905
        if not ids and begin is None:
            raise DataError(
                f"{place}: holds nothing that {type(tokenizer).__name__} has a token for"
            )
        if not ids:
            for name, column in inputs.items():
                column[row] = [{"input_ids": begin, "attention_mask": 1}.get(name, 0)]
        elif end is not None and ids.count(end) != ends:
            token = tokenizer.convert_ids_to_tokens(end)
            raise DataError(
                f"{place}: holds {token!r}, which ends a text for the model; take it out"
            )
    return inputs


def classified(model: Model, tokenizer: Tokenizer, records: Sequence[Texts]) -> list[list[Row]]:
    """The label, the labels or the number of each record, which is a text or a pair of texts."""
    columns = [list(column) for column in zip(*records, strict=True)]
    places = (f"{record!r:.60}" for record in records)
    inputs = tokenized(columns, tokenizer, model.config, places)
    batch = tokenizer.pad(inputs, return_tensors="pt").to(model.device)
    shown = number if model.config.problem_type == "regression" else labelled
    return [[shown(row, model.config)] for row in model(**batch).logits.float().tolist()]


def labelled(logits: Sequence[float], config: PretrainedConfig, shows_all: bool = True) -> Row:
    """The label with its probability, or all labels; perhaps the probabilities of all labels, which are not rounded."""
    names, decision = [config.id2label[i] for i in range(len(logits))], Decision.of(config)
    has_several = config.problem_type == MULTILABEL
    every = decision.probabilities(logits, has_several)
    found: Any = decision.labels(every, has_several)
    row: Row = {"labels": list(compress(names, found))} if has_several else {"label": names[found]}
    if not has_several:
        row["probability"] = round(float(every[found]), DIGITS)
    if shows_all:
        row["probabilities"] = dict(zip(names, every.tolist(), strict=True))
    return row


def number(values: Sequence[float], config: PretrainedConfig) -> Row:
    """The number, to a millionth of the spread of the targets or better."""
    return {"prediction": round(values[0], DIGITS - math.floor(math.log10(config.target_scale)))}


def entities(
    model: Model,
    tokenizer: Tokenizer,
    records: Sequence[Any],
    max_length: int,
    stride: int,
    decoding: str,
) -> list[list[Row]]:
    """The entities of each text or list of words: type, text, character offsets, mean probability of their tags.

    Offsets count in the text, or in the words with spaces between them if a record holds words.
    """
    sentences = list(map(located, records))
    words = [sentence.words for sentence in sentences]
    tags = [model.config.id2label[i] for i in range(model.config.num_labels)]
    scores = [[outside(tags)] * len(found) for found in words]
    parts = list(windows(tokenizer, words, max_length, stride))
    for start in range(0, len(parts), WINDOWS_AT_ONCE):
        chunk = parts[start : start + WINDOWS_AT_ONCE]
        inputs = [window.inputs for window in chunk]
        padded = tokenizer.pad(inputs, padding_side="right", return_tensors="pt")
        logits = model(**padded.to(model.device)).logits
        made = logits.float().log_softmax(-1).cpu().numpy()
        for window, of_window in zip(chunk, made, strict=True):
            for word, (first, _) in zip(window.words, window.spans, strict=True):
                scores[window.record][word] = of_window[first]
    answers = []
    for sentence, of_sentence in zip(sentences, scores, strict=True):
        ids = decoded(of_sentence, tags, decoding)
        probabilities = [float(np.exp(row[i])) for row, i in zip(of_sentence, ids, strict=True)]
        answers.append(list(sentence.entities([tags[i] for i in ids], probabilities)))
    return answers


def filled(model: Model, tokenizer: Tokenizer, records: Texts, max_length: int) -> list[list[Row]]:
    """The most probable words for each `[MASK]` of each text.

    Raises:
        UserError: no text, a text without a mask, or one with a mask that would be cut off.
    """
    return [_filled(model, tokenizer, text, max_length) for text in records]


def _filled(model: Model, tokenizer: Tokenizer, text: str, max_length: int) -> list[Row]:
    text = text.replace(MASK, tokenizer.mask_token)
    whole = tokenizer(text, verbose=False)["input_ids"]
    count = whole.count(tokenizer.mask_token_id)
    if not count:
        raise UserError(f"{text!r}: has no {MASK} to fill")
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=max_length)
    masks = inputs["input_ids"][0] == tokenizer.mask_token_id
    if lost := count - int(masks.sum()):
        raise UserError(
            f"{text!r:.60}: has {len(whole)} tokens, more than task.block_size={max_length}, "
            f"so that {lost} of {count} {MASK} would be cut off"
        )
    logits = model(**inputs.to(model.device)).logits[0, masks.to(model.device)]
    return [
        {"mask": mask, "word": word, "probability": round(float(p), DIGITS)}
        for mask, row in enumerate(logits.float().softmax(-1), start=1)
        for p, i in zip(*row.topk(TOP), strict=True)
        for word in [tokenizer.decode([int(i)]).strip()]
    ]


def translated(
    model: Model, tokenizer: Tokenizer, records: Texts, max_length: int, generation: dict[str, Any]
) -> list[list[Row]]:
    """The translation of each text. Raises UserError for one without any."""
    for text in records:
        require_text(text, "text")
    prefix = getattr(model.config, "prefix", None) or ""
    texts = [prefix + text for text in records]
    inputs = tokenizer(
        texts, padding=True, return_tensors="pt", truncation=True, max_length=max_length
    )
    given = {name: inputs[name].to(model.device) for name in ("input_ids", "attention_mask")}
    ids = model.generate(**given, **generation)
    return [[{"translation": t}] for t in tokenizer.batch_decode(ids, skip_special_tokens=True)]


def require_text(value: Any, place: str) -> None:
    """Raise a DataError unless there is something to translate."""
    if not isinstance(value, str):
        raise DataError(f"{place}={value!r:.60} is no text")
    if not value.strip():
        raise DataError(f"{place}={value!r:.60} is empty; there is nothing to translate")


# By the pipeline that a task names.
ANSWERS: dict[str, Callable[..., list[list[Row]]]] = {
    "text-classification": classified,
    "token-classification": entities,
    "fill-mask": filled,
    "translation": translated,
}
