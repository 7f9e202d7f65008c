"""Weights that a checkpoint lacks are the same ones in every run, and none is left as raw memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from expkit.models.checkpoint import Checkpoint
from expkit.tasks.interface import Head, naming
from expkit.terminal.errors import UserError
from small_tokenizers import wordpiece

SIZES = {
    **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "num_attention_heads"), 1),
}
# Kinds of models whose masked LM heads have a bias that transformers does not initialise (5.23), and two
# of which it initialises all weights.
KINDS: dict[str, dict[str, Any]] = {
    "Longformer": {"attention_window": 4},
    "Nystromformer": {},
    "FNet": {},
    "Data2VecText": {},
    "Bert": {},
    "Roberta": {},
}


@pytest.mark.parametrize("name", KINDS)
def test_new_weights_are_initialised(name: str, tmp_path: Path) -> None:
    config = getattr(transformers, f"{name}Config")(**SIZES, **KINDS[name])
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        rubbish = [
            torch.full((32,), 1e30) for _ in range(100)
        ]  # memory that will be handed out again
        del rubbish
        models.append(
            Checkpoint(str(tmp_path)).build(Head("AutoModelForMaskedLM"), wordpiece(["a"]))
        )
    one, other = (model.state_dict() for model in models)
    for key, weight in one.items():
        assert weight.isfinite().all(), key
        assert torch.equal(weight, other[key]), key
        if key.endswith("bias") and not key.startswith(models[0].base_model_prefix):
            assert not weight.any(), key
    assert torch.get_deterministic_debug_mode() == 0


def test_what_is_in_the_checkpoint_stays(tmp_path: Path) -> None:
    config = transformers.LongformerConfig(**SIZES, **KINDS["Longformer"])
    model = transformers.LongformerForMaskedLM(config)
    torch.nn.init.ones_(model.lm_head.bias)
    model.save_pretrained(tmp_path)
    loaded = Checkpoint(str(tmp_path)).build(Head("AutoModelForMaskedLM"), wordpiece(["a"]))
    assert (loaded.lm_head.bias == 1).all()


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Bert": {},
    "Roberta": {},
    "Electra": {},
    "XLNet": {"d_model": 32, "n_head": 1, "d_inner": 32, "n_layer": 1},
    "DistilBert": {"dim": 32, "n_heads": 1, "hidden_dim": 32, "n_layers": 1},
    "GPT2": {"n_embd": 32, "n_head": 1, "n_layer": 1},
    "Bart": {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1},
}
# name: (labels of the checkpoint, those of the task, the row that each of these gets, what is said)
LABELS: dict[str, tuple[list[str] | None, list[str], list[int] | None, str]] = {
    "the same": (["a", "b", "c"], ["a", "b", "c"], [0, 1, 2], ""),
    "another order": (["a", "b", "c"], ["c", "a", "b"], [2, 0, 1], "each goes on as one of c, a, b"),
    "another case": (["NO", "YES", "?"], ["yes", "?", "no"], [1, 2, 0], "labels NO, YES, ?; each"),
    "others": (["a", "b", "c"], ["a", "b", "d"], None, "it starts anew for a, b, d"),
    "fewer": (["a", "b"], ["a", "b", "c"], None, "it starts anew for a, b, c"),
    "twins": (["a", "A", "b"], ["A", "a", "b"], None, "it starts anew for A, a, b"),
    "no names": (None, ["a", "b", "c"], [0, 1, 2], "does not name its labels"),
}  # fmt: skip


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("then", "now", "rows", "said"), LABELS.values(), ids=list(LABELS))
def test_rows_of_a_trained_head_follow_its_labels(
    name: str,
    then: list[str] | None,
    now: list[str],
    rows: list[int] | None,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"id2label": dict(enumerate(then))} if then else {"num_labels": 3}
    sizes = {"vocab_size": 32, "pad_token_id": 0, **(ARCHITECTURES[name] or SIZES)}
    config = getattr(transformers, f"{name}Config")(**sizes, **names)
    trained = transformers.AutoModelForSequenceClassification.from_config(config)
    trained.save_pretrained(tmp_path)
    labels = {"num_labels": len(now), "id2label": dict(enumerate(now))}
    labels["label2id"] = {label: i for i, label in enumerate(now)}
    head = Head("AutoModelForSequenceClassification", labels)
    loaded = Checkpoint(str(tmp_path)).build(head, wordpiece(["a"]))
    assert loaded.config.id2label == dict(enumerate(now))
    before, after = output(trained), output(loaded)
    if rows is None:
        assert not any(torch.equal(one, other) for one in before for other in after)
    else:
        assert torch.equal(before[rows], after)
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(printed) == bool(said)


def test_a_head_without_rows_keeps_its_labels(tmp_path: Path) -> None:
    small = ("num_latents", "num_blocks", "num_self_attends_per_block")
    heads = ("num_self_attention_heads", "num_cross_attention_heads")
    sizes = dict.fromkeys(("d_latents", "d_model", "vocab_size", "max_position_embeddings"), 32)
    config = transformers.PerceiverConfig(
        **sizes, **dict.fromkeys((*small, *heads), 1), id2label={0: "a", 1: "b"}
    )
    transformers.PerceiverForSequenceClassification(config).save_pretrained(tmp_path)

    def build(*labels: str) -> Any:
        head = Head("AutoModelForSequenceClassification", naming(labels))
        return Checkpoint(str(tmp_path)).build(head, wordpiece(["a"]))

    assert build("a", "b").config.id2label == {0: "a", 1: "b"}
    with pytest.raises(UserError, match="has to keep its labels a, b"):
        build("b", "a")


def output(model: torch.nn.Module) -> torch.Tensor:
    """The weight that gives the labels their scores."""
    names = ("classifier.weight", "out_proj.weight", "score.weight", "logits_proj.weight")
    return [w for n, w in model.named_parameters() if n.endswith(names) and "attn" not in n][-1]
