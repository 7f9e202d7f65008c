"""Tokenizers of each kind, trained on the texts of a test."""

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from expkit.models.scratch import TinyBert

SPECIAL = {
    "cls_token": "<s>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def wordpiece(texts: list[str], size: int = 120) -> PreTrainedTokenizerBase:
    """As in BERT: pieces of words, spaces belong to none."""
    return TinyBert(size, 8, 1, 1, 0.0).tokenizer(texts)


def byte_level(texts: list[str], size: int = 320) -> PreTrainedTokenizerBase:
    """As in GPT-2: a piece holds the space before it, a character may be cut."""
    return _byte_level(texts, size, trim_offsets=False)


def trimmed_byte_level(texts: list[str], size: int = 320) -> PreTrainedTokenizerBase:
    """As in RoBERTa: a piece holds the space before it, its offsets do not."""
    return _byte_level(texts, size, trim_offsets=True)


def unigram(texts: list[str], size: int = 120) -> PreTrainedTokenizerBase:
    """As in SentencePiece: spaces become a mark in front of a word, or a piece of their own."""
    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL.values()),
        unk_token="<unk>",
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    ends = [(token, pieces.token_to_id(token)) for token in ("<s>", "</s>")]
    pieces.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, **SPECIAL)


def _byte_level(texts: list[str], size: int, **settings: Any) -> PreTrainedTokenizerBase:
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    end, start = (("</s>", pieces.token_to_id("</s>")), ("<s>", pieces.token_to_id("<s>")))
    pieces.post_processor = processors.RobertaProcessing(
        end, start, add_prefix_space=False, **settings
    )
    return PreTrainedTokenizerFast(tokenizer_object=pieces, **SPECIAL)
