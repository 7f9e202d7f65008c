"""What `MaskedLM` hides of a Chinese and of a Japanese paragraph: the words of jieba and of MeCab."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import BertConfig, DataCollatorForLanguageModeling, PreTrainedTokenizerBase

from conftest import composed, encoded_by
from expkit.config.components import make
from expkit.data.splits import Split
from expkit.data.words import word_spans
from expkit.models.scratch import TinyBert
from expkit.tasks.masked_lm import MaskedLM
from small_tokenizers import byte_level, trimmed_byte_level, unigram

CHINESE = "同样，施力的大小不同，引起的加速度不同，最终的结果也不一样。"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
DRAWS = 300


def task(**settings: Any) -> MaskedLM:
    overrides = [f"task.{key}={json.dumps(value)}" for key, value in settings.items()]
    return make(composed("task=masked_lm", "task.remainder=keep", *overrides), "task")


def split(texts: list[str]) -> Split:
    rows = Dataset.from_list([{"text": text} for text in texts])
    return Split(rows, "train", "texts", "", lambda i: f"text {i}")


def characters(text: str) -> PreTrainedTokenizerBase:
    """A token for each character."""
    return TinyBert(5 + 2 * len(set(text)), 8, 1, 1, 0.0).tokenizer([text])


def hidden_by_task(text: str, tokenizer: PreTrainedTokenizerBase, **settings: Any) -> torch.Tensor:
    """Which tokens of the text are hidden in each draw, (draws, length)."""
    lm = task(**settings)
    encoded = encoded_by(lm.encode(split([text]), tokenizer, BertConfig()))
    assert len(encoded) == 1
    collate = lm.collator(tokenizer, None)  # type: ignore[arg-type]
    return collate([encoded[0]] * DRAWS, range(DRAWS))["labels"] != -100


def hidden_by_transformers(text: str, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """The same by its collator; (draws, length)."""
    example = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    collator = DataCollatorForLanguageModeling(
        tokenizer, whole_word_mask=True, mask_replace_prob=1, random_replace_prob=0, seed=0
    )
    return collator([dict(example) for _ in range(DRAWS)])["labels"] != -100


def tokens_of_words(
    text: str, tokenizer: PreTrainedTokenizerBase, language: str
) -> list[tuple[str, list[int]]]:
    """Each word with the positions of its tokens."""
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    return [
        (text[start:end], [i for i, (a, b) in enumerate(offsets) if start <= a < b <= end])
        for start, end in word_spans(text, language)
    ]


def hides_word_by_word(hidden: torch.Tensor, words: list[tuple[str, list[int]]]) -> bool:
    """Whether a word is hidden whole or not at all, and no two neighbours always together."""
    positions = [p for _, p in words]
    whole = all(hidden[:, p].all(1).eq(hidden[:, p].any(1)).all() for p in positions)
    apart = all((hidden[:, a[0]] != hidden[:, b[0]]).any() for a, b in pairwise(positions))
    in_words = hidden.sum() == hidden[:, [i for p in positions for i in p]].sum()
    return bool(whole and apart and in_words)


PARAGRAPHS = pytest.mark.parametrize(("text", "language"), [(CHINESE, "zh"), (JAPANESE, "ja")])


@PARAGRAPHS
def test_words_are_hidden_one_by_one(text: str, language: str) -> None:
    tokenizer = characters(text)
    words = tokens_of_words(text, tokenizer, language)
    assert any(len(p) > 1 for _, p in words), "else every draw would do"
    hidden = hidden_by_task(text, tokenizer, whole_word_mask=True, language=language)
    assert hides_word_by_word(hidden, words)
    assert hidden.any(0).sum() == sum(len(p) for _, p in words), "each word had its turn"


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        (CHINESE, "zh", ["施力 的 不同", "， 不同 不 。", "， 引起 一样"]),
        (JAPANESE, "ja", ["ある 見当 つか", "は は で と ぬ", "た 見当 が ぬ"]),
    ],
)
def test_which_words_are_hidden(text: str, language: str, expected: list[str]) -> None:
    """In the draws of the first seeds."""
    tokenizer = characters(text)
    hidden = hidden_by_task(text, tokenizer, whole_word_mask=True, language=language)
    words = tokens_of_words(text, tokenizer, language)
    found = [" ".join(word for word, p in words if row[p].all()) for row in hidden[:3]]
    assert found == expected


@PARAGRAPHS
def test_other_ways_to_hide_tokens_would_be_noticed(text: str, language: str) -> None:
    tokenizer = characters(text)
    words = tokens_of_words(text, tokenizer, language)
    for others in (
        hidden_by_transformers(text, tokenizer),
        hidden_by_task(text, tokenizer, whole_word_mask=False, language=language),
        hidden_by_task(text, tokenizer, whole_word_mask=True, language="en"),
    ):
        assert others.any()
        assert not hides_word_by_word(others, words)


@pytest.mark.parametrize("kind", [byte_level, trimmed_byte_level, unigram])
@pytest.mark.parametrize("language", ["en", "ja"])
def test_tokens_with_one_number_stand_together_in_one_text(
    kind: Callable[[list[str], int], PreTrainedTokenizerBase], language: str
) -> None:
    """Frequent phrases become one piece there, so that a text has more words than tokens."""
    sentences = [
        *("It is. It isn't (yet). ", "その猫はまだ無い。", "Well, no; yes...\n", "  と、で、も。  ")
    ]
    texts = [sentences[i % 4] + sentences[i * 7 % 3] * (i % 3) for i in range(400)]
    tokenizer = kind(texts, 2000)
    owners = np.array([n for n, text in enumerate(texts) for _ in tokenizer(text)["input_ids"]])
    lm = task(whole_word_mask=True, language=language, block_size=len(owners))
    (numbers,) = encoded_by(lm.encode(split(texts), tokenizer, BertConfig()))["words"]
    for number in set(numbers) - {-1}:
        places = np.flatnonzero(np.array(numbers) == number)
        assert len(set(owners[places])) == 1
        assert places[-1] - places[0] == len(places) - 1


def test_an_unknown_token_belongs_to_its_word() -> None:
    tokenizer = unigram(["banana bandana cabana", "abc abd"] * 5, 60)
    text = "banaŽna cab"
    lm = task(whole_word_mask=True, mlm_probability=1, block_size=16)
    encoded = encoded_by(lm.encode(split([text]), tokenizer, BertConfig()))
    ids, words = encoded[0]["input_ids"], encoded[0]["words"]
    unknown = ids.index(tokenizer.unk_token_id)
    assert 1 < unknown < len(ids) - 1
    assert words[unknown - 1] == words[unknown] == words[unknown + 1]
    collate = lm.collator(tokenizer, None)  # type: ignore[arg-type]
    batch = collate([encoded[0]] * 500, range(500))
    assert (batch["labels"][:, 1:-1] == torch.tensor(ids[1:-1])).all()
    elsewhere = batch["input_ids"][:, [i for i in range(len(ids)) if i != unknown]]
    assert (elsewhere != tokenizer.unk_token_id).all(), "no random token is the unknown one"
