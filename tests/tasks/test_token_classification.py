"""Labels on sub-words, scores of whole sentences, entities with their places."""

import json
import math
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, Sequence, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, PreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput

from conftest import TINY, composed, encoded_by
from expkit.answering.decoding import most_probable, outside
from expkit.answering.windows import cut
from expkit.commands import predict
from expkit.config.checks import check
from expkit.config.components import make
from expkit.data.splits import Split, Splits
from expkit.experiment import Prepared, prepare, run
from expkit.metrics.local import CONFIDENCES, LocalMetric
from expkit.metrics.statistics import Statistics, mean
from expkit.metrics.tagging import SeqEval
from expkit.models.scratch import TinyBert
from expkit.tasks.token_classification import TokenClassification
from expkit.terminal.errors import DataError, UserError
from expkit.training.evaluation import EvalSet, evaluate

# In the vocabulary of the tokenizer below are john, lives and in; other words are cut into characters.
WORDS = ["John", "Vesh", "lives", "\u200b", "in", "Jonis"]
TAGS = ["B-PER", "I-PER", "O", "O", "O", "B-LOC"]
TOKENIZER = TinyBert(200, 16, 1, 2, 0.0).tokenizer(["john lives in"])
SMALL = ("task=token_classification", *TINY, "precision=fp32")


def task(**options: Any) -> TokenClassification:
    overrides = [f"task.{key}={json.dumps(value)}" for key, value in options.items()]
    # Without metrics of confidences, predictions are ids.
    return make(composed("task=token_classification", "~task.metrics.ece", *overrides), "task")


def sentence(words: list[str], tags: list[Any]) -> dict[str, Any]:
    return {"tokens": words, "ner_tags": tags}


def split(*records: dict[str, Any], features: Features | None = None) -> Split:
    rows = Dataset.from_list(list(records), features=features)
    return Split(rows, "s", "some data", "0", lambda i: f"some data, example {i + 1}")


def data(*records: dict[str, Any]) -> Splits:
    return Splits(split(*records), split(*records))


def ready(splits: Splits, **options: Any) -> TokenClassification:
    tagger = task(**options)
    tagger.setup(splits)
    return tagger


@pytest.mark.parametrize(
    ("label_all_tokens", "labels"),
    [
        (False, [-100, 3, 4, -100, -100, -100, 0, 0, 1, -100, -100, -100, -100, -100]),
        (True, [-100, 3, 4, 4, 4, 4, 0, 0, 1, 2, 2, 2, 2, -100]),
    ],
)
def test_labels_of_sub_words(label_all_tokens: bool, labels: list[int]) -> None:
    """O, B-LOC, I-LOC, B-PER, I-PER are 0 to 4; the word that is a zero-width space has no token."""
    splits = data(sentence(WORDS, TAGS))
    tagger = ready(splits, label_all_tokens=label_all_tokens)
    (example,) = encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))
    assert TOKENIZER.convert_ids_to_tokens(example["input_ids"]) == (
        [
            "[CLS]",
            "john",
            "v",
            "##e",
            "##s",
            "##h",
            "lives",
            "in",
            "j",
            "##o",
            "##n",
            "##i",
            "##s",
            "[SEP]",
        ]
    )
    assert example["labels"] == labels
    assert example["scored"] == [0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert example["words"] == [0, 1, 2, 4, 5]
    assert (example["record"], example["length"]) == (0, 14)
    assert list(tagger.head().config["id2label"].values()) == [
        "O",
        "B-LOC",
        "I-LOC",
        "B-PER",
        "I-PER",
    ]


def test_batches_are_padded_without_labels() -> None:
    splits = data(sentence(WORDS, TAGS), sentence(["in"], ["O"]))
    tagger = ready(splits, label_all_tokens=True)
    examples = list(encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig())))
    batch = tagger.collator(TOKENIZER, None)(examples, [0, 1])  # type: ignore[arg-type]
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels", "scored"}
    assert {tuple(tensor.shape) for tensor in batch.values()} == {(2, 14)}
    assert batch["labels"][1].tolist() == [-100, 0] + [-100] * 12
    assert batch["scored"].sum(1).tolist() == [5, 1]
    assert batch["attention_mask"][1].sum() == 3


