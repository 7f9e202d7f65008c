"""The vocabulary of a small BERT fits the texts, and no tokenizer is trained twice for the same ones."""

from pathlib import Path
from typing import Any

import pytest

from conftest import SMALL_TASKS, composed
from expkit.experiment import prepare
from expkit.models import seq2seq
from expkit.models.scratch import TinyBert

CHINESE = "".join(map(chr, range(0x4E00, 0x4E00 + 1500)))


@pytest.mark.parametrize(
    ("size", "unknown", "pieces"), [(2000, True, 2000), ("auto", False, 5 + 2 * 1501 + 1)]
)
def test_a_size_that_fits_the_texts(size: int | str, unknown: bool, pieces: int) -> None:
    """2,000 pieces hold each character at the start of a word, but not each within one."""
    tokenizer = TinyBert(size, 8, 1, 1, 0.0).tokenizer([CHINESE, "aa"])
    assert len(tokenizer) == pieces
    within = [f"##{character}" for character in CHINESE]
    assert any(piece not in tokenizer.get_vocab() for piece in within) == unknown


def test_few_characters_leave_room_for_words() -> None:
    texts = [" ".join(f"{a}{b}{c}" for a in "abcdefghijklmn" for b in "op" for c in "qrstuvwxyz")]
    sized = [TinyBert(size, 8, 1, 1, 0.0).tokenizer(texts) for size in ("auto", 2000)]
    assert sized[0].get_vocab() == sized[1].get_vocab()


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_marian", "tiny_t5"])
def test_a_second_run_trains_no_tokenizer(
    model: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = "text_classification" if model == "tiny_bert" else "translation"
    trained: list[Any] = []
    for owner, name in ((seq2seq, "train_pieces"), (TinyBert, "_pieces")):
        real = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *args, real=real: trained.append(args) or real(*args)
        )

    def run(*overrides: str) -> dict[str, int]:
        options = (*SMALL_TASKS[task], f"model={model}", *overrides)
        prepared = prepare(composed(*options))
        assert "model.vocab_size=auto: " in capsys.readouterr().out
        return dict(prepared.tokenizer.get_vocab())

    first = run()
    assert len(trained) == 1
    assert run("seed=7", "model.hidden_size=16") == first
    assert len(trained) == 1
    assert run("data.sizes.train=48") != first, "other texts"
    assert len(trained) == 2


def test_real_chinese_and_japanese_texts_need_no_further_keys(
    shared_data: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "translation_zh_ja" / "python_docs"
    prepared = prepare(
        composed(
            *("task=translation", "data=files", f"data.train_file={folder / 'train.jsonl'}"),
            f"data.validation_file={folder / 'validation.jsonl'}",
            *("data.max_train_examples=2000", "data.max_eval_examples=20", "precision=fp32"),
        )
    )
    assert "for texts of 1" in capsys.readouterr().out, "more than 1,000 characters"
    assert len(prepared.tokenizer) > 1000
    unknown = prepared.tokenizer.unk_token_id
    assert all(unknown not in ids for ids in prepared.encoded["train"]["labels"][:])
