"""Prepare a tokenizer to read the words of a sentence instead of its text."""

from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import ByteLevel as ByteLevelOffsets
from tokenizers.processors import RobertaProcessing
from transformers import PreTrainedTokenizerBase

from expkit.terminal.errors import UserError


def take_words(tokenizer: PreTrainedTokenizerBase) -> None:
    """Change a byte-level tokenizer so that it reads words as they are read in a running text.

    Byte-level BPE (RoBERTa, GPT-2) holds the space before a word as a part of its first piece, and
    pre-split words have none. With `add_prefix_space` it is put there, before a text as well, and
    it stays so in the files that `save_pretrained` writes.

    Raises:
        UserError: see `require_words`.
    """
    backend = tokenizer.backend_tokenizer if tokenizer.is_fast else None
    # Within a Sequence, it would also put spaces inside words: at each place where they are split.
    if backend is not None and isinstance(backend.pre_tokenizer, ByteLevel):
        backend.pre_tokenizer.add_prefix_space = True
        if isinstance(backend.post_processor, RobertaProcessing | ByteLevelOffsets):
            backend.post_processor.add_prefix_space = True  # offsets do not count that space
        tokenizer.add_prefix_space = True
        tokenizer.init_kwargs["add_prefix_space"] = True  # what save_pretrained writes
    require_words(tokenizer)


def require_words(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise a UserError unless the tokenizer takes words and says which sub-words they became."""
    name = type(tokenizer).__name__
    if not tokenizer.is_fast:
        raise UserError(
            f"model.path: {name} cannot tell which word a sub-word belongs to; token classification "
            "needs a tokenizer of the tokenizers library (a checkpoint with tokenizer.json)"
        )
    if not _keeps_words_apart(tokenizer):
        raise UserError(
            f"model.path: {name} takes words without the space between them, so that 'a', 'b' is "
            "read as 'ab'; token classification needs another model"
        )


def _keeps_words_apart(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether 'a', 'b' becomes what 'a b' does, or at least what is written 'a b'.

    The tokens may differ: some vocabularies have pieces that go beyond the end of a word.
    """
    of_words = tokenizer(["a", "b"], is_split_into_words=True)["input_ids"]
    if of_words == tokenizer("a b")["input_ids"]:
        return True
    return tokenizer.decode(of_words, skip_special_tokens=True).split() == ["a", "b"]