class Uniform(torch.nn.Module):
    """Takes the inputs of BERT and nothing else; all labels are equally probable."""

    def forward(
        self, input_ids: torch.Tensor, token_type_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> TokenClassifierOutput:
        return TokenClassifierOutput(logits=torch.zeros(*input_ids.shape, 5))


def test_loss_is_summed_over_labelled_tokens() -> None:
    splits = data(sentence(WORDS, TAGS), sentence(["in"], ["O"]))
    tagger = ready(splits)
    examples = list(encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig())))
    batch = tagger.collator(TOKENIZER, None)(examples, [0, 1])  # type: ignore[arg-type]
    loss, logits = tagger.loss(Uniform(), batch)
    assert float(loss) == pytest.approx(6 * math.log(5))
    assert logits.shape == (2, 14, 5)


@settings(deadline=None)
@given(
    sentences=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["john", "Vesh", "Ω", "", "\u200b"]),
                st.sampled_from(["O", "B-PER", "I-PER", "B-LOC"]),
            ),
            max_size=30,
        ),
        min_size=1,
        max_size=4,
    ),
    max_length=st.integers(8, 24),
    stride=st.integers(0, 4),
    label_all_tokens=st.booleans(),
)
def test_each_word_is_scored_once(
    sentences: list[list[tuple[str, str]]], max_length: int, stride: int, label_all_tokens: bool
) -> None:
    """Predictions that are always right are wrong only where there is no token but an entity."""
    records = [sentence(WORDS, TAGS)]
    records += [sentence([w for w, _ in s], [tag for _, tag in s]) for s in sentences]
    splits = data(*records)
    metrics = {"seqeval": SeqEval()}
    tagger = TokenClassification(
        "tokens", "ner_tags", None, label_all_tokens, max_length, stride, metrics
    )
    tagger.setup(splits)
    encoded = encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))
    right = [
        [label for label, scored in zip(e["labels"], e["scored"], strict=True) if scored]
        for e in encoded
    ]
    assert encoded["length"] == [len(ids) for ids in encoded["input_ids"]]
    assert max(encoded["length"]) <= max_length
    accuracy = tagger.score(0.0, right, splits.train, encoded)["accuracy"]
    pairs = [p for r in records for p in zip(r["tokens"], r["ner_tags"], strict=True)]
    found = [tag == "O" or bool(word.strip("\u200b")) for word, tag in pairs]
    assert accuracy == pytest.approx(sum(found) / len(pairs))


def test_a_word_that_is_scored_twice_is_noticed() -> None:
    splits = data(sentence(WORDS, TAGS))
    tagger = ready(splits)
    encoded = encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))
    twice = Dataset.from_list([*encoded, *encoded])
    with pytest.raises(AssertionError, match="word 0 of some data, example 1 twice"):
        tagger.score(0.0, [[0] * 5, [0] * 5], splits.train, twice)


def without_a_word(spans: Any, length: int, capacity: int, stride: int) -> dict[int, list[int]]:
    """Windows that do not own their last word."""
    return {start: words[:-1] for start, words in cut(spans, length, capacity, stride).items()}


