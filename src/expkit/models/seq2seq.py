"""Small encoder-decoders with random weights, and SentencePiece tokenizers trained on the data."""

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import sentencepiece
from transformers import MarianConfig, MarianTokenizer, PreTrainedModel, T5Config, T5Tokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from expkit.config.constraints import at_least
from expkit.data.cache import learned
from expkit.models.head import Head, auto_class
from expkit.models.scratch import AUTO, vocabulary_size
from expkit.terminal.errors import UserError

MAX_POSITIONS = 512  # of Marian, whose positions are computed, not learned
# As T5 numbers them.
PAD, EOS, UNK = range(3)
SPECIAL_PIECES = 4  # these, and the mark of a space
LEAST_PIECES = 1000  # of a vocabulary whose size is fitted to the texts


@dataclass
class _Scratch:
    """The settings that both models have.

    Args:
        vocab_size: pieces at most; "auto": twice what the characters of the texts need, at least 1000.
        character_coverage: share of the characters of the texts that get a piece of their own; the
            others become unknown.
        hidden_size: the feed-forward layers are twice as wide.
        layers: of the encoder, and of the decoder.
        dropout: probability in hidden layers, of T5 also in attention.
        attention_modules: names of the attention projections, for `lora=attention`.
    """

    vocab_size: Annotated[int, at_least(64)] | Literal["auto"]
    character_coverage: Annotated[float, at_least(0.98, at_most=1)]  # SentencePiece allows no less
    hidden_size: Annotated[int, at_least(8)]
    layers: Annotated[int, at_least(1)]
    heads: Annotated[int, at_least(1)]
    dropout: Annotated[float, at_least(0, below=1)]
    attention_modules: Iterable[str] = ()

    def _pieces(self, texts: Iterable[str]) -> bytes:
        """Trained once for the same texts; see `learned`."""
        settings = {"pieces": self.vocab_size, "character_coverage": self.character_coverage}
        return learned(
            texts, settings, lambda: train_pieces(texts, self.vocab_size, self.character_coverage)
        )


class TinyMarian(_Scratch):
    """A Marian of a few layers; source and target share one vocabulary and one embedding."""

    path = "tiny_marian"
    _files: TemporaryDirectory[str] | None = None

    def tokenizer(self, texts: Iterable[str]) -> Tokenizer:
        """Pieces of `texts`, in the three files of a Marian checkpoint.

        Raises:
            UserError: there are more characters than pieces.
        """
        pieces = self._pieces(texts)
        self._files = TemporaryDirectory(prefix="marian-")  # a copy of the tokenizer reads it again
        folder = Path(self._files.name)
        for name in ("source.spm", "target.spm"):
            (folder / name).write_bytes(pieces)
        processor = sentencepiece.SentencePieceProcessor(model_proto=pieces)
        vocabulary = {processor.id_to_piece(i): i for i in range(len(processor))}
        (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        return MarianTokenizer.from_pretrained(folder)

    def build(self, head: Head, tokenizer: Tokenizer) -> PreTrainedModel:
        """Random weights; the same ones for the same seed.

        With Marian's own initial weights (standard deviation 0.02) and unscaled embeddings, so small
        a model hardly learns.
        """
        config = MarianConfig(
            vocab_size=len(tokenizer),
            d_model=self.hidden_size,
            encoder_layers=self.layers,
            decoder_layers=self.layers,
            encoder_attention_heads=self.heads,
            decoder_attention_heads=self.heads,
            encoder_ffn_dim=2 * self.hidden_size,
            decoder_ffn_dim=2 * self.hidden_size,
            dropout=self.dropout,
            activation_function="relu",
            scale_embedding=True,
            init_std=0.06,
            max_position_embeddings=MAX_POSITIONS,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            forced_eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
            **head.config,
        )
        return auto_class(head, config, f"model={self.path}").from_config(config)


class TinyT5(_Scratch):
    """A T5 of a few layers."""

    path = "tiny_t5"

    def tokenizer(self, texts: Iterable[str]) -> Tokenizer:
        """Pieces of `texts`, without the sentinels that T5 is pretrained with.

        It is loaded from a folder, as T5Tokenizer(vocab_file=...) does not read its file.

        Raises:
            UserError: there are more characters than pieces.
        """
        with TemporaryDirectory(prefix="t5-") as name:
            folder = Path(name)
            (folder / "spiece.model").write_bytes(self._pieces(texts))
            (folder / "config.json").write_text('{"model_type": "t5"}')
            return T5Tokenizer.from_pretrained(folder, extra_ids=0)

    def build(self, head: Head, tokenizer: Tokenizer) -> PreTrainedModel:
        """Random weights; the same ones for the same seed."""
        config = T5Config(
            vocab_size=len(tokenizer),
            d_model=self.hidden_size,
            d_kv=self.hidden_size // self.heads,
            d_ff=2 * self.hidden_size,
            num_layers=self.layers,
            num_heads=self.heads,
            dropout_rate=self.dropout,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
            **head.config,
        )
        return auto_class(head, config, f"model={self.path}").from_config(config)


def train_pieces(texts: Iterable[str], vocab_size: int | str, coverage: float) -> bytes:
    """A SentencePiece unigram model (Kudo, 2018, https://aclanthology.org/P18-1007), serialised.

    The same texts give the same model in every process; with the size "auto" they are read twice.
    Characters stay as they are: what the model learns to write has to be what the references hold,
    full-width punctuation included.

    Raises:
        UserError: there are more characters than pieces, or no texts.
    """
    if vocab_size == AUTO:
        characters = {character for text in texts for character in text}
        vocab_size = vocabulary_size(LEAST_PIECES, characters, len(characters) + SPECIAL_PIECES)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,  # fewer, if the texts have not enough
            character_coverage=coverage,
            normalization_rule_name="identity",
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNK,
            bos_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        why = str(error).rpartition("] ")[2].strip()  # behind file, line and condition in C++
        raise UserError(
            f"model.vocab_size={vocab_size}: SentencePiece cannot learn pieces from the texts: {why} "
            "(model.vocab_size=auto fits the size to them, a smaller model.character_coverage leaves "
            "rare characters out)"
        ) from error
    return model.getvalue()
