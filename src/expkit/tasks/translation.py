"""Sentences of one language into another, by an encoder-decoder."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Annotated, Any

import evaluate
import numpy as np
import torch
from babel import Locale
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, PretrainedConfig, PreTrainedModel

from expkit.answering.answers import require_text
from expkit.config.constraints import at_least
from expkit.data.splits import CHUNK, Columns, Record, Split, Splits
from expkit.data.steps import Batch, Collate, Example
from expkit.metrics.outcomes import Report
from expkit.metrics.translation import CorpusMetric
from expkit.models.fit import read_as_text
from expkit.models.head import Head
from expkit.tasks.generation import generation_settings, require_generation
from expkit.tasks.interface import IGNORED, Scores, Tokenizer, logits_of
from expkit.tasks.unknown_tokens import note_unknown, unknown_share
from expkit.tasks.weights import CrossEntropyTask, Smoothing
from expkit.terminal.errors import DataError, UserError, nearest

NESTED = "translation"  # the column that may hold both languages, as on the Hugging Face hub
T5_LIKE = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
INPUTS = ("input_ids", "attention_mask")
REPORTED_SENTENCES = 200


class Translation(CrossEntropyTask):
    """Cross-entropy of the target's tokens in training, generation in evaluation.

    Args:
        source_lang: language code, and the key of the text in a record `{"zh": ..., "ja": ...}` or
            `{"translation": {"zh": ..., "ja": ...}}`.
        target_lang: the same for the translation: one text, or a list of references, of which the
            first is trained on and all are scored against.
        source_prefix: what stands before each source text; None: "translate Chinese to Japanese: "
            for models of T5's kind, nothing for others.
        max_length: tokens of the source with its prefix, and of the target; what is longer is cut.
        num_beams: hypotheses that are kept while generating.
        max_new_tokens: of a translation.
        length_penalty: exponent of the length that divides the score of a hypothesis; above 0 favours
            long ones.
        metrics: `evaluate.Metric` objects on texts and lists of references.
        label_smoothing: see `CrossEntropyTask`; the labels are the tokens of the vocabulary.
    """

    short_name = "translation"  # in names of runs
    pipeline = "translation"

    def __init__(
        self,
        source_lang: str,
        target_lang: str,
        source_prefix: str | None,
        max_length: Annotated[int, at_least(4)],
        num_beams: Annotated[int, at_least(1)],
        max_new_tokens: Annotated[int, at_least(1)],
        length_penalty: float,
        metrics: Mapping[str, evaluate.Metric],
        label_smoothing: Smoothing = 0.0,
    ) -> None:
        if source_lang == target_lang:
            raise UserError(f"task.target_lang={target_lang!r}: is task.source_lang as well")
        super().__init__([source_lang], max_length, metrics, label_smoothing)
        self._cut = {"truncation": True, "max_length": max_length}
        self._source = source_lang
        self._target = target_lang
        self._given_prefix = source_prefix
        self._generation = generation_settings(num_beams, max_new_tokens, length_penalty)
        self.serving = {"max_length": max_length, "generation": self._generation}

    def setup(self, splits: Splits) -> None:
        """Check that every record has a source and a target, and that neither is empty."""
        for split in splits.named().values():
            sources, targets = self._texts(split, self._source), self._texts(split, self._target)
            for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
                require_text(source, f"{split.where(i)}: {self._source}")
                references = target if isinstance(target, list) and target else [target]
                for reference in references:
                    require_text(reference, f"{split.where(i)}: {self._target}")

    def _texts(self, split: Split, language: str) -> Iterator[Any]:
        """What the records hold in one language. Raises DataError if one of them has nothing."""
        columns = split.rows.column_names
        if language in columns or NESTED not in columns:
            split.require([language])
            yield from split.values(language)
            return
        for i, record in enumerate(split.values(NESTED)):
            if not isinstance(record, dict):
                raise DataError(
                    f"{split.where(i)}: {NESTED}={record!r:.60} is no object with languages"
                )
            if record.get(language) is None:
                present = [name for name, text in record.items() if text is not None]
                raise DataError(
                    f"{split.where(i)}: {NESTED} has no {language!r}; {nearest(language, present)}"
                )
            yield record[language]

    def _sources(self, split: Split) -> list[str]:
        return list(self._texts(split, self._source))

    def _references(self, split: Split) -> Iterator[list[str]]:
        for target in self._texts(split, self._target):
            yield target if isinstance(target, list) else [target]

    def gold(self, split: Split) -> Iterator[tuple[tuple[()], list[str]]]:
        """The references."""
        return (((), references) for references in self._references(split))

    def head(self) -> Head:
        """An encoder-decoder that generates with this task's settings."""
        return Head("AutoModelForSeq2SeqLM", configure=self._configure)

    def _configure(self, model: PreTrainedModel, tokenizer: Tokenizer) -> None:
        """Check the model, and write into it what whoever loads it needs to generate the same."""
        require_generation(model, tokenizer, self._generation["max_new_tokens"])
        read_as_text(model, tokenizer)
        model.generation_config.update(**self._generation)
        model.config.prefix = self._prefix(model.config, tokenizer) or None

    def _prefix(self, config: PretrainedConfig, tokenizer: Tokenizer) -> str:
        """What stands before each source text. Raises UserError if the model cannot know it."""
        is_t5_like = config.model_type in T5_LIKE
        if self._given_prefix is None:
            return self._t5_prefix() if is_t5_like else ""
        # Some Marian models have several target languages, told apart by a token such as >>jpn<<.
        codes = getattr(tokenizer, "supported_language_codes", ())
        prefix = self._given_prefix
        if prefix and not is_t5_like and prefix.strip() not in codes:
            raise UserError(
                f"task.source_prefix={prefix!r}: a {config.model_type} model is not told by a prefix "
                "what to do, only models of T5's kind are; set task.source_prefix=null"
                + (f" or one of {', '.join(codes)}" if codes else "")
            )
        return prefix

    def _t5_prefix(self) -> str:
        """The words that T5 was trained with, such as "translate English to German: "."""
        languages = {"source_lang": self._source, "target_lang": self._target}
        for key, language in languages.items():
            if _english_name(language) is None:
                raise UserError(
                    f"task.{key}={language!r}: is no language code, so there is no name for the "
                    "prefix of a T5 model; set task.source_prefix"
                )
        return f"translate {_english_name(self._source)} to {_english_name(self._target)}: "

    def texts(self, split: Split) -> Iterator[str]:
        """Sources and first references; also T5's prefix, so that a new vocabulary can spell it."""
        if self._given_prefix is not None:
            yield self._given_prefix
        elif _english_name(self._source) and _english_name(self._target):
            yield self._t5_prefix()
        yield from self._texts(split, self._source)
        yield from (references[0] for references in self._references(split))

    def encode(
        self, split: Split, tokenizer: Tokenizer, config: PretrainedConfig
    ) -> Iterator[Columns]:
        """Token ids of prefix and source, and of the first reference as `labels`.

        Texts that the tokenizer cannot spell are reported: the loss would not show them.
        """
        prefix = self._prefix(config, tokenizer)
        begin = len(tokenizer(prefix, add_special_tokens=False)["input_ids"])
        sources = self._texts(split, self._source)
        targets = (references[0] for references in self._references(split))
        counts: dict[str, Counter[int]] = {"source": Counter(), "target": Counter()}
        while chunk := list(islice(sources, CHUNK)):
            texts = [prefix + source for source in chunk]
            translations = list(islice(targets, len(chunk)))
            encoded = tokenizer(texts, text_target=translations, **self._cut)
            columns = {name: encoded[name] for name in (*INPUTS, "labels")}
            for ids in columns["input_ids"]:
                counts["source"].update(ids[begin:])
            counts["target"].update(chain.from_iterable(columns["labels"]))
            yield {**columns, "length": [len(ids) for ids in columns["input_ids"]]}
        for side, counted in counts.items():
            note_unknown(split.name, side, counted, tokenizer)

    def collator(self, tokenizer: Tokenizer, model: PreTrainedModel) -> Collate:
        """Pad sources and labels, and shift the labels to the right as inputs of the decoder."""
        pad = DataCollatorForSeq2Seq(tokenizer, model=model, label_pad_token_id=IGNORED)
        names = (*INPUTS, "labels")

        def collate(examples: list[Example], seeds: Sequence[int]) -> Batch:
            return dict(pad([{name: example[name] for name in names} for example in examples]))

        return collate

    def logits(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Logits (batch, target length, vocabulary)."""
        return logits_of(model, batch, use_cache=False)

    def predictions(
        self, model: PreTrainedModel, tokenizer: Tokenizer, batch: Batch, logits: torch.Tensor
    ) -> list[str]:
        """A generated translation for each example; the logits do not help, as the decoder read the target."""
        return self._generate(model, tokenizer, {name: batch[name] for name in INPUTS})

    def _generate(self, model: PreTrainedModel, tokenizer: Tokenizer, inputs: Batch) -> list[str]:
        # Each process holds all weights meanwhile (training/sharding.py) and generates for itself.
        ids = model.generate(**inputs, **self._generation, synced_gpus=False)
        return tokenizer.batch_decode(ids, skip_special_tokens=True)

    def for_metrics(
        self, predictions: list[Any], split: Split, encoded: Dataset
    ) -> tuple[list[str], list[list[str]]]:
        """All translations and all references."""
        return predictions, list(self._references(split))

    def asked(self, split: Split) -> list[str]:
        """The source texts."""
        return self._sources(split)

    def baseline(self, splits: Splits, encoded: Mapping[str, Dataset]) -> Scores:
        """The scores of the source text in place of a translation."""
        validation = splits.validation
        references = list(self._references(validation))
        scores = self.compute(self._sources(validation), references)
        return {f"copy_{name}": value for name, value in scores.items()}

    def report(self, predictions: list[Any], split: Split, encoded: Dataset) -> Report:
        """The first translations beside their references, and how they were scored."""
        references = list(self._references(split))
        table = {
            "source": self._sources(split)[:REPORTED_SENTENCES],
            "reference": ["\n".join(texts) for texts in references[:REPORTED_SENTENCES]],
            "prediction": list(predictions[:REPORTED_SENTENCES]),
        }
        signatures = {
            f"{name}.signature": metric.signature(references)
            for name, metric in self.metrics.items()
            if isinstance(metric, CorpusMetric)
        }
        return Report(tables={"translations": table}, tags=signatures)

    def describe_split(self, split: Split, tokenizer: Tokenizer) -> dict[str, str]:
        """Lengths in tokens, without a prefix, the share that is cut, and that of unknown tokens."""
        found = {}
        targets = [references[0] for references in self._references(split)]
        sides = {
            "source": tokenizer(self._sources(split), verbose=False),
            "target": tokenizer(text_target=targets, verbose=False),
        }
        for side, encoded in sides.items():
            lengths = np.array([len(ids) for ids in encoded["input_ids"]])
            median, most = np.percentile(lengths, [50, 95])
            found[f"{side} tokens"] = (
                f"median {median:.0f}, 95 % up to {most:.0f}, longest {lengths.max()}; "
                f"{(lengths > self.max_length).mean():.1%} cut to {self.max_length}"
            )
            counts = Counter(chain.from_iterable(encoded["input_ids"]))
            found[f"unknown {side} tokens"] = f"{unknown_share(counts, tokenizer):.1%}"
        return found

    def inputs(self, split: Split) -> list[Record]:
        """Texts in the source language, flat or nested as in training."""
        sources = self._sources(split)
        for i, source in enumerate(sources):
            require_text(source, f"{split.where(i)}: {self._source}")
        return [{self._source: source} for source in sources]

    def input_example(self, split: Split) -> Any:
        """A source text, without a prefix."""
        return self._sources(split)[0]


def _english_name(language: str) -> str | None:
    """Chinese for zh or zh_TW, None for what is no language code."""
    names = Locale("en").languages
    return names.get(language) or names.get(language.replace("-", "_").split("_")[0])
