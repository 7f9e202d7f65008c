"""Predictions do not depend on the batch, whatever the architecture; and what does not fit is said."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from omegaconf import DictConfig
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from conftest import composed, encoded_by
from expkit.config.components import make
from expkit.data.splits import Split, Splits
from expkit.models.fit import fit, require_positions
from expkit.tasks.interface import Head, Task
from expkit.terminal.errors import DataError, UserError
from expkit.training.evaluation import EvalSet, evaluate, inference, require_independence
from expkit.training.prepared import build_base

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "while",
    "it",
    "rained",
    "and",
    "then",
    "some",
    "dogs",
    "came",
    "by",
    "to",
    "look",
    "for",
    "food",
]
PAD, BEGIN, END, UNKNOWN, MASK = range(5)
SIZE = 40  # of the vocabulary, and a few rows more
TEXTS = [" ".join((WORDS * 2)[i : i + n]) for i, n in ((0, 3), (4, 12), (2, 1), (7, 20), (1, 6))]

BERT = {"single": "<s> $A </s>", "pair": "<s> $A </s> $B:1 </s>:1"}
ROBERTA = {"single": "<s> $A </s>", "pair": "<s> $A </s> </s> $B </s>"}
XLNET = {"single": "$A </s> <s>:2", "pair": "$A </s> $B:1 </s>:1 <s>:2"}
END_ONLY = {"single": "$A </s>", "pair": "$A </s> $B </s>"}
BEGIN_ONLY = {"single": "</s> $A", "pair": "</s> $A </s> $B"}
NONE: dict[str, str] = {}


def tokenizer(ends: dict[str, str], **special: str | None) -> PreTrainedTokenizerBase:
    """Words between spaces, with token types as BERT's tokenizer gives them to every model."""
    names = ["<pad>", "<s>", "</s>", "<unk>", "<mask>", *WORDS]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if ends:
        tokens = [("<s>", BEGIN), ("</s>", END)]
        made.post_processor = processors.TemplateProcessing(**ends, special_tokens=tokens)
    roles = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "mask_token": "<mask>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unk>",
        **{role: token for role, token in {**roles, **special}.items() if token},
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=48,
    )


BERT_SIZES = {
    "vocab_size": SIZE,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "pad_token_id": PAD,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
    "initializer_range": 0.2,
}
BART_SIZES = {
    "vocab_size": SIZE,
    "d_model": 32,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 1),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 32),
    "pad_token_id": PAD,
    "bos_token_id": BEGIN,
    "eos_token_id": END,
    "forced_eos_token_id": END,
    "decoder_start_token_id": END,
    "init_std": 0.2,
}
GPT_SIZES = {"vocab_size": SIZE, "n_embd": 32, "n_layer": 1, "n_head": 2, "initializer_range": 0.2}
T5_SIZES = {
    "vocab_size": SIZE,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 2,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "decoder_start_token_id": PAD,
}
DEBERTA = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
NO_PAD = {"pad_token": None}


class Kind(NamedTuple):
    """An architecture, the special tokens around its texts, and those that its tokenizer lacks."""

    config: Callable[[], PretrainedConfig]
    ends: dict[str, str]
    special: dict[str, None] = {}  # noqa: RUF012


def kind(
    name: str, sizes: dict[str, Any], ends: dict[str, str] = BERT, special: Any = None, **more: Any
) -> Kind:
    return Kind(
        partial(getattr(transformers, f"{name}Config"), **{**sizes, **more}), ends, special or {}
    )