@pytest.mark.parametrize("max_length", [8, 128])
def test_a_word_that_is_not_scored_is_noticed(
    max_length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zero-width space is in no window, and that is right: it has no token."""
    splits = data(sentence(WORDS, TAGS), sentence(["\u200b", *WORDS], ["O", *TAGS]))
    tagger = ready(splits, max_length=max_length, stride=2)
    encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))
    monkeypatch.setattr("expkit.answering.windows.cut", without_a_word)
    with pytest.raises(AssertionError, match=r"sentence 0: a word is lost"):
        encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))


def test_scores_count_words_without_tokens() -> None:
    """Three of six words are right, among them the one without a token; one of two entities."""
    splits = data(sentence(WORDS, TAGS))
    tagger = ready(splits)
    encoded = encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))
    scores = tagger.score(0.0, [[3, 4, 0, 1, 0]], splits.train, encoded)
    assert scores == {
        "precision": pytest.approx(1 / 2),
        "recall": pytest.approx(1 / 2),
        "f1": pytest.approx(1 / 2),
        "accuracy": pytest.approx(4 / 6),
        "f1_LOC": 0.0,
        "f1_PER": 1.0,
    }


def test_repairs_are_said_once_and_described(capsys: pytest.CaptureFixture[str]) -> None:
    train = split(sentence(["a", "b"], ["B-PER", "I-PER"]), sentence(["a", "b"], ["O", "I-PER"]))
    splits = Splits(train, split(sentence(["a"], ["B-PER"])))
    tagger = ready(splits)
    encoded = encoded_by(tagger.encode(splits.validation, TOKENIZER, BertConfig()))
    tagger.score(0.0, [[0]], splits.validation, encoded)
    message = "BIO; 1 invalid prefixes repaired, the first in some data, example 2"
    assert capsys.readouterr().out.splitlines() == [f"ner_tags: {message}"]
    assert tagger.describe(splits, TOKENIZER)["ner_tags"] == message
    ready(data(sentence(WORDS, TAGS)))
    assert capsys.readouterr().out == ""


def test_other_schemes_are_read_as_bio(capsys: pytest.CaptureFixture[str]) -> None:
    splits = data(sentence(["a", "b", "c"], ["B-PER", "E-PER", "S-LOC"]))
    tagger = ready(splits)
    assert "ner_tags: IOBES; 4 tags rewritten as BIO" in capsys.readouterr().out
    (example,) = encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))
    assert example["labels"] == [-100, 3, 4, 1, -100]


def test_data_without_entities_or_tokens() -> None:
    with pytest.raises(DataError, match="some data: every tag in 'ner_tags' is 'O'"):
        ready(data(sentence(["a"], ["O"])))
    splits = Splits(split(sentence(WORDS, TAGS)), split(sentence(["\u200b"], ["O"])))
    with pytest.raises(DataError, match="some data: all of its words tokenise to nothing"):
        encoded_by(ready(splits).encode(splits.validation, TOKENIZER, BertConfig()))


def test_settings_that_cannot_be_met() -> None:
    with pytest.raises(UserError, match=r"task.stride=65: must be at most half of .*=128"):
        task(stride=65)
    with pytest.raises(UserError, match=r"task.labels\[1\]='PER' is no tag"):
        task(labels=["O", "PER"])


def test_lexicon_baseline() -> None:
    """`a` is a person two times out of three, `b` once out of two by the first, `c` is unknown."""
    train = split(
        sentence(["a", "b"], ["B-PER", "I-PER"]),
        sentence(["a", "x"], ["B-PER", "O"]),
        sentence(["a"], ["O"]),
    )
    splits = Splits(train, split(sentence(["a", "b", "x", "c"], ["B-PER", "I-PER", "O", "B-PER"])))
    scores = ready(splits).baseline(splits, {})
    assert scores["lexicon_precision"] == 1.0
    assert scores["lexicon_recall"] == 0.5
    assert scores["lexicon_f1"] == pytest.approx(2 / 3)
    assert scores["lexicon_accuracy"] == 0.75


def test_report_and_description(tmp_path: Path) -> None:
    splits = data(sentence(WORDS, TAGS))
    tagger = ready(splits, max_length=13, stride=4)
    encoded = encoded_by(tagger.encode(splits.train, TOKENIZER, BertConfig()))
    right = [[[3, 4, 0, 0, 1][[0, 1, 2, 4, 5].index(w)] for w in e["words"]] for e in encoded]
    report = tagger.report(right, splits.train, encoded)
    assert report.tables["predictions"] == {
        "text": [" ".join(WORDS)],
        "entities": ["PER: John Vesh; LOC: Jonis"],
        "predicted": ["PER: John Vesh; LOC: Jonis"],
    }
    report.figures["confusion_of_words"](tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert tagger.describe(splits, TOKENIZER) | {
        "train: words": "6",
        "train: entities": "LOC 1, PER 1",
        "train: longer than 13 tokens": "100.0%",
    } == tagger.describe(splits, TOKENIZER)


def constant(tagger: TokenClassification, label: str) -> PreTrainedModel:
    """A model that gives every token the same label, with probability e / (e + other labels)."""
    model = TinyBert(200, 16, 1, 2, 0.0).build(tagger.head(), TOKENIZER).eval()
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.zeros_(model.classifier.bias)
    with torch.no_grad():
        model.classifier.bias[model.config.label2id[label]] = 1.0
    return model


@pytest.mark.parametrize("repeat", [1, 20])
def test_entities_with_offsets_of_short_and_long_texts(repeat: int) -> None:
    tagger = ready(data(sentence(WORDS, TAGS)), max_length=16, stride=4)
    model = constant(tagger, "B-PER")
    text = "Vesh, in Ōsaka_東京!  " * repeat
    found, by_words = tagger.answer(
        model, TOKENIZER, [{"tokens": text}, {"tokens": ["Vesh", "\u200b", "in"]}]
    )
    words = ["Vesh", ",", "in", "Ōsaka", "_", "東", "京", "!"]
    assert [row["text"] for row in found] == words * repeat
    assert all(text[row["start"] : row["end"]] == row["text"] for row in found)
    probability = 2.718281828 / (2.718281828 + 4)
    assert {(row["type"], row["probability"]) for row in found} == {("PER", round(probability, 6))}
    assert [(r["text"], r["start"], r["end"]) for r in by_words] == [("Vesh", 0, 4), ("in", 7, 9)]


def test_words_of_an_entity_are_one_row() -> None:
    tagger = ready(data(sentence(WORDS, TAGS)))
    (rows,) = tagger.answer(constant(tagger, "I-LOC"), TOKENIZER, [{"tokens": " in  東京 "}])
    assert [(row["type"], row["text"], row["start"], row["end"]) for row in rows] == [
        ("LOC", "in  東京", 1, 7)
    ]
    assert tagger.answer(constant(tagger, "O"), TOKENIZER, [{"tokens": ""}]) == [[]]


NAMES = {
    "zh": ("王伟 李娜 张敏 刘洋 陈静 杨强", "北京 上海 广州 深圳 天津 武汉", ("{P}住在{L}。", "{P}从{L}来。", "我不知道。")),
    "ja": ("田中 鈴木 佐藤 高橋 ミカ アキラ", "東京 大阪 名古屋 京都 札幌 パリ", ("{P}は{L}に住む。", "{L}で{P}に会う。", "知りません。")),
}  # fmt: skip


def characters(language: str, size: int, seed: int) -> list[dict[str, Any]]:
    """Sentences whose words are single characters."""
    people, places, frames = NAMES[language]
    rng = random.Random(seed)
    records = []
    for _ in range(size):
        words: list[str] = []
        tags: list[str] = []
        for part in rng.choice(frames).replace("{", "|{").replace("}", "}|").split("|"):
            kind = {"{P}": "PER", "{L}": "LOC"}.get(part)
            piece = rng.choice((people if kind == "PER" else places).split()) if kind else part
            words += piece
            tags += [f"{'I' if i else 'B'}-{kind}" if kind else "O" for i in range(len(piece))]
        records.append(sentence(words, tags))
    return records


@pytest.mark.parametrize("language", NAMES)
def test_characters_as_words(language: str, tmp_path: Path, project: Path) -> None:
    """A small model learns entities in Chinese and Japanese and finds them in a typed sentence."""
    for name, size in (("train", 96), ("validation", 24)):
        lines = [json.dumps(r) for r in characters(language, size, seed=size)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    cfg = composed(
        *("task=token_classification", "model=tiny_bert", "lora=none", "optimizer.lr=5e-3"),
        *("data=files", "data.train_file=train.jsonl", "data.validation_file=validation.jsonl"),
        *("train.max_steps=40", "precision=fp32"),
    )
    prepared = prepare(cfg)
    prepared.backend.fit(prepared.training, lambda result: False)
    metrics = evaluate(
        prepared.training.model, prepared.task, prepared.eval_sets["validation"]
    ).metrics
    assert metrics["f1"] > 0.95
    people, places, frames = NAMES[language]
    text = frames[0].format(P=people.split()[-1], L=places.split()[-1])
    model = prepared.training.model.eval()
    (rows,) = prepared.task.answer(model, prepared.tokenizer, [{"tokens": text}])
    assert [(row["type"], row["text"]) for row in rows] == [
        ("PER", people.split()[-1]),
        ("LOC", places.split()[-1]),
    ]


def fitted(*overrides: str, steps: int = 6) -> tuple[Prepared, list[float]]:
    prepared = prepare(composed(*SMALL, *overrides, f"train.max_steps={steps}"))
    losses: list[float] = []
    prepared.backend.fit(prepared.training, lambda r: losses.append(float(r.loss)) or False)
    return prepared, losses


# Sentences of 10 to 30 tokens in windows of 16, on all sub-words.
WINDOWED = ("task.max_length=16", "task.stride=6", "task.label_all_tokens=true")


@pytest.fixture(scope="module")
def windowed() -> Prepared:
    """Random weights that are large enough to find something, right or wrong."""
    prepared = prepare(composed(*SMALL, *WINDOWED, "lora=none"))
    model = prepared.training.model
    torch.nn.init.normal_(model.classifier.weight, generator=torch.Generator().manual_seed(0))
    return prepared


def test_evaluation_does_not_depend_on_the_batch_size(windowed: Prepared) -> None:
    prepared = windowed
    data = prepared.eval_sets["validation"]
    assert len(data.encoded) > len(data.split), "no sentence was cut"
    results = [
        evaluate(
            prepared.training.model,
            prepared.task,
            EvalSet(data.split, data.encoded, data.tokenizer, data.collate, size),
        )
        for size in (64, 1, 7)
    ]
    for result in results[1:]:
        for one, other in zip(result.predictions, results[0].predictions, strict=True):
            assert (one.argmax(1) == other.argmax(1)).all()
            assert np.allclose(one, other, atol=1e-5)
        assert result.metrics == pytest.approx(results[0].metrics, rel=1e-5)


def test_answers_agree_with_the_evaluation(windowed: Prepared) -> None:
    model, data = windowed.training.model.eval(), windowed.eval_sets["validation"]
    result = evaluate(model, windowed.task, data)
    evaluated = windowed.task.report(result.predictions, data.split, data.encoded)
    answers = windowed.task.answer(model, windowed.tokenizer, list(data.split))
    found = ["; ".join(f"{row['type']}: {row['text']}" for row in rows) for rows in answers]
    assert found == evaluated.tables["predictions"]["predicted"]
    assert len(set(found)) > 10


@pytest.fixture
def valid(windowed: Prepared) -> Iterator[TokenClassification]:
    """The same, decoded as sentences; and confidences are asked for."""
    tagger = windowed.task
    assert isinstance(tagger, TokenClassification)
    before = tagger.metrics, tagger._decoding, tagger.serving
    tagger.metrics = {**tagger.metrics, "confidence": MeanConfidence()}
    tagger._decoding, tagger.serving = "valid", {**(tagger.serving or {}), "decoding": "valid"}
    yield tagger
    tagger.metrics, tagger._decoding, tagger.serving = before


class MeanConfidence(LocalMetric):
    """By how much the probability of the most probable tag exceeds the share of right ones."""

    needs = CONFIDENCES
    takes = Features({"predictions": Sequence(Value("float64")), "references": Value("int64")})

    def statistics(self, predictions: list[list[float]], references: list[int]) -> Statistics:
        right = [
            int(label) == true for (label, _), true in zip(predictions, references, strict=True)
        ]
        return mean("excess", np.array([p for _, p in predictions]) - right)


def is_valid(tags: list[str]) -> bool:
    return all(t[0] != "I" or b in (t, f"B{t[1:]}") for b, t in pairwise(["O", *tags]))


def test_valid_sequences_over_all_windows_of_a_sentence(
    windowed: Prepared, valid: TokenClassification
) -> None:
    """Evaluation and `answer` agree, and each sentence is decoded as a whole, wherever it was cut."""
    model, data = windowed.training.model.eval(), windowed.eval_sets["validation"]
    result = evaluate(model, valid, data)
    found, _ = valid.for_metrics(result.predictions, data.split, data.encoded)
    scores: list[list[Any]] = [
        [outside(valid._labels)] * len(words) for words in data.split.column("tokens")
    ]
    for e, of_window in zip(data.encoded, result.predictions, strict=True):
        assert of_window.dtype == np.float32
        for word, row in zip(e["words"], of_window, strict=True):
            scores[e["record"]][word] = row
    whole = [[valid._labels[i] for i in most_probable(of, valid._labels)] for of in scores]
    greedy = [[valid._labels[int(row.argmax())] for row in of] for of in scores]
    assert found == whole
    assert all(map(is_valid, whole))
    assert not all(map(is_valid, greedy)), "nothing had to be mended"
    report = valid.report(result.predictions, data.split, data.encoded)
    answers = valid.answer(model, windowed.tokenizer, list(data.split))
    listed = ["; ".join(f"{row['type']}: {row['text']}" for row in rows) for rows in answers]
    assert listed == report.tables["predictions"]["predicted"]
    assert all(0 < row["probability"] <= 1 for rows in answers for row in rows)


def test_confidences_of_words(windowed: Prepared, valid: TokenClassification) -> None:
    """They are those of the most probable tags, however tags are decoded; each sentence is an example."""
    data = windowed.eval_sets["validation"]
    result = evaluate(windowed.training.model, valid, data)
    given = (result.predictions, data.split, data.encoded)
    predicted, references, sentences = valid.seen_by(CONFIDENCES, *given)
    assert references is not None
    words, tags = data.split.column("tokens"), valid._data.bio(data.split)
    assert sentences == [i for i, of_sentence in enumerate(words) for _ in of_sentence]
    assert references == [valid._labels.index(tag) for of_sentence in tags for tag in of_sentence]
    assert [p for _, p in predicted] == pytest.approx(
        [float(np.exp(row.max())) for w in result.predictions for row in w]
    )
    right = np.mean([label == true for (label, _), true in zip(predicted, references, strict=True)])
    excess = float(np.mean([p for _, p in predicted]) - right)
    assert result.metrics["excess"] == pytest.approx(excess)
    of_labels, of_words = valid.outcomes(*given)
    assert (of_labels.metrics, of_words.metrics) == (["seqeval"], ["ece", "confidence"])
    json.dumps(of_words.predictions)
    assert of_words.count() == of_labels.count() == len(data.split)
    with pytest.raises(UserError, match="needs probabilities, which TokenClassification does not"):
        valid.seen_by("probabilities", *given)


@pytest.mark.parametrize("backend", ["torch", "trainer"])
def test_accumulation_is_exact(backend: str) -> None:
    """Batches hold different numbers of labelled tokens: the mean is over those of all of them."""
    common = (*WINDOWED, f"backend={backend}", "lora=none", "model.dropout=0", "optimizer=sgd",
              "optimizer.lr=1e-1", "train.group_by_length=false")  # fmt: skip
    small = fitted(*common, "train.batch_size=4", "train.accumulation=4")
    large = fitted(*common, "train.batch_size=16", "train.accumulation=1")
    assert small[1] == pytest.approx(large[1], rel=1e-5)
    others = dict(large[0].training.model.named_parameters())
    for name, weight in small[0].training.model.named_parameters():
        torch.testing.assert_close(weight, others[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("label_all_tokens", ["false", "true"])
def test_backends_agree(label_all_tokens: str) -> None:
    options = ("train.accumulation=2", f"task.label_all_tokens={label_all_tokens}")
    _, torch_losses = fitted("backend=torch", *options)
    _, trainer_losses = fitted("backend=trainer", *options)
    assert torch_losses == pytest.approx(trainer_losses, abs=1e-6)


def test_a_run_and_its_predictions(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Column files in, entities out."""
    words = [("Ann", "B-PER"), ("Lee", "I-PER"), ("saw", "O"), ("Rome", "B-LOC"), (".", "O")]
    lines = "\n".join(f"{word} {tag}" for word, tag in words)
    Path("train.conll").write_text("\n\n".join([lines] * 32))
    Path("test.bio").write_text(lines)
    cfg = composed(
        *("task=token_classification", "model=tiny_bert", "lora=none", "optimizer.lr=5e-3"),
        *("data=files", "data.train_file=train.conll", "data.validation_file=train.conll"),
        *("train.epochs=10", "train.batch_size=8"),
    )
    check(cfg, [])
    assert run(cfg, {}).objective == 1.0
    assert "lexicon baseline" in capsys.readouterr().out
    (folder,) = (project / "outputs" / "runs").iterdir()
    asked = [folder.name, "--text", "Ann Lee saw Rome."]
    predict.run(predict.parser().parse_args(asked))
    table = [line.split("│")[1:5] for line in capsys.readouterr().out.splitlines() if "│" in line]
    entities = [["PER", "Ann Lee", "0", "7"], ["LOC", "Rome", "12", "16"]]
    assert [[cell.strip() for cell in row] for row in table] == entities
    predict.run(predict.parser().parse_args([folder.name, "--file", "test.bio"]))
    rows = json.loads(capsys.readouterr().out)["predictions"]
    assert [[r["type"], r["text"], str(r["start"]), str(r["end"])] for r in rows] == entities
