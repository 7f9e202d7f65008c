"""A logged model is read from safetensors, and the code beside it is not run."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from expkit.models.checkpoint import Checkpoint
from expkit.models.scratch import TinyBert
from expkit.tasks.interface import Head
from expkit.terminal.errors import UserError
from expkit.tracking.model import load_model

FLAVOR = {"pipeline_model_type": "BertForMaskedLM", "tokenizer_type": "BertTokenizer"}


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A model as MLflow lays it out."""
    builder = TinyBert(60, 8, 1, 1, 0.0)
    tokenizer = builder.tokenizer(["a b c"])
    model = builder.build(Head("AutoModelForMaskedLM"), tokenizer)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "components" / "tokenizer")
    describe(tmp_path)
    return tmp_path


def describe(folder: Path, **flavor: Any) -> None:
    text = {"flavors": {"transformers": {**FLAVOR, **flavor}}}
    (folder / "MLmodel").write_text(yaml.safe_dump(text))


def test_what_was_logged_is_loaded(logged: Path) -> None:
    (logged / "code").mkdir()
    (logged / "code" / "sentencepiece.py").write_text("raise SystemExit")
    describe(logged, code="code")
    path = list(sys.path)
    model, tokenizer = load_model(str(logged))
    assert type(model).__name__ == FLAVOR["pipeline_model_type"]
    assert tokenizer("a b")["input_ids"]
    assert sys.path == path


@pytest.mark.parametrize("name", ["Evil", "pipeline", "BertConfig"])
def test_a_class_that_is_no_model_is_refused(name: str, logged: Path) -> None:
    describe(logged, pipeline_model_type=name)
    with pytest.raises(UserError, match=f"{name}"):
        load_model(str(logged))


def test_pickled_weights_are_refused(logged: Path) -> None:
    (weights,) = (logged / "model").glob("*.safetensors")
    weights.unlink()
    torch.save({}, logged / "model" / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        load_model(str(logged))
    # A file of that kind that is not the weights does not make them so.
    (logged / "model" / "adapter.safetensors").write_bytes(b"")
    builder = Checkpoint(str(logged / "model"))
    with pytest.raises(UserError, match=r"cannot be loaded: .*safetensors"):
        builder.build(Head("AutoModelForMaskedLM"), None)  # type: ignore[arg-type]
