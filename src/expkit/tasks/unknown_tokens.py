"""Texts that a vocabulary cannot spell: a model neither reads nor writes what is unknown to it."""

from collections import Counter

from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.terminal.display import say

NOTED_SHARE = 0.01  # below it, rare characters; above it, often a tokenizer of another language


def unknown_share(counts: Counter[int], tokenizer: Tokenizer) -> float:
    """The share of the unknown token among all token ids; other special tokens do not count.

    Some tokenizers make one unknown token of a whole run of characters that they do not know.
    """
    unknown = tokenizer.unk_token_id
    counts = counts.copy()
    for special in {*tokenizer.all_special_ids} - {unknown}:
        del counts[special]
    return counts[unknown] / counts.total() if counts.total() else 0.0


def note_unknown(split: str, side: str, counts: Counter[int], tokenizer: Tokenizer) -> None:
    """Say if many of the tokens of one side, source or target, are unknown."""
    share = unknown_share(counts, tokenizer)
    if share > NOTED_SHARE:
        say(f"{split}: {share:.1%} of the {side} tokens are unknown to the tokenizer")
