"""Sequence classification with Trainer, as in chapter 3 of the Hugging Face course.

https://huggingface.co/learn/llm-course/chapter3/3
"""

from typing import Any

import numpy as np
from datasets import load_dataset
from sklearn.metrics import accuracy_score, f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)

from benchmarks.references.settings import answer, arguments, training_arguments

MAX_LENGTH = 128


def main() -> None:
    given = arguments()
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    padding = "max_length" if given.variant == "padded" else False

    def tokenize(examples: dict[str, Any]) -> Any:
        return tokenizer(
            examples["sentence1"],
            examples["sentence2"],
            truncation=True,
            max_length=MAX_LENGTH,
            padding=padding,
        )

    data = load_dataset(
        "json", data_files={"train": given.train, "validation": given.validation}
    ).map(tokenize, batched=True)
    model = AutoModelForSequenceClassification.from_pretrained(given.model, num_labels=2)

    def compute_metrics(predicted: EvalPrediction) -> dict[str, float]:
        labels = np.argmax(predicted.predictions, axis=-1)
        return {
            "accuracy": float(accuracy_score(predicted.label_ids, labels)),
            "f1": float(f1_score(predicted.label_ids, labels)),
        }

    trainer = Trainer(
        model,
        TrainingArguments(**training_arguments(given)),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    trained = trainer.train().metrics
    answer(given, trained, trainer.evaluate())


if __name__ == "__main__":
    main()
