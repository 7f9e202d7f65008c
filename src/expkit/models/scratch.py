"""Small models with random weights, and tokenizers trained on the data."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tokenizers import normalizers, pre_tokenizers
from transformers import BertConfig, BertTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.config.constraints import at_least
from expkit.data.cache import learned
from expkit.models.head import Head, auto_class
from expkit.terminal.display import say

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_POSITIONS = 512
AUTO = "auto"  # a size that is fitted to the texts
LEAST_PIECES = 2000  # of such a vocabulary


@dataclass(frozen=True)
class TinyBert:
    """A BERT of a few layers with a WordPiece vocabulary of the training texts.

    Args:
        vocab_size: pieces at most; "auto": twice what the characters of the texts need, at least 2000.
        dropout: probability in hidden layers and attention.
        attention_modules: names of the attention projections, for `lora=attention`.
    """

    vocab_size: Annotated[int, at_least(64)] | Literal["auto"]
    hidden_size: Annotated[int, at_least(8)]
    layers: Annotated[int, at_least(1)]
    heads: Annotated[int, at_least(1)]
    dropout: Annotated[float, at_least(0, below=1)]
    attention_modules: Iterable[str] = ()

    path: ClassVar[str] = "tiny_bert"

    def tokenizer(self, texts: Iterable[str]) -> Tokenizer:
        """Lower-cased WordPiece, as in bert-base-uncased, with the vocabulary of `texts`.

        It holds every character and the most frequent words. The trainer of the tokenizers library
        would also find parts of words, but finds others each time.
        """
        settings = {"words": self.vocab_size}
        pieces = json.loads(learned(texts, settings, lambda: self._pieces(texts)))
        return BertTokenizer(
            vocab={piece: i for i, piece in enumerate(pieces)},
            do_lower_case=True,
            strip_accents=False,  # in Japanese that would change the letters
            model_max_length=MAX_POSITIONS,
        )

    def _pieces(self, texts: Iterable[str]) -> bytes:
        normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
        splitter = pre_tokenizers.BertPreTokenizer()
        words = Counter(
            word
            for text in texts
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
        )
        characters = sorted({character for word in words for character in word})
        pieces = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
        size = self.vocab_size
        if size == AUTO:
            size = vocabulary_size(LEAST_PIECES, characters, len(pieces))
        frequent = sorted(words, key=lambda word: (-words[word], word))
        pieces += [word for word in frequent if len(word) > 1]
        return json.dumps(pieces[: int(size)]).encode()

    def build(self, head: Head, tokenizer: Tokenizer) -> PreTrainedModel:
        """Random weights; the same ones for the same seed.

        With BERT's own initial weights (standard deviation 0.02) so small a model learns slowly: 12
        epochs of masked language modelling on the demo data, in batches of 16, lead to a perplexity
        of 106, and from these to 97.
        """
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden_size,
            hidden_dropout_prob=self.dropout,
            attention_probs_dropout_prob=self.dropout,
            initializer_range=0.06,
            max_position_embeddings=MAX_POSITIONS,
            pad_token_id=tokenizer.pad_token_id,
            **head.config,
        )
        return auto_class(head, config, f"model={self.path}").from_config(config)


def vocabulary_size(least: int, characters: Collection[str], needed: int) -> int:
    """Room for the pieces that the characters need, and for as many others."""
    size = max(least, 2 * needed)
    say(f"model.vocab_size=auto: {size} pieces at most, for texts of {len(characters)} characters")
    return size
