"""Masked language modelling with Trainer, as in chapter 7 of the Hugging Face course.

https://huggingface.co/learn/llm-course/chapter7/3
"""

from itertools import chain
from typing import Any

from datasets import load_dataset
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
)

from benchmarks.references.settings import answer, arguments, training_arguments

BLOCK = 128
MASKED = 0.15


def main() -> None:
    given = arguments()
    tokenizer = AutoTokenizer.from_pretrained(given.model)

    def blocks(examples: dict[str, Any]) -> dict[str, Any]:
        encoded = tokenizer(examples["text"])
        joined = {name: list(chain.from_iterable(rows)) for name, rows in encoded.items()}
        end = len(joined["input_ids"]) // BLOCK * BLOCK
        return {
            name: [row[start : start + BLOCK] for start in range(0, end, BLOCK)]
            for name, row in joined.items()
        }

    data = load_dataset("json", data_files={"train": given.train, "validation": given.validation})
    data = data.map(blocks, batched=True, remove_columns=data["train"].column_names)
    trainer = Trainer(
        AutoModelForMaskedLM.from_pretrained(given.model),
        TrainingArguments(**training_arguments(given)),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED),
        processing_class=tokenizer,
    )
    trained = trainer.train().metrics
    answer(given, trained, trainer.evaluate())


if __name__ == "__main__":
    main()
