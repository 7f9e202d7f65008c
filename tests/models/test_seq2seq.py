"""Tokenizers that survive saving and are the same in every process, and models that learn."""

import copy
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
import transformers
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from expkit.data.demo.phrasebook import examples
from expkit.models.seq2seq import TinyMarian, TinyT5, train_pieces
from expkit.tasks.interface import Head
from expkit.terminal.errors import UserError

PAIRS = [record["translation"] for record in examples("train", 200, 0)]
TEXTS = [pair["zh"] for pair in PAIRS] + [pair["ja"] for pair in PAIRS]
BUILDERS = {"marian": TinyMarian, "t5": TinyT5}
Builder = TinyMarian | TinyT5


def builder(name: str, vocab_size: int | str = 800, coverage: float = 1.0) -> Builder:
    return BUILDERS[name](vocab_size, coverage, hidden_size=16, layers=1, heads=2, dropout=0.0)


@pytest.fixture(scope="module", params=BUILDERS)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return builder(request.param).tokenizer(iter(TEXTS))


def encoded(tokenizer: PreTrainedTokenizerBase) -> Any:
    sources, targets = ([pair[language] for pair in PAIRS] for language in ("zh", "ja"))
    return dict(tokenizer(sources, text_target=targets))


def test_texts_come_back_as_they_were(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = encoded(tokenizer)
    for name, language in (("input_ids", "zh"), ("labels", "ja")):
        decoded = tokenizer.batch_decode(ids[name], skip_special_tokens=True)
        assert decoded == [pair[language] for pair in PAIRS]
        assert {row[-1] for row in ids[name]} == {tokenizer.eos_token_id}
    assert tokenizer.unk_token_id not in {i for row in ids["labels"] for i in row}


def test_full_width_punctuation_is_kept(tokenizer: PreTrainedTokenizerBase) -> None:
    assert "？" in "".join(TEXTS)
    ids = tokenizer("？")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "？"


@pytest.mark.parametrize("name", BUILDERS)
def test_tokenizer_survives_saving(name: str, tmp_path: Path) -> None:
    """Also when what made it is gone, and with it the files that it was loaded from."""
    tokenizer = builder(name).tokenizer(TEXTS)
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    assert type(reloaded) is type(tokenizer)
    assert len(reloaded) == len(tokenizer)
    ids = encoded(tokenizer)
    assert encoded(reloaded) == ids
    for name in ("input_ids", "labels"):
        assert reloaded.batch_decode(ids[name]) == tokenizer.batch_decode(ids[name])
    for name in ("pad_token_id", "eos_token_id", "unk_token_id"):
        assert getattr(reloaded, name) == getattr(tokenizer, name)


def test_marian_has_the_files_of_a_marian_checkpoint(tmp_path: Path) -> None:
    tokenizer = builder("marian").tokenizer(TEXTS)
    tokenizer.save_pretrained(tmp_path)
    assert {"source.spm", "target.spm", "vocab.json"} <= {f.name for f in tmp_path.iterdir()}
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "target.spm"))
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    assert vocabulary == {pieces.id_to_piece(i): i for i in range(len(pieces))}
    assert tokenizer(text_target=TEXTS[-1])["input_ids"][:-1] == pieces.encode(TEXTS[-1])


def test_a_marian_tokenizer_can_be_copied() -> None:
    marian = builder("marian")
    tokenizer = marian.tokenizer(TEXTS)
    assert encoded(copy.deepcopy(tokenizer)) == encoded(tokenizer)


def test_t5_has_the_pieces_of_its_file_and_no_sentinels() -> None:
    tokenizer = builder("t5").tokenizer(TEXTS)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=train_pieces(TEXTS, 800, 1.0))
    assert len(tokenizer) == len(pieces)
    assert tokenizer(TEXTS[0])["input_ids"][:-1] == pieces.encode(TEXTS[0])
    assert "<extra_id_0>" not in tokenizer.get_vocab()


def test_pieces_are_the_same_in_every_process() -> None:
    program = (
        "import hashlib; from expkit.models.seq2seq import train_pieces;"
        "from expkit.data.demo.phrasebook import examples;"
        "pairs = [r['translation'] for r in examples('train', 200, 0)];"
        "texts = [p['zh'] for p in pairs] + [p['ja'] for p in pairs];"
        "print(hashlib.sha256(train_pieces(texts, 800, 1.0)).hexdigest())"
    )
    here = hashlib.sha256(train_pieces(TEXTS, 800, 1.0)).hexdigest()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
        )
        assert done.stdout.strip() == here, done.stderr


def test_more_characters_than_pieces() -> None:
    with pytest.raises(UserError, match=r"model.vocab_size=64: .*required_chars. 64 vs \d+"):
        builder("marian", vocab_size=64).tokenizer(TEXTS)
    least = builder("t5", vocab_size=800).tokenizer(TEXTS)
    characters = len(set("".join(TEXTS)))
    vocab_size = characters - 10
    with pytest.raises(UserError):
        builder("t5", vocab_size).tokenizer(TEXTS)
    fewer = builder("t5", vocab_size, coverage=0.98).tokenizer(TEXTS)
    assert len(fewer) <= vocab_size < len(least)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize(
    ("texts", "size"),
    [
        (TEXTS, 1000),
        (["".join(map(chr, range(s, s + 30))) for s in range(0x4E00, 0x4E00 + 3000, 30)], 2 * 3004),
        (["ab ba"], 1000),
    ],
)
def test_a_size_that_fits_the_texts(
    name: str, texts: list[str], size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = builder(name, "auto").tokenizer(texts)
    assert tokenizer.unk_token_id not in tokenizer("".join(texts))["input_ids"]
    characters = len(set("".join(texts)))
    said = f"model.vocab_size=auto: {size} pieces at most, for texts of {characters} characters"
    assert said in capsys.readouterr().out
    if texts == TEXTS:
        assert tokenizer.get_vocab() == builder(name, size).tokenizer(texts).get_vocab()


def test_no_texts() -> None:
    with pytest.raises(UserError, match=r"model.vocab_size=800: SentencePiece cannot learn"):
        builder("t5").tokenizer([])


@pytest.mark.parametrize("name", BUILDERS)
def test_model_starts_with_padding_and_has_the_same_weights_for_a_seed(name: str) -> None:
    tokenizer = builder(name).tokenizer(TEXTS)
    models = []
    for _ in range(2):
        transformers.set_seed(3)
        models.append(builder(name).build(Head("AutoModelForSeq2SeqLM"), tokenizer))
    one, other = models
    assert one.config.vocab_size == len(tokenizer)
    assert one.config.decoder_start_token_id == one.config.pad_token_id == tokenizer.pad_token_id
    assert one.generation_config.eos_token_id == tokenizer.eos_token_id
    for key, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[key]), key
    embedding = one.get_input_embeddings().weight
    assert one.get_output_embeddings().weight is embedding


def test_another_head_is_refused() -> None:
    marian = builder("marian")
    with pytest.raises(UserError, match=r"model=tiny_marian: .* type marian.* needs a masked"):
        marian.build(Head("AutoModelForMaskedLM"), marian.tokenizer(TEXTS))