KINDS = {
    "bert": kind("Bert", BERT_SIZES),
    "roberta": kind("Roberta", BERT_SIZES, ROBERTA, type_vocab_size=1),
    "roberta with BERT's tokenizer": kind("Roberta", BERT_SIZES, type_vocab_size=1),
    "xlm-roberta": kind("XLMRoberta", BERT_SIZES, ROBERTA, type_vocab_size=1),
    "camembert": kind("Camembert", BERT_SIZES, ROBERTA, type_vocab_size=1),
    "distilbert": kind("DistilBert", BERT_SIZES, dim=32, n_layers=1, n_heads=2, hidden_dim=32),
    "albert": kind("Albert", BERT_SIZES, embedding_size=32),
    "electra": kind("Electra", BERT_SIZES, embedding_size=32),
    "deberta": kind("Deberta", BERT_SIZES, **DEBERTA),
    "deberta-v2": kind(
        *("DebertaV2", {**BERT_SIZES, **DEBERTA}),
        position_buckets=8,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
        type_vocab_size=0,
    ),
    "mpnet": kind("MPNet", BERT_SIZES, ROBERTA),
    "longformer": kind(
        *("Longformer", BERT_SIZES, ROBERTA),
        attention_window=4,
        type_vocab_size=1,
        max_position_embeddings=70,
    ),
    "big_bird": kind("BigBird", BERT_SIZES, block_size=4, num_random_blocks=1),
    "modernbert": kind("ModernBert", BERT_SIZES, cls_token_id=BEGIN, sep_token_id=END),
    "xlnet": kind(
        *("XLNet", {"vocab_size": SIZE, "d_model": 32, "n_layer": 1, "n_head": 2}, XLNET),
        d_inner=32,
        initializer_range=0.2,
        pad_token_id=PAD,
    ),
    "gpt2 that pads with another token": kind("GPT2", GPT_SIZES, NONE, pad_token_id=6),
    "gpt2 without padding": kind("GPT2", GPT_SIZES, NONE, NO_PAD),
    "opt": kind(
        *("OPT", BERT_SIZES, BEGIN_ONLY),
        ffn_dim=32,
        word_embed_proj_dim=32,
        init_std=0.2,
    ),
    "llama without padding": kind("Llama", BERT_SIZES, NONE, NO_PAD, pad_token_id=None),
    "qwen2": kind("Qwen2", BERT_SIZES, NONE, num_key_value_heads=1, pad_token_id=None),
    "bart": kind("Bart", BART_SIZES, ROBERTA),
    "t5": kind("T5", T5_SIZES, END_ONLY),
    "marian": kind("Marian", BART_SIZES, END_ONLY, decoder_start_token_id=PAD),
}
PADDING_COUNTS = {
    "fnet": kind("FNet", BERT_SIZES),
    "convbert": kind("ConvBert", BERT_SIZES, embedding_size=32),
    "nystromformer": kind("Nystromformer", BERT_SIZES),
}
TASKS = {
    "single": ["task=text_classification", "task.text_columns=[text]", "task.max_length=48"],
    "pair": ["task=text_classification", "task.max_length=48"],
    "number": ["task=text_regression", "task.max_length=48"],
    "tokens": ["task=token_classification", "task.max_length=48", "task.stride=8"],
    "masked": ["task=masked_lm", "task.block_size=16", "task.remainder=keep"],
    "translation": [
        *("task=translation", "task.source_lang=en", "task.target_lang=de"),
        *("task.source_prefix=null", "task.num_beams=2", "task.max_new_tokens=8"),
    ],
}


def record(i: int) -> dict[str, Any]:
    text, other = TEXTS[i], TEXTS[-1 - i]
    tags = ["B-X" if j % 2 else "O" for j, _ in enumerate(text.split())]
    return {
        "text": text,
        "sentence1": text,
        "sentence2": other,
        "label": "ab"[i % 2],
        "score": 20 + i / 2,
        "tokens": text.split(),
        "ner_tags": tags,
        "en": text,
        "de": other,
    }


def split(records: Sequence[dict[str, Any]], name: str = "train") -> Split:
    return Split(Dataset.from_list(list(records)), name, "file", "", lambda i: f"line {i + 1}")


@cache
def task_of(name: str) -> tuple[DictConfig, Task, Splits]:
    cfg = composed(*TASKS[name])
    task: Task = make(cfg, "task")
    records = [record(i) for i in range(len(TEXTS))]
    splits = Splits(split(records), split(records, "validation"), None)
    task.setup(splits)
    return cfg, task, splits


