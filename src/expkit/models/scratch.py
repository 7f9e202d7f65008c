"""Small models with random weights, and tokenizers trained on the data."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import normalizers, pre_tokenizers
from transformers import BertConfig, BertTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from expkit.models.head import auto_class
from expkit.tasks.interface import Head

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_POSITIONS = 512


class TinyBert:
    """A BERT of a few layers with a WordPiece vocabulary of the training texts.

    Args:
        vocab_size: pieces at most.
        dropout: probability in hidden layers and attention.
        attention_modules: names of the attention projections, for `lora=attention`.
    """

    path = "tiny_bert"

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        layers: int,
        heads: int,
        dropout: float,
        attention_modules: Iterable[str] = (),
    ) -> None:
        self._vocab_size = vocab_size
        self._hidden_size = hidden_size
        self._layers = layers
        self._heads = heads
        self._dropout = dropout

    def tokenizer(self, texts: Iterable[str]) -> PreTrainedTokenizerBase:
        """Lower-cased WordPiece, as in bert-base-uncased, with the vocabulary of `texts`.

        It holds every character and the most frequent words. The trainer of the tokenizers library
        would also find parts of words, but finds others each time.
        """
        normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
        splitter = pre_tokenizers.BertPreTokenizer()
        words = Counter(
            word
            for text in texts
            for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
        )
        characters = sorted({character for word in words for character in word})
        pieces = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
        frequent = sorted(words, key=lambda word: (-words[word], word))
        pieces += [word for word in frequent if len(word) > 1]
        vocabulary = {piece: i for i, piece in enumerate(pieces[: self._vocab_size])}
        return BertTokenizer(
            vocab=vocabulary,
            do_lower_case=True,
            strip_accents=False,  # in Japanese that would change the letters
            model_max_length=MAX_POSITIONS,
        )

    def build(self, head: Head, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        """Random weights; the same ones for the same seed.

        With BERT's own initial weights (standard deviation 0.02) so small a model learns slowly: 12
        epochs of masked language modelling on the demo data, in batches of 16, lead to a perplexity
        of 106, and from these to 97.
        """
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=self._hidden_size,
            num_hidden_layers=self._layers,
            num_attention_heads=self._heads,
            intermediate_size=4 * self._hidden_size,
            hidden_dropout_prob=self._dropout,
            attention_probs_dropout_prob=self._dropout,
            initializer_range=0.06,
            max_position_embeddings=MAX_POSITIONS,
            pad_token_id=tokenizer.pad_token_id,
            **head.config,
        )
        return auto_class(head, config, f"model={self.path}").from_config(config)
