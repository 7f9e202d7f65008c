"""Token classification with Trainer, as in chapter 7 of the Hugging Face course.

https://huggingface.co/learn/llm-course/chapter7/2
"""

from typing import Any

import numpy as np
from datasets import load_dataset
from seqeval.metrics import f1_score
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    EvalPrediction,
    Trainer,
    TrainingArguments,
)

from benchmarks.references.settings import answer, arguments, training_arguments

MAX_LENGTH = 128
IGNORED = -100


def main() -> None:
    given = arguments()
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    padding = "max_length" if given.variant == "padded" else False
    data = load_dataset("json", data_files={"train": given.train, "validation": given.validation})
    names = sorted({tag for tags in data["train"]["ner_tags"] for tag in tags})
    ids = {name: i for i, name in enumerate(names)}

    def tokenize(examples: dict[str, Any]) -> Any:
        inputs = tokenizer(
            examples["tokens"],
            is_split_into_words=True,
            truncation=True,
            max_length=MAX_LENGTH,
            padding=padding,
        )
        inputs["labels"] = []
        for i, tags in enumerate(examples["ner_tags"]):
            labels, before = [], None
            for word in inputs.word_ids(i):
                is_first = word is not None and word != before
                labels.append(ids.get(tags[word], ids["O"]) if is_first else IGNORED)
                before = word
            inputs["labels"].append(labels)
        return inputs

    data = data.map(tokenize, batched=True, remove_columns=data["train"].column_names)
    model = AutoModelForTokenClassification.from_pretrained(
        given.model, id2label=dict(enumerate(names)), label2id=ids
    )

    def compute_metrics(predicted: EvalPrediction) -> dict[str, float]:
        best = np.argmax(predicted.predictions, axis=-1)
        true, found = [], []
        for row, labels in zip(best, predicted.label_ids, strict=True):
            kept = labels != IGNORED
            true.append([names[i] for i in labels[kept]])
            found.append([names[i] for i in row[kept]])
        return {"f1": float(f1_score(true, found))}

    trainer = Trainer(
        model,
        TrainingArguments(**training_arguments(given)),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    trained = trainer.train().metrics
    answer(given, trained, trainer.evaluate())


if __name__ == "__main__":
    main()
