"""Masked language modelling: blocks, masks, loss at hidden positions only."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers

from conftest import composed, encoded_by
from expkit.config.components import make
from expkit.data.files import load
from expkit.data.splits import Splits
from expkit.models import lora
from expkit.models.scratch import TinyBert
from expkit.tasks.masked_lm import MaskedLM
from expkit.terminal.errors import DataError, UserError
from expkit.training.evaluation import EvalSet, evaluate

TEXTS = [f"the {a} {b} sat on the {c}" for a in "abcde" for b in "vwxyz" for c in "mnop"]
CONFIG = transformers.BertConfig()


def task(**settings: Any) -> MaskedLM:
    overrides = [f"task.{key}={json.dumps(value)}" for key, value in settings.items()]
    return make(composed("task=masked_lm", *overrides), "task")


def data(folder: Path, texts: list[str]) -> Splits:
    file = folder / "text.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return load(str(file), str(file), None, None, None)


@pytest.fixture
def tokenizer() -> transformers.PreTrainedTokenizerBase:
    return TinyBert(100, 16, 1, 2, 0.0).tokenizer(TEXTS)


def test_blocks_hold_the_text_without_gaps(
    tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> None:
    """2,500 texts are several batches of the map; nothing is lost between them."""
    many = TEXTS * 25
    in_a_row = [i for text in many for i in tokenizer(text)["input_ids"]]
    split = data(tmp_path, many).train
    blocks = encoded_by(task(block_size=32).encode(split, tokenizer, CONFIG))
    joined = [i for block in blocks["input_ids"] for i in block]
    assert joined == in_a_row[: len(in_a_row) // 32 * 32]
    assert set(blocks["length"]) == {32}
    kept = encoded_by(task(block_size=32, remainder="keep").encode(split, tokenizer, CONFIG))
    assert [i for block in kept["input_ids"] for i in block] == in_a_row


def test_what_is_dropped_is_said(
    tmp_path: Path,
    tokenizer: transformers.PreTrainedTokenizerBase,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoded_by(task(block_size=32).encode(data(tmp_path, TEXTS[:10]).train, tokenizer, CONFIG))
    tokens = sum(len(tokenizer(text)["input_ids"]) for text in TEXTS[:10])
    assert f"{tokens} tokens in blocks of 32, {tokens % 32} dropped" in capsys.readouterr().out


def test_text_shorter_than_a_block(
    tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> None:
    with pytest.raises(DataError, match=r"text.jsonl: has 9 tokens.*task.block_size=128"):
        encoded_by(task().encode(data(tmp_path, TEXTS[:1]).train, tokenizer, CONFIG))


def eval_set(
    classification: MaskedLM, folder: Path, tokenizer: Any, model: Any, batch_size: int
) -> EvalSet:
    split = data(folder, TEXTS).validation
    encoded = encoded_by(classification.encode(split, tokenizer, CONFIG))
    return EvalSet(split, encoded, tokenizer, classification.collator(tokenizer, model), batch_size)


def built(tokenizer: Any) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    return TinyBert(100, 16, 1, 2, 0.0).build(task().head(), tokenizer)


def test_perplexity_is_the_same_twice_and_for_every_batch_size(
    tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> None:
    lm, model = task(block_size=16), built(tokenizer)
    one, again, small = (
        evaluate(model, lm, eval_set(lm, tmp_path, tokenizer, model, size)) for size in (64, 64, 3)
    )
    assert one.metrics == again.metrics
    assert small.metrics == pytest.approx(one.metrics, rel=1e-5)
    assert one.metrics["perplexity"] == pytest.approx(math.exp(one.metrics["loss"]))


@pytest.mark.parametrize("whole_words", [True, False])
def test_labels_are_the_hidden_tokens(
    whole_words: bool, tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> None:
    lm = task(block_size=32, whole_word_mask=whole_words, mlm_probability=0.3)
    encoded = encoded_by(lm.encode(data(tmp_path, TEXTS).train, tokenizer, CONFIG))
    examples = [encoded[i] for i in range(8)]
    batch = lm.collator(tokenizer, None)(examples, list(range(8)))  # type: ignore[arg-type]
    ids = torch.tensor([e["input_ids"] for e in examples])
    hidden = batch["labels"] != -100
    assert torch.equal(batch["labels"][hidden], ids[hidden])
    assert torch.equal(batch["input_ids"][~hidden], ids[~hidden])
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    assert not (hidden & special).any()
    assert 0.2 < hidden.float().mean() < 0.35
    other = lm.collator(tokenizer, None)(examples, list(range(8, 16)))  # type: ignore[arg-type]
    assert not torch.equal(other["labels"], batch["labels"])


def roberta() -> transformers.PreTrainedModel:
    config = transformers.RobertaConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
    )  # fmt: skip
    return transformers.RobertaForMaskedLM(config)


def distilbert() -> transformers.PreTrainedModel:
    config = transformers.DistilBertConfig(
        vocab_size=100, dim=16, n_layers=1, n_heads=2, hidden_dim=32, dropout=0, attention_dropout=0
    )
    return transformers.DistilBertForMaskedLM(config)


def bert() -> transformers.PreTrainedModel:
    config = transformers.BertConfig(
        vocab_size=100, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


def electra() -> transformers.PreTrainedModel:
    config = transformers.ElectraConfig(
        vocab_size=100, embedding_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
    )  # fmt: skip
    return transformers.ElectraForMaskedLM(config)


def albert() -> transformers.PreTrainedModel:
    config = transformers.AlbertConfig(
        vocab_size=100, embedding_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
    )  # fmt: skip
    return transformers.AlbertForMaskedLM(config)


def luke() -> transformers.PreTrainedModel:
    """With a pooler before the head."""
    config = transformers.LukeConfig(
        vocab_size=100, entity_vocab_size=10, entity_emb_size=8, hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )  # fmt: skip
    return transformers.LukeForMaskedLM(config)


def bert_with_lora() -> torch.nn.Module:
    settings = {"r": 2, "alpha": 4, "dropout": 0.0, "target_modules": ["query"]}
    return lora.apply(bert(), settings)


@pytest.mark.parametrize(
    "build", [bert, roberta, distilbert, electra, albert, luke, bert_with_lora]
)
def test_logits_at_hidden_positions_give_the_loss_and_gradients_of_all(build: Any) -> None:
    torch.manual_seed(0)
    model = build()
    ids = torch.randint(5, 100, (3, 12))
    labels = torch.where(torch.rand(3, 12) < 0.3, ids, -100)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    loss, logits = task().loss(model, batch)
    assert logits.shape == (int((labels != -100).sum()), 100), "only hidden positions"
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    full = model(input_ids=ids, attention_mask=batch["attention_mask"]).logits
    expected = F.cross_entropy(full.flatten(0, 1), labels.flatten(), reduction="sum")
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    assert gradients
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-5, atol=1e-6)


def test_baseline_is_the_unigram_perplexity() -> None:
    encoded = {
        "train": encoded_by([{"input_ids": [[7, 7, 7, 8]], "words": [[0, 1, 2, 3]]}]),
        "validation": encoded_by([{"input_ids": [[2, 7, 9]], "words": [[-1, 0, 1]]}]),
    }
    by_hand = math.exp(-(math.log(4 / 7) + math.log(1 / 7)) / 2)
    baseline = task().baseline(None, encoded)  # type: ignore[arg-type]
    assert baseline == {"unigram_perplexity": pytest.approx(by_hand)}


@pytest.mark.parametrize("text", ["猫が座った。" * 50, "ab" * 300 + " c", "", "one two"])
def test_the_input_example_is_answered(text: str, tmp_path: Path) -> None:
    """Also by a tokenizer that divides each word into its characters."""
    tokenizer = TinyBert(100, 16, 1, 2, 0.0).tokenizer([*TEXTS, *dict.fromkeys("猫が座った。abc")])
    lm = task(block_size=8)
    example = lm.input_example(data(tmp_path, [text, *TEXTS]).train)
    (rows,) = lm.answer(built(tokenizer).eval(), tokenizer, [{"text": example}])
    assert [row["mask"] for row in rows] == [1] * 5
    assert len(tokenizer(example.replace("[MASK]", tokenizer.mask_token))["input_ids"]) <= 8


def test_predict_fills_every_mask(tokenizer: transformers.PreTrainedTokenizerBase) -> None:
    lm, model = task(), built(tokenizer).eval()
    (rows,) = lm.answer(model, tokenizer, [{"text": "the [MASK] v sat [MASK] the m"}])
    assert [row["mask"] for row in rows] == [1] * 5 + [2] * 5
    assert rows[0]["probability"] >= rows[1]["probability"]
    with pytest.raises(UserError, match=r"has no \[MASK\] to fill"):
        lm.answer(model, tokenizer, [{"text": "nothing hidden"}])


def test_predict_refuses_to_cut_off_a_mask(
    tokenizer: transformers.PreTrainedTokenizerBase,
) -> None:
    lm, model = task(block_size=8), built(tokenizer).eval()
    for text, lost in (("the a " * 5 + "[MASK]", "1 of 1"), ("[MASK] a [MASK] " * 3, "2 of 6")):
        with pytest.raises(
            UserError, match=rf"tokens, more than task.block_size=8.*{lost} \[MASK\]"
        ):
            lm.answer(model, tokenizer, [{"text": text}])
    (rows,) = lm.answer(model, tokenizer, [{"text": "the [MASK] " + "a " * 20}])
    assert {row["mask"] for row in rows} == {1}


@pytest.mark.parametrize(
    ("language", "meant"), [("jp", "ja"), ("chinese", "zh"), ("klingon", "tlh")]
)
def test_an_unknown_language_is_refused(language: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"task.language='{language}': .*did you mean '{meant}'"):
        task(language=language)


def test_a_split_of_which_nothing_is_hidden_is_refused(
    tmp_path: Path, tokenizer: transformers.PreTrainedTokenizerBase
) -> None:
    lm, model = task(block_size=8, remainder="keep", mlm_probability=1e-6), built(tokenizer)
    split = data(tmp_path, ["the a"]).validation
    encoded = encoded_by(lm.encode(split, tokenizer, CONFIG))
    nothing = EvalSet(split, encoded, tokenizer, lm.collator(tokenizer, model), 4)
    with pytest.raises(DataError, match=r"text.jsonl: .*task.mlm_probability=1e-06 no token"):
        evaluate(model, lm, nothing)


def test_a_tokenizer_without_a_mask_token_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    pieces = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="[UNK]")
    with pytest.raises(UserError, match="no mask token"):
        encoded_by(task().encode(data(tmp_path, TEXTS).train, plain, CONFIG))