class Builder:
    """A model with random weights, and with a head whose logits are not all alike."""

    def __init__(self, config: PretrainedConfig) -> None:
        self.config = config

    def build(self, head: Head, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        self.config.update(head.config)
        model = getattr(transformers, head.auto_class).from_config(self.config)
        if head.auto_class.endswith("Classification"):
            for name, weight in model.named_parameters():
                if not name.startswith(model.base_model_prefix):
                    torch.nn.init.normal_(weight, std=0.5)
        return model.eval()


def prepared(
    found: Kind, name: str
) -> tuple[Task, PreTrainedModel, PreTrainedTokenizerBase, EvalSet]:
    cfg, task, splits = task_of(name)
    given, config = tokenizer(found.ends, **found.special), found.config()
    if type(config) not in getattr(transformers, task.head().auto_class)._model_mapping:
        pytest.skip("transformers has no such head")
    if name == "translation":
        given.eos_token = "</s>"
    model = build_base(cfg, task, Builder(config), given)
    encoded = encoded_by(task.encode(splits.validation, given, model.config))
    collate = task.collator(given, model)
    return task, model, given, EvalSet(splits.validation, encoded, given, collate, len(encoded))


def logits(task: Task, model: PreTrainedModel, data: EvalSet, rows: list[int]) -> torch.Tensor:
    with inference(model):
        return task.loss(model, data.batch(rows))[1]


def require_same(answers: list[Any], others: list[Any], largest: float) -> None:
    """The same rows for each record, with numbers that are rounded."""
    for rows, of_other in zip(answers, others, strict=True):
        for row, other in zip(rows, of_other, strict=True):
            assert row == {
                k: pytest.approx(v, rel=1e-5, abs=largest) if isinstance(v, float) else v
                for k, v in other.items()
            }


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("found", KINDS)
def test_predictions_do_not_depend_on_the_batch(found: str, name: str) -> None:
    task, model, given, data = prepared(KINDS[found], name)
    rows = list(range(len(data.encoded)))
    for i in rows:
        alone = logits(task, model, data, [i])
        beside = logits(task, model, data, [i, *(j for j in rows if j != i)])
        largest = max(1.0, float(alone.abs().max())) if alone.numel() else 1.0
        difference = alone - beside[tuple(map(slice, alone.shape))]
        assert not alone.numel() or float(difference.abs().max()) < 1e-5 * largest
    if name != "masked":
        require_independence(model, task, data)
        records = [{column: record(i)[column] for column in task.columns} for i in rows[:5]]
        alone_answers = [task.answer(model, given, [asked])[0] for asked in records]
        together = task.answer(model, given, records)
        require_same(together, alone_answers, 2e-3 if name == "number" else 1e-5)
    one_by_one = EvalSet(data.split, data.encoded, given, data.collate, 1)
    together, single = (evaluate(model, task, d).metrics["loss"] for d in (data, one_by_one))
    assert together == pytest.approx(single, rel=1e-5)


@pytest.mark.parametrize("found", KINDS)
def test_a_model_of_numbers_gives_them_in_their_own_units_once_it_is_finished(found: str) -> None:
    """And one that goes on to learn from there gives standardised numbers again."""
    task, model, given, data = prepared(KINDS[found], "number")
    batch = data.batch(list(range(len(data.encoded))))
    before = logits(task, model, data, list(range(len(data.encoded))))
    predicted = task.predictions(model, given, batch, before)
    mean, scale = model.config.target_mean, model.config.target_scale
    assert predicted == pytest.approx((before[:, 0] * scale + mean).tolist(), rel=1e-5)
    task.finish(model)
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with inference(model):
        assert model(**inputs).logits[:, 0].tolist() == pytest.approx(predicted, rel=1e-5)
    after = logits(task, model, data, list(range(len(data.encoded))))
    assert after.tolist() == pytest.approx(np.array(before.tolist()), abs=1e-4)
    model.head_goes_on = True
    task.head().configure(model, given)
    assert not model.config.gives_targets
    with inference(model):
        again = model(**inputs).logits
    assert again.tolist() == pytest.approx(np.array(before.tolist()), abs=1e-4)


@pytest.mark.parametrize("found", PADDING_COUNTS)
def test_models_that_mix_in_padding_are_refused(found: str) -> None:
    task, model, _, data = prepared(PADDING_COUNTS[found], "single")
    with pytest.raises(
        UserError, match=r"mixes padding into its results.*line 3 .*depend on the batch"
    ):
        require_independence(model, task, data)


def test_at_least_twelve_architectures_are_tested() -> None:
    assert len({type(found.config()) for found in KINDS.values()}) >= 12


def built(found: Kind, **changes: Any) -> PreTrainedModel:
    config = found.config()
    config.update(changes)
    made: PreTrainedModel = transformers.AutoModelForSequenceClassification.from_config(config)
    return made


def test_what_is_settled_is_saved_with_tokenizer_and_config(tmp_path: Path) -> None:
    model, given = (
        built(KINDS["gpt2 that pads with another token"]),
        tokenizer(NONE, pad_token=None),
    )
    given.padding_side = "left"
    fit(model, given)
    for part in (model, given):
        part.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert (
        again.pad_token_id == END == transformers.AutoConfig.from_pretrained(tmp_path).pad_token_id
    )
    assert again.padding_side == "right"
    assert list(again("the cat")) == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ("bert", True),
        ("xlnet", True),
        ("roberta", False),
        ("distilbert", False),
        ("gpt2 without padding", False),
        ("bart", False),
    ],
)
def test_token_types_are_for_models_that_tell_them_apart(found: str, kept: bool) -> None:
    """GPT-2 would add the embedding of word 0 to all words, BART and DistilBERT take none."""
    given = tokenizer(KINDS[found].ends)
    fit(built(KINDS[found]), given)
    assert ("token_type_ids" in given("the cat", "sat")) == kept


