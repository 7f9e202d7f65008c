"""Tokenised examples and trained tokenizers, kept by what they were made from: nothing is made twice.

An entry is a folder whose name is a digest of data, settings and tokenizer, so it never has to be
invalidated: whatever changes gets another name. An entry is written beside its place and renamed,
so that processes that make the same one at the same time do not see half of it.
"""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset
from datasets.arrow_writer import ArrowWriter, SchemaInferenceError
from transformers import PreTrainedTokenizerBase

from expkit.config.fingerprint import digest_of, digest_of_facts
from expkit.config.project import output_dir
from expkit.data.splits import Columns, Texts
from expkit.terminal.display import recorded, say
from expkit.terminal.errors import DataError

T = TypeVar("T")

LIMIT = 10 * 2**30  # bytes of all entries; the ones that were not used for longest go first
LIBRARIES = ("transformers", "tokenizers", "datasets", "sentencepiece")
CONTENT = "content"  # a table of examples, or a tokenizer's pieces
SAID = "said.json"  # what was said while an entry was made


def cached(facts: Mapping[str, Any], make: Callable[[], Iterable[Columns]]) -> Dataset:
    """The chunks that `make` yields as one table, or what it yielded for the same `facts` before.

    They are written as they come, and mapped into memory from the file.

    Raises:
        DataError: there is no chunk.
    """
    return _entry(facts, partial(_write, make), lambda file: Dataset.from_file(str(file)))


def learned(texts: Iterable[str], settings: Mapping[str, Any], learn: Callable[[], bytes]) -> bytes:
    """What `learn` makes of texts, or what it made of the same ones with the same settings before.

    Only of `Texts` it is known, without reading them, whether they are the same.
    """
    if not isinstance(texts, Texts):
        return learn()
    facts = {"learned with": settings, "texts": texts.digest}
    return _entry(facts, lambda file: file.write_bytes(learn()), Path.read_bytes)


def _entry(
    facts: Mapping[str, Any], write: Callable[[Path], object], read: Callable[[Path], T]
) -> T:
    """What can be read from a file that was written for the same `facts`, now or before.

    What was said while it was written is said again. An entry also depends on the source of expkit and
    the versions of the libraries that do the work.
    """
    made_by = {name: version(name) for name in LIBRARIES}
    made_by["expkit"] = digest_of(Path(__file__).parents[1], "*.py")
    entry = output_dir() / "cache" / "tokens" / digest_of_facts({**facts, "made by": made_by})
    if (found := _read(entry, read)) is not None:
        return found
    unfinished = entry.with_name(f"{entry.name}.{uuid.uuid4().hex[:8]}.unfinished")
    unfinished.mkdir(parents=True)
    try:
        with recorded() as said:
            write(unfinished / CONTENT)
        text = json.dumps(list(said), ensure_ascii=False)
        (unfinished / SAID).write_text(text, encoding="utf-8")
        made = read(unfinished / CONTENT)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    try:
        unfinished.rename(entry)
    except OSError:  # another process was faster
        shutil.rmtree(unfinished, ignore_errors=True)
    _make_room(entry)
    return _read(entry, read, silent=True) or made


def digest_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """The digest of all files that a tokenizer is saved in."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return digest_of(Path(folder))


def _read(entry: Path, read: Callable[[Path], T], silent: bool = False) -> T | None:
    """The content of an entry that is there; None if it is not, or is removed meanwhile."""
    try:
        said = json.loads((entry / SAID).read_text(encoding="utf-8"))
        os.utime(entry)  # it was used now
        content = read(entry / CONTENT)
    except OSError:
        return None
    for message in [] if silent else said:
        say(message)
    return content


def _write(make: Callable[[], Iterable[Columns]], file: Path) -> None:
    with ArrowWriter(path=str(file)) as writer:
        for chunk in make():
            writer.write_batch(chunk)
        try:
            writer.finalize()
        except SchemaInferenceError:
            raise DataError("data: the task made no example of a split") from None


def _make_room(newest: Path) -> None:
    """Remove the oldest entries until the others fit; also what killed processes left."""
    entries = sorted((*_measured(entry), entry) for entry in newest.parent.iterdir())
    total = sum(size for _, size, _ in entries)
    for _, size, entry in entries:
        if total <= LIMIT:
            return
        if entry != newest:
            shutil.rmtree(entry, ignore_errors=True)
            total -= size


def _measured(entry: Path) -> tuple[float, int]:
    """When it was used or written, and its bytes; nothing if another process removes it meanwhile."""
    try:
        files = [file.stat() for file in entry.rglob("*") if file.is_file()]
        used = max(file.st_mtime for file in [entry.stat(), *files])
        return used, sum(file.st_size for file in files)
    except OSError:
        return 0.0, 0
