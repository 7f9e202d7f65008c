"""Tokenizers that are given words: which may, and what a byte-level one needs for it."""

import json
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Metaspace, PreTokenizer, Sequence
from tokenizers.processors import ByteLevel as ByteLevelOffsets
from transformers import (
    AutoTokenizer,
    ByT5Tokenizer,
    GPT2Tokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForTokenClassification,
    RobertaTokenizer,
)

from conftest import TINY, composed
from expkit.config.checks import check
from expkit.experiment import run
from expkit.tasks.tagging.pretokenized import require_words, take_words
from expkit.terminal.errors import UserError

TEXTS = ["John Smith saw a dog", "a b", "they don't, said Smith", "in 2024 a cat"]
WORDS = ["John", "Smith", ",", "don't", "東京", "2024"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def trained(splitter: PreTokenizer) -> Tokenizer:
    """Byte pairs of TEXTS."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = splitter
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXTS * 9, trainer)
    return backend


def pairs(backend: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges."""
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def roberta() -> PreTrainedTokenizerBase:
    vocab, merges = pairs(trained(ByteLevel(add_prefix_space=False)))
    return RobertaTokenizer(vocab=vocab, merges=merges)


def gpt2() -> PreTrainedTokenizerBase:
    vocab, merges = pairs(trained(ByteLevel(add_prefix_space=False)))
    return GPT2Tokenizer(vocab=vocab, merges=merges)


def nameless() -> PreTrainedTokenizerBase:
    """One that is known by its tokenizer.json alone."""
    backend = trained(ByteLevel(add_prefix_space=False))
    backend.post_processor = ByteLevelOffsets(add_prefix_space=False, trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.mark.parametrize("make", [roberta, gpt2, nameless])
def test_byte_level_tokenizers_read_words_as_in_a_text(
    make: Callable[[], PreTrainedTokenizerBase], tmp_path: Path
) -> None:
    """Also after they were saved and loaded, and with offsets that do not count the space."""
    make().save_pretrained(tmp_path / "given")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "given")
    with pytest.raises(UserError, match="'a', 'b' is read as 'ab'"):
        require_words(tokenizer)
    in_text = tokenizer(" " + " ".join(WORDS))["input_ids"]
    take_words(tokenizer)
    take_words(tokenizer)  # a second time changes nothing
    tokenizer.save_pretrained(tmp_path / "saved")
    for one in (tokenizer, AutoTokenizer.from_pretrained(tmp_path / "saved")):
        assert one(WORDS, is_split_into_words=True)["input_ids"] == in_text
        assert one(" ".join(WORDS))["input_ids"] == in_text
        offsets = one("John Smith", return_offsets_mapping=True, add_special_tokens=False)
        assert offsets["offset_mapping"][0][0] == 0
        require_words(one)


def metaspace(**settings: str | bool) -> PreTrainedTokenizerBase:
    """Trained on whole texts, so that some pieces end with the space before the next word."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=SPECIAL, show_progress=False)
    backend.train_from_iterator(TEXTS * 9, trainer)
    backend.pre_tokenizer = Metaspace(**settings)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


@pytest.mark.parametrize("scheme", ["always", "first"])
def test_pieces_may_go_beyond_the_end_of_a_word(scheme: str) -> None:
    """Each word has the space before it, although the text has other tokens."""
    tokenizer = metaspace(prepend_scheme=scheme, split=False)
    of_words = tokenizer(["a", "b"], is_split_into_words=True)["input_ids"]
    assert of_words != tokenizer("a b")["input_ids"]
    require_words(tokenizer)


def test_tokenizers_that_drop_the_space_are_refused() -> None:
    message = r"TokenizersBackend .* 'a', 'b' is read as 'ab'; .* another model"
    with pytest.raises(UserError, match=message):
        take_words(metaspace(prepend_scheme="never", split=False))
    # With add_prefix_space, "a2024" would become "a 2024" here.
    splitter = Sequence([Digits(), ByteLevel(add_prefix_space=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained(splitter))
    before = tokenizer("a2024")["input_ids"]
    with pytest.raises(UserError, match=message):
        take_words(tokenizer)
    assert tokenizer("a2024")["input_ids"] == before


def test_tokenizers_that_know_no_words_are_refused() -> None:
    with pytest.raises(UserError, match=r"ByT5Tokenizer.*tokenizer.json"):
        take_words(ByT5Tokenizer())


def test_a_run_saves_the_tokenizer_that_it_used(tmp_path: Path, project: Path) -> None:
    """A RoBERTa learns tags of words, and is logged with the tokenizer that read them."""
    tokenizer = roberta()
    tokenizer.save_pretrained(tmp_path / "base")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(vocab_size=len(tokenizer), intermediate_size=32, **sizes)
    RobertaForTokenClassification(config).save_pretrained(tmp_path / "base")
    cfg = composed(
        *("task=token_classification", "model=checkpoint", f"model.path={tmp_path / 'base'}"),
        *(option for option in TINY if not option.startswith("model")),
        "train.max_steps=2",
    )
    check(cfg, [])
    run(cfg, {})
    take_words(tokenizer)
    expected = tokenizer(WORDS, is_split_into_words=True)["input_ids"]
    (folder,) = (project / "outputs" / "runs").iterdir()
    in_folder = AutoTokenizer.from_pretrained(folder / "model")
    parts = mlflow.transformers.load_model(f"runs:/{folder.name}/model", return_type="components")
    for saved in (in_folder, parts["tokenizer"]):
        assert saved(WORDS, is_split_into_words=True)["input_ids"] == expected
