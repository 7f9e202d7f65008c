"""A cache of tokenised examples and of trained tokenizers, so that nothing is made twice.

An entry is a folder whose name is a digest of everything that decides its content, such as data,
settings and tokenizer. So no entry is ever invalidated: when one of these changes, the name changes
too. An entry is written under another name and then renamed, so no process sees half of an entry
that another one is writing.
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

from expkit.config.fingerprint import digest_of, digest_of_values
from expkit.config.project import output_dir
from expkit.data.splits import Columns, Texts
from expkit.terminal.display import recorded, say
from expkit.terminal.errors import DataError

T = TypeVar("T")

LIMIT = 10 * 2**30  # bytes of all entries; the least recently used ones are removed first
LIBRARIES = ("transformers", "tokenizers", "datasets", "sentencepiece")
CONTENT = "content"  # a table of examples, or a tokenizer's pieces
SAID = "said.json"  # the messages that were shown while the entry was made


def cached(identity: Mapping[str, Any], make: Callable[[], Iterable[Columns]]) -> Dataset:
    """All chunks that `make` yields as one table, which is taken from the cache if it is there.

    Each chunk is written as it comes. The table is then mapped into memory from the file.

    Args:
        identity: everything that decides what `make` yields.

    Raises:
        DataError: there is no chunk.
    """
    return _entry(identity, partial(_write, make), lambda file: Dataset.from_file(str(file)))


def learned(texts: Iterable[str], settings: Mapping[str, Any], learn: Callable[[], bytes]) -> bytes:
    """What `learn` makes of the texts, which is taken from the cache if it is there.

    The cache is used for `Texts` only, as these have a digest: others would have to be read first.
    """
    if not isinstance(texts, Texts):
        return learn()
    identity = {"learned with": settings, "texts": texts.digest}
    return _entry(identity, lambda file: file.write_bytes(learn()), Path.read_bytes)


def _entry(
    identity: Mapping[str, Any], write: Callable[[Path], object], read: Callable[[Path], T]
) -> T:
    """Read the entry with this identity, after writing it if it is not there yet.

    Messages that were shown while it was written are shown again. Its name also depends on the source
    of expkit and on the versions of the libraries that do the work.
    """
    made_by = {name: version(name) for name in LIBRARIES}
    made_by["expkit"] = digest_of(Path(__file__).parents[1], "*.py")
    entry = output_dir() / "cache" / "tokens" / digest_of_values({**identity, "made by": made_by})
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
    return made


def digest_of_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """The digest of all files that a tokenizer is saved in."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return digest_of(Path(folder))


def _read(entry: Path, read: Callable[[Path], T]) -> T | None:
    """The content of an entry; None if there is no such entry, or another process removes it."""
    try:
        said = json.loads((entry / SAID).read_text(encoding="utf-8"))
        os.utime(entry)  # marks it as used now
        content = read(entry / CONTENT)
    except OSError:
        return None
    for message in said:
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
    """Remove the oldest entries, and those that killed processes left unfinished, until all fit."""
    entries = sorted((*_measured(entry), entry) for entry in newest.parent.iterdir())
    total = sum(size for _, size, _ in entries)
    for _, size, entry in entries:
        if total <= LIMIT:
            return
        if entry != newest:
            shutil.rmtree(entry, ignore_errors=True)
            total -= size


def _measured(entry: Path) -> tuple[float, int]:
    """When an entry was last used or written, and its bytes; zeros if another process removes it."""
    try:
        files = [file.stat() for file in entry.rglob("*") if file.is_file()]
        used = max(file.st_mtime for file in [entry.stat(), *files])
        return used, sum(file.st_size for file in files)
    except OSError:
        return 0.0, 0