@pytest.mark.parametrize(
    ("found", "changes", "special", "message"),
    [
        ("bert", {"vocab_size": 20}, {}, "ids up to 23, the model an embedding of 20 rows"),
        ("roberta", {"pad_token_id": 1}, {}, "the model pads with token 1, the tokenizer with 0"),
        ("bart", {"pad_token_id": 1}, {}, "the model pads with token 1, the tokenizer with 0"),
        ("bart", {"eos_token_id": 7}, {}, "ends with token 7 .eos_token_id., one of the tokenizer"),
        ("gpt2 without padding", {}, {"eos_token": None}, "no pad_token .* nor an eos_token"),
    ],
)
def test_what_cannot_be_settled_is_one_message(
    found: str, changes: dict[str, Any], special: dict[str, None], message: str
) -> None:
    given = tokenizer(KINDS[found].ends, **{**KINDS[found].special, **special})
    with pytest.raises(UserError, match=rf"{message}.*use the tokenizer that the model was"):
        fit(built(KINDS[found], **changes), given)


def test_full_blocks_of_a_masked_model_need_no_padding() -> None:
    """`task=masked_lm` cuts texts into blocks of one length, and hides what it fills up itself."""
    model = transformers.AutoModelForMaskedLM.from_config(KINDS["bert"].config())
    given = tokenizer(BERT, pad_token=None, eos_token=None)
    fit(model, given)
    assert given.pad_token_id is None
    assert model.config.pad_token_id == PAD


def test_a_text_may_end_with_any_of_several_tokens() -> None:
    model = built(KINDS["bart"], eos_token_id=[7, END])
    fit(model, tokenizer(KINDS["bart"].ends))
    with pytest.raises(UserError, match=r"ends with token \[7, 8\]"):
        fit(built(KINDS["bart"], eos_token_id=[7, 8]), tokenizer(KINDS["bart"].ends))


def test_more_token_types_than_the_model_has() -> None:
    given = tokenizer(XLNET | {"pair": "$A </s> $B:1 </s>:1 <s>:2"})
    with pytest.raises(UserError, match="gives token type 2, the model knows 2 types"):
        fit(built(KINDS["bert"]), given)


@pytest.mark.parametrize(("found", "positions"), [("xlnet", -1), ("bert", 0), ("t5", None)])
def test_no_positions_are_no_limit(found: str, positions: int | None) -> None:
    model = built(KINDS[found])
    if found == "bert":
        model.config.max_position_embeddings = positions
    assert getattr(model.config, "max_position_embeddings", None) == positions
    require_positions(model, 10_000)


@pytest.mark.parametrize(
    "found", ["gpt2 that pads with another token", "llama without padding", "bert"]
)
def test_empty_texts_are_scored_alone_and_in_company(found: str) -> None:
    task, model, given, _ = prepared(KINDS[found], "single")
    records = [{"text": text} for text in ("", TEXTS[1], "", " ", TEXTS[0])]
    answers = task.answer(model, given, records)
    require_same(answers, [task.answer(model, given, [asked])[0] for asked in records], 1e-5)
    data = split([{**asked, "label": "a"} for asked in records])
    assert min(encoded_by(task.encode(data, given, model.config))["length"]) >= 1


def test_an_empty_text_without_a_token_to_stand_for_it() -> None:
    task, model, _, _ = prepared(KINDS["gpt2 without padding"], "single")
    given = tokenizer(NONE, bos_token=None, eos_token=None)
    data = split([{"text": text, "label": "a"} for text in ("the cat", "")])
    with pytest.raises(DataError, match="line 2: holds nothing that"):
        list(task.encode(data, given, model.config))


@pytest.mark.parametrize("found", ["bart", "t5"])
def test_an_end_within_a_text_that_the_tokenizer_takes_for_one(found: str) -> None:
    task, model, given, _ = prepared(KINDS[found], "single")
    data = split([{"text": text, "label": "a"} for text in ("the cat", "the </s> cat")])
    with pytest.raises(DataError, match="line 2: holds '</s>', which ends a text"):
        list(task.encode(data, given, model.config))
    with pytest.raises(DataError, match="the </s> cat"):
        task.answer(model, given, [{"text": "the </s> cat"}])


def test_an_end_within_a_text_is_text_where_pieces_can_spell_it() -> None:
    from small_tokenizers import byte_level

    given = byte_level(TEXTS)
    given.eos_token = "</s>"
    model = built(KINDS["bart"], vocab_size=len(given), pad_token_id=1, eos_token_id=2)
    task = task_of("single")[1]
    fit(model, given)
    configure = task.head().configure
    assert configure is not None
    configure(model, given)
    data = split([{"text": text, "label": "a"} for text in ("the cat", "the </s> cat")])
    encoded = encoded_by(task.encode(data, given, model.config))
    assert given.decode(encoded["input_ids"][1]) == "<s>the </s> cat</s>"
    assert encoded["input_ids"][1].count(END) == 1


def test_big_bird_attends_in_full_at_all_lengths() -> None:
    model = built(KINDS["big_bird"])
    fit(model, tokenizer(BERT))
    assert model.config.attention_type == model.base_model.encoder.layer[0].attention_type
    assert model.config.attention_type == "original_full"
