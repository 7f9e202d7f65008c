"""Translation: sources and targets, prefixes, labels, generation, and what is refused."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
import transformers
from datasets import Dataset
from mlflow import MlflowClient
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerBase

from conftest import SMALL_TASKS, composed, encoded_by
from expkit.config.checks import check
from expkit.config.components import make
from expkit.data.files import load
from expkit.data.splits import Split, Splits
from expkit.experiment import Prepared, prepare, run
from expkit.models.scratch import TinyBert
from expkit.models.seq2seq import TinyMarian, TinyT5
from expkit.tasks.translation import Translation
from expkit.terminal.errors import DataError, UserError
from expkit.training.evaluation import EvalSet, evaluate
from expkit.training.interface import StepResult

GOOD = [
    {"zh": "他会说法语。", "ja": "彼はフランス語を話せます。"},
    {"zh": "这件衣服十欧元。", "ja": "この服は10ユーロです。"},
    {"zh": "法语考试难吗？", "ja": "フランス語の試験は難しいですか。"},
]
SMALL = SMALL_TASKS["translation"]
SMALL_T5 = tuple(o.replace("model=tiny_marian", "model=tiny_t5") for o in SMALL)
MODELS = {"marian": SMALL, "t5": SMALL_T5}
PREFIX = "translate Chinese to Japanese: "


def task(**settings: Any) -> Translation:
    overrides = [f"task.{key}={json.dumps(value)}" for key, value in settings.items()]
    return make(composed("task=translation", *overrides), "task")


def splits(folder: Path, records: list[dict[str, Any]]) -> Splits:
    (folder / "good.jsonl").write_text("\n".join(map(json.dumps, GOOD)))
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, records)))
    nested = "translation" in records[0]
    train = "pairs.jsonl" if nested else "good.jsonl"
    return load(str(folder / train), str(folder / "pairs.jsonl"), None, None, None)


def rows(records: list[dict[str, Any]]) -> Split:
    return Split(Dataset.from_list(records), "rows", "rows", "", lambda i: f"row {i}")


def marian() -> PreTrainedTokenizerBase:
    texts = [text for pair in GOOD for text in pair.values()]
    return TinyMarian(200, 1.0, 16, 1, 2, 0.0).tokenizer([PREFIX, *texts])


def t5() -> PreTrainedTokenizerBase:
    texts = [text for pair in GOOD for text in pair.values()]
    return TinyT5(200, 1.0, 16, 1, 2, 0.0).tokenizer([PREFIX, *texts])


@pytest.mark.parametrize(
    "records",
    [
        GOOD,
        [{"translation": pair} for pair in GOOD],
        [{"zh": pair["zh"], "ja": [pair["ja"], "別の訳。"]} for pair in GOOD],
        [{"translation": {"zh": p["zh"], "ja": [p["ja"]]}, "id": i} for i, p in enumerate(GOOD)],
    ],
    ids=["flat", "nested", "flat with references", "nested with references"],
)
def test_records_may_be_flat_or_nested_and_hold_several_references(
    records: list[dict[str, Any]], tmp_path: Path
) -> None:
    translation = task()
    data = splits(tmp_path, records)
    translation.setup(data)
    tokenizer = marian()
    encoded = encoded_by(
        translation.encode(data.validation, tokenizer, transformers.MarianConfig())
    )
    for name, language in (("input_ids", "zh"), ("labels", "ja")):
        decoded = tokenizer.batch_decode(list(encoded[name]), skip_special_tokens=True)
        assert decoded == [pair[language] for pair in GOOD]
    assert encoded["length"][:] == [len(ids) for ids in encoded["input_ids"]]
    perfect = [pair["ja"] for pair in GOOD]
    scores = translation.score(0.0, perfect, data.validation, encoded)
    assert scores == {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}


def test_all_references_count() -> None:
    split = rows([{"zh": pair["zh"], "ja": ["違う訳文です。", pair["ja"]]} for pair in GOOD])
    perfect = [pair["ja"] for pair in GOOD]
    assert task().score(0.0, perfect, split, split.rows)["bleu"] == pytest.approx(100)


def test_sources_and_targets_are_cut_to_max_length() -> None:
    encoded = encoded_by(
        task(max_length=5).encode(rows(GOOD), marian(), transformers.MarianConfig())
    )
    assert max(encoded["length"]) == 5
    assert max(map(len, encoded["labels"])) == 5


@pytest.mark.parametrize(
    ("make", "unknown", "shares"),
    [
        (TinyMarian, "ja", {"source": 0, "target": 1 / 2}),
        (TinyT5, "ja", {"source": 0, "target": 1 / 2}),
        (TinyT5, "zh", {"source": 1 / 2, "target": 0}),
    ],
)
def test_texts_that_the_tokenizer_cannot_spell_are_reported(
    make: Any, unknown: str, shares: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown sentence is ▁ and one unknown token; special tokens and a prefix do not count."""
    pairs = [{"zh": "他会说法语", "ja": "彼はフランス語を話せます"}] * 3
    (known,) = {"zh", "ja"} - {unknown}
    tokenizer = make(60, 1.0, 16, 1, 2, 0.0).tokenizer([PREFIX, pairs[0][known]])
    translation, data = task(), rows(pairs)
    config = transformers.T5Config() if make is TinyT5 else transformers.MarianConfig()
    encoded_by(translation.encode(data, tokenizer, config))
    assert capsys.readouterr().out.splitlines() == [
        f"rows: {share:.1%} of the {side} tokens are unknown to the tokenizer"
        for side, share in shares.items()
        if share
    ]
    facts = translation.describe(Splits(data, data), tokenizer)
    for side, share in shares.items():
        assert facts[f"train: unknown {side} tokens"] == f"{share:.1%}"


