"""Tokenised examples are made once, whoever asks, and found whole or not at all."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from conftest import encoded_by
from expkit.data import cache
from expkit.data.cache import cached, digest_of_tokenizer, learned
from expkit.data.splits import Columns, Texts
from expkit.models.scratch import TinyBert
from expkit.terminal.display import say
from expkit.terminal.errors import UserError

FACTS = {"split": "abc", "tokenizer": "def"}


def made(count: int = 3) -> list[Columns]:
    return [{"input_ids": [[i, i + 1]]} for i in range(count)]


def never() -> list[Columns]:
    raise AssertionError("made once more")


def test_the_same_facts_are_made_once(project: Path) -> None:
    assert cached(FACTS, made).to_dict() == encoded_by(made()).to_dict()
    assert cached(dict(reversed(FACTS.items())), never).to_dict() == encoded_by(made()).to_dict()


@pytest.mark.parametrize("change", [{"split": "other"}, {"tokenizer": "other"}, {"more": 1}])
def test_other_facts_are_another_entry(change: dict[str, object], project: Path) -> None:
    cached(FACTS, made)
    assert len(cached({**FACTS, **change}, lambda: made(5))) == 5


def test_what_was_said_is_said_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def talk() -> list[Columns]:
        say("7 tokens dropped")
        return made()

    cached(FACTS, talk)
    assert capsys.readouterr().out.count("7 tokens dropped") == 1
    cached(FACTS, never)
    assert capsys.readouterr().out.count("7 tokens dropped") == 1


def test_an_entry_that_is_cut_short_is_no_entry(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it was written: nothing has its name, and the next one makes it anew."""
    monkeypatch.setattr(Path, "rename", lambda *args: os._exit(9))
    child = multiprocessing.get_context("fork").Process(target=lambda: cached(FACTS, made))
    child.start()
    child.join()
    assert child.exitcode == 9
    monkeypatch.undo()
    assert list((project / "outputs" / "cache" / "tokens").iterdir())
    assert cached(FACTS, lambda: made(4)).to_dict() == encoded_by(made(4)).to_dict()


def test_the_oldest_entries_make_room(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        cached({"number": i}, made)
        time.sleep(0.02)
    cached({"number": 0}, never)  # used again, so that number 1 is the oldest
    size = sum(f.stat().st_size for f in (project / "outputs").rglob("*") if f.is_file())
    monkeypatch.setattr(cache, "LIMIT", size)
    cached({"number": 3}, made)
    for kept in (0, 2, 3):
        cached({"number": kept}, never)
    with pytest.raises(AssertionError, match="made once more"):
        cached({"number": 1}, never)


def test_tokenizers_differ_by_vocabulary_and_settings() -> None:
    def tokenizer(*texts: str) -> object:
        return TinyBert(50, 8, 1, 1, 0.0).tokenizer(texts)

    same = digest_of_tokenizer(tokenizer("a b c"))  # type: ignore[arg-type]
    assert digest_of_tokenizer(tokenizer("a b c")) == same  # type: ignore[arg-type]
    assert digest_of_tokenizer(tokenizer("a b d")) != same  # type: ignore[arg-type]
    shorter = tokenizer("a b c")
    shorter.model_max_length = 7  # type: ignore[attr-defined]
    assert digest_of_tokenizer(shorter) != same  # type: ignore[arg-type]


def fill(folder: Path, worker: int) -> None:
    os.chdir(folder)
    for i in range(25):
        cached({"worker": worker, "number": i}, made)


def test_processes_that_write_at_once_do_not_disturb_each_other(project: Path) -> None:
    """Entries get their names while others are being measured."""
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=fill, args=(project, worker)) for worker in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    entries = list((project / "outputs" / "cache" / "tokens").iterdir())
    assert len(entries) == 100


def test_what_was_learned_from_texts_is_learned_once(project: Path) -> None:
    texts = Texts(lambda: iter(["a", "b"]), "digest")
    assert list(texts) == list(texts) == ["a", "b"]
    assert learned(texts, {"size": 1}, lambda: b"one") == b"one"
    assert learned(texts, {"size": 1}, lambda: b"two") == b"one"
    assert learned(texts, {"size": 2}, lambda: b"two") == b"two", "other settings"
    assert learned(Texts(texts.read, "other"), {"size": 1}, lambda: b"three") == b"three"
    assert learned(["a", "b"], {"size": 1}, lambda: b"four") == b"four", "nobody knows which texts"
    with pytest.raises(UserError):
        learned(texts, {"size": 3}, fails)
    assert learned(texts, {"size": 3}, lambda: b"five") == b"five", "a failure is not kept"


def fails() -> bytes:
    raise UserError("more characters than pieces")