def test_a_vocabulary_for_another_language_is_noticed(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chinese and English pieces spell no kana."""
    tokenizer = AutoTokenizer.from_pretrained(shared_data / "tokenizers" / "opus_mt_zh_en")
    encoded_by(task().encode(rows(GOOD), tokenizer, transformers.MarianConfig()))
    (message,) = capsys.readouterr().out.splitlines()
    assert message.endswith("% of the target tokens are unknown to the tokenizer")
    assert float(message.split()[1].rstrip("%")) > 10


def test_labels_and_decoder_inputs_by_hand() -> None:
    prepared = prepare(composed(*SMALL))
    assert prepared.tokenizer.pad_token_id == 0
    collate = prepared.task.collator(prepared.tokenizer, prepared.training.model)
    long = {"input_ids": [7, 1], "attention_mask": [1, 1], "labels": [5, 6, 8, 1], "length": 2}
    short = {"input_ids": [9, 4, 1], "attention_mask": [1, 1, 1], "labels": [3, 1], "length": 3}
    batch = collate([long, short], [0, 1])
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[7, 1, 0], [9, 4, 1]],
        "attention_mask": [[1, 1, 0], [1, 1, 1]],
        "labels": [[5, 6, 8, 1], [3, 1, -100, -100]],
        "decoder_input_ids": [[0, 5, 6, 8], [0, 3, 1, 0]],
    }
    loss, logits = prepared.task.loss(prepared.training.model.eval(), batch)
    of_tokens = logits.log_softmax(-1)
    by_hand = sum(of_tokens[0, i, label] for i, label in enumerate([5, 6, 8, 1]))
    by_hand += of_tokens[1, 0, 3] + of_tokens[1, 1, 1]
    torch.testing.assert_close(loss, -by_hand)


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        (transformers.T5Config(), None, PREFIX),
        (transformers.MT5Config(), None, PREFIX),
        (transformers.UMT5Config(), None, PREFIX),
        (transformers.T5Config(), "", ""),
        (transformers.T5Config(), "zh2ja ", "zh2ja "),
        (transformers.MarianConfig(), None, ""),
        (transformers.MarianConfig(), "", ""),
    ],
)
def test_the_type_of_model_decides_about_the_prefix(
    config: transformers.PretrainedConfig, given: str | None, expected: str
) -> None:
    tokenizer = t5()
    encoded = encoded_by(task(source_prefix=given).encode(rows(GOOD), tokenizer, config))
    whole = tokenizer([expected + pair["zh"] for pair in GOOD])["input_ids"]
    assert encoded["input_ids"][:] == whole


def test_a_prefix_for_marian_is_refused() -> None:
    with pytest.raises(UserError, match=r"task.source_prefix='translate: '.*marian.*null"):
        encoded_by(
            task(source_prefix="translate: ").encode(
                rows(GOOD), marian(), transformers.MarianConfig()
            )
        )


def test_marian_takes_the_codes_of_its_target_languages(tmp_path: Path) -> None:
    marian().save_pretrained(tmp_path)
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    code = len(vocabulary)
    (tmp_path / "vocab.json").write_text(json.dumps({**vocabulary, ">>jpn<<": code}))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    config = transformers.MarianConfig()
    encoded = encoded_by(task(source_prefix=">>jpn<< ").encode(rows(GOOD), tokenizer, config))
    assert {ids[0] for ids in encoded["input_ids"]} == {code}
    with pytest.raises(UserError, match=">>jpn<<"):
        encoded_by(task(source_prefix=">>deu<< ").encode(rows(GOOD), tokenizer, config))


def test_t5_needs_the_names_of_the_languages() -> None:
    translation = task(source_lang="text")
    pairs = rows([{"text": pair["zh"], "ja": pair["ja"]} for pair in GOOD])
    with pytest.raises(UserError, match=r"task.source_lang='text': .*task.source_prefix"):
        encoded_by(translation.encode(pairs, t5(), transformers.T5Config()))


def test_the_prefix_can_be_spelled_by_a_new_vocabulary() -> None:
    prepared = prepare(composed(*SMALL_T5))
    first = prepared.encoded["train"][0]["input_ids"]
    assert prepared.tokenizer.unk_token_id not in first
    assert prepared.tokenizer.decode(first).startswith(PREFIX)


# name: (records of the validation file, settings, what the message must contain)
BAD_DATA: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "no such column": (GOOD, {"target_lang": "en"}, r"good.jsonl: has no column 'en'.*zh, ja"),
    "a nested record without a language": (
        [{"translation": pair} for pair in [*GOOD, {"zh": "你好"}]],
        {},
        r"pairs.jsonl, line 4: translation has no 'ja'; allowed: zh",
    ),
    "nested records without a language": (
        [{"translation": {"zh": "你好", "jp": "今日は"}}],
        {},
        r"pairs.jsonl, line 1: translation has no 'ja'; allowed: zh, jp",
    ),
    "no object": ([{"translation": "你好"}], {}, r"line 1: translation='你好' is no object"),
    "empty source": ([*GOOD, {"zh": " ", "ja": "a"}], {}, r"pairs.jsonl, line 4: zh=' ' is empty"),
    "empty target": ([*GOOD, {"zh": "你好", "ja": ""}], {}, r"pairs.jsonl, line 4: ja='' is empty"),
    "no target": ([*GOOD, {"zh": "你好", "ja": None}], {}, r"line 4: ja=None is no text"),
    "no references": ([{"zh": "你好", "ja": []}], {}, r"line 1: ja=\[\] is no text"),
    "an empty reference": ([{"zh": "你好", "ja": ["a", ""]}], {}, r"line 1: ja='' is empty"),
    "a number": ([{"zh": 5, "ja": "a"}], {}, r"line 1: zh=5 is no text"),
}


@pytest.mark.parametrize(("records", "settings", "message"), BAD_DATA.values(), ids=list(BAD_DATA))
def test_bad_records(
    records: list[dict[str, Any]], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        task(**settings).setup(splits(tmp_path, records))


def test_a_language_into_itself() -> None:
    with pytest.raises(UserError, match=r"task.target_lang='zh'"):
        task(target_lang="zh")


def checkpoint(folder: Path, model: transformers.PreTrainedModel) -> tuple[str, ...]:
    """Options for a checkpoint of `model` with a tokenizer that fits nothing but its ids."""
    model.save_pretrained(folder)
    TinyBert(60, 8, 1, 1, 0.0).tokenizer(["a b c"]).save_pretrained(folder)
    others = (o for o in SMALL if not o.startswith("model"))
    return (*others, "model=checkpoint", f"model.path={folder}")


def test_a_decoder_alone_is_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": 60, "n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 1}
    gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))
    with pytest.raises(UserError) as raised:
        prepare(composed(*checkpoint(tmp_path, gpt2)))
    assert str(raised.value) == (
        f"model.path={str(tmp_path)!r}: is a model of type gpt2, but the task needs an "
        "encoder-decoder such as Marian or T5"
    )


def test_an_encoder_alone_is_refused() -> None:
    options = (o for o in SMALL if not o.startswith("model"))
    with pytest.raises(UserError, match=r"model=tiny_bert: .* bert, .* encoder-decoder"):
        prepare(composed(*options, "model=tiny_bert"))


def tiny_t5_model(**changes: Any) -> transformers.PreTrainedModel:
    sizes = {"vocab_size": 60, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    settings = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 3, **changes}
    config = transformers.T5Config(**{k: v for k, v in settings.items() if v is not None}, **sizes)
    return transformers.T5ForConditionalGeneration(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_start_token_id": None}, "has no decoder_start_token_id"),
        ({"pad_token_id": 5}, "the model pads with token 5, the tokenizer with 0"),
    ],
)
def test_start_and_padding_have_to_be_known(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(composed(*checkpoint(tmp_path, tiny_t5_model(**changes))))


def test_training_and_generation_have_to_start_alike(tmp_path: Path) -> None:
    model = tiny_t5_model()
    model.generation_config.decoder_start_token_id = 3
    with pytest.raises(UserError, match=r"start with token 0 .*generates from 3"):
        prepare(composed(*checkpoint(tmp_path, model)))


def test_a_model_of_many_languages_is_refused(tmp_path: Path) -> None:
    model = m2m100(pad_token_id=0, eos_token_id=3)
    with pytest.raises(UserError, match="does not make decoder inputs from labels"):
        prepare(composed(*checkpoint(tmp_path, model)))


def test_a_tokenizer_that_marks_languages_by_codes_is_refused(tmp_path: Path) -> None:
    options = checkpoint(tmp_path, m2m100(vocab_size=300))
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a"]
    nllb = transformers.NllbTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    nllb.save_pretrained(tmp_path)
    with pytest.raises(UserError) as raised:
        prepare(composed(*options))
    assert str(raised.value) == (
        "model: NllbTokenizer writes a code of its own for the language into each text (now 'eng_Latn'), "
        "and expkit does not set such codes; use a model for one pair of languages "
        "(model=opus_mt_zh_ja is one), or one of T5's kind (model=t5_small)"
    )


def m2m100(**settings: Any) -> transformers.PreTrainedModel:
    sizes = {"vocab_size": 60, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    config = transformers.M2M100Config(**{**sizes, **heads, **settings})
    return transformers.M2M100ForConditionalGeneration(config)


def test_more_new_tokens_than_positions() -> None:
    with pytest.raises(UserError, match=r"task.max_new_tokens=600: MarianMTModel .* 512"):
        prepare(composed(*SMALL, "task.max_new_tokens=600"))


def after_steps(backend: str, options: tuple[str, ...], steps: int = 5) -> tuple[Prepared, Any]:
    """A run after some steps, and the evaluation that a backend would have carried out then."""
    prepared = prepare(
        composed(*options, f"backend={backend}", f"train.max_steps={steps}", "optimizer.lr=1e-2")
    )
    results = []

    def on_step(result: StepResult) -> bool:
        if result.done == steps:
            validation = prepared.eval_sets["validation"]
            results.append(evaluate(prepared.training.model, prepared.task, validation))
        return False

    prepared.backend.fit(prepared.training, on_step)
    return prepared, results[0]


@pytest.mark.parametrize("options", MODELS.values(), ids=list(MODELS))
@pytest.mark.parametrize("lora", ["none", "attention"])
def test_both_backends_generate_the_same_texts(options: tuple[str, ...], lora: str) -> None:
    options = (*options, f"lora={lora}", "train.accumulation=2")
    before = prepare(composed(*options))
    untrained = evaluate(before.training.model, before.task, before.eval_sets["validation"])
    _, by_torch = after_steps("torch", options)
    _, by_trainer = after_steps("trainer", options)
    assert by_torch.predictions == by_trainer.predictions
    assert by_torch.metrics == pytest.approx(by_trainer.metrics, abs=1e-6)
    assert by_torch.predictions != untrained.predictions


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_t5_takes_micro_batches_as_one_large_batch(backend: str) -> None:
    common = (
        *(option for option in SMALL_T5 if not option.startswith("train.batch_size")),
        "model.dropout=0",
        "train.group_by_length=false",
    )
    small, one = after_steps(backend, (*common, "train.batch_size=4", "train.accumulation=4"), 4)
    large, other = after_steps(backend, (*common, "train.batch_size=16"), 4)
    assert one.metrics["loss"] == pytest.approx(other.metrics["loss"], abs=1e-5)
    others = dict(large.training.model.named_parameters())
    for name, weight in small.training.model.named_parameters():
        torch.testing.assert_close(weight, others[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", MODELS.values(), ids=list(MODELS))
def test_evaluation_does_not_depend_on_the_batch_size(options: tuple[str, ...]) -> None:
    prepared, _ = after_steps("torch", options)
    data = prepared.eval_sets["validation"]
    results = [
        evaluate(
            prepared.training.model,
            prepared.task,
            EvalSet(data.split, data.encoded, data.tokenizer, data.collate, size),
        )
        for size in (32, 7, 1)
    ]
    for other in results[1:]:
        assert other.metrics["loss"] == pytest.approx(results[0].metrics["loss"], rel=1e-6)
        assert other.predictions == results[0].predictions


def test_generation_uses_the_settings_and_not_the_logits() -> None:
    prepared, _ = after_steps("torch", (*SMALL, "task.max_new_tokens=3"))
    model = prepared.training.model.eval()
    batch = prepared.eval_sets["validation"].batch([0, 1, 2])
    ids = model.generate(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=3
    )
    expected = prepared.tokenizer.batch_decode(ids, skip_special_tokens=True)
    model.generation_config.update(max_new_tokens=9, use_cache=False)
    cached = []
    model.get_decoder().register_forward_pre_hook(
        lambda module, args, kwargs: cached.append(kwargs["use_cache"]), with_kwargs=True
    )
    texts = prepared.task.predictions(model, prepared.tokenizer, batch, torch.zeros(0))
    assert texts == expected
    assert set(cached) == {True}


@pytest.mark.parametrize(
    ("settings", "stored"),
    [
        (
            ("task.num_beams=3", "task.length_penalty=0.6"),
            {"num_beams": 3, "length_penalty": 0.6, "max_new_tokens": 16, "do_sample": False},
        ),
        (("task.num_beams=1", "task.length_penalty=0.6"), {"num_beams": 1, "length_penalty": None}),
    ],
)
def test_whoever_loads_the_model_generates_the_same(
    settings: tuple[str, ...], stored: dict[str, Any], tmp_path: Path
) -> None:
    prepared, evaluation = after_steps("torch", (*SMALL, *settings))
    prepared.training.model.save_pretrained(tmp_path)
    prepared.tokenizer.save_pretrained(tmp_path)
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert {name: getattr(model.generation_config, name) for name in stored} == stored
    sources = [pair["zh"] for pair in prepared.splits.validation.rows["translation"]]
    ids = model.generate(**tokenizer(sources, padding=True, return_tensors="pt"))
    assert tokenizer.batch_decode(ids, skip_special_tokens=True) == evaluation.predictions


def test_report_baseline_and_descriptions() -> None:
    prepared = prepare(composed(*SMALL))
    translation, validation = prepared.task, prepared.splits.validation
    sources = [pair["zh"] for pair in validation.rows["translation"]]
    targets = [pair["ja"] for pair in validation.rows["translation"]]
    scores = translation.baseline(prepared.splits, prepared.encoded)
    copied = translation.score(0.0, sources, validation, prepared.encoded["validation"])
    assert scores == {"copy_bleu": copied["bleu"], "copy_chrf": copied["chrf"]}
    assert 0 < scores["copy_bleu"] < 30
    report = translation.report(targets, validation, prepared.encoded["validation"])
    assert report.tables == {
        "translations": {"source": sources, "reference": targets, "prediction": targets}
    }
    assert set(report.tags) == {"bleu.signature", "chrf.signature"}
    assert "tok:none" in report.tags["bleu.signature"]
    assert "seg:fugashi-" in report.tags["bleu.signature"]
    facts = translation.describe(prepared.splits, prepared.tokenizer)
    lengths = [len(ids) for ids in prepared.encoded["train"]["labels"]]
    assert facts["train: target tokens"].endswith(f"longest {max(lengths)}; 0.0% cut to 64")
    assert translation.input_example(validation) == sources[0]


@pytest.mark.parametrize("options", MODELS.values(), ids=list(MODELS))
def test_a_run_with_lora_is_exported_verified_and_served(
    options: tuple[str, ...], project: Path
) -> None:
    """The adapter is large enough to change what is generated."""
    uri = f"sqlite:///{project}/outputs/mlflow.db"
    cfg = composed(*options, "lora=attention", "train.max_steps=5", "optimizer.lr=3e-2")
    check(cfg, [])
    bleu = run(cfg, {}).objective
    client = MlflowClient(uri)
    (logged,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["final/bleu"] == pytest.approx(bleu)
    assert 0 <= logged.data.metrics["lora/merge_max_abs_diff"] < 1e-4
    assert "nrefs:1|" in logged.data.tags["bleu.signature"]
    table = client.load_table(
        logged.info.experiment_id, "eval/translations.json", run_ids=[logged.info.run_id]
    )
    assert logged.outputs is not None
    model_uri = f"models:/{logged.outputs.model_outputs[0].model_id}"
    mlflow.set_tracking_uri(uri)
    sources, expected = table["source"].tolist(), table["prediction"].tolist()
    served = mlflow.pyfunc.load_model(model_uri).predict(sources)
    assert served["translation"].tolist() == expected
    parts = mlflow.transformers.load_model(model_uri, return_type="components")
    answers = make(cfg, "task").answer(
        parts["model"], parts["tokenizer"], [{"zh": source} for source in sources]
    )
    assert [row["translation"] for (row,) in answers] == expected
