"""Translation with Seq2SeqTrainer, as in chapter 7 of the Hugging Face course.

https://huggingface.co/learn/llm-course/chapter7/4
"""

from typing import Any

from datasets import load_dataset
from sacrebleu import corpus_chrf
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    EvalPrediction,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
)

from benchmarks.references.settings import answer, arguments, training_arguments

MAX_LENGTH = 64
BEAMS = 4


def main() -> None:
    given = arguments()
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    padding = "max_length" if given.variant == "padded" else False

    def tokenize(examples: dict[str, Any]) -> Any:
        return tokenizer(
            [record["zh"] for record in examples["translation"]],
            text_target=[record["ja"] for record in examples["translation"]],
            max_length=MAX_LENGTH,
            truncation=True,
            padding=padding,
        )

    data = load_dataset("json", data_files={"train": given.train, "validation": given.validation})
    data = data.map(tokenize, batched=True, remove_columns=data["train"].column_names)
    model = AutoModelForSeq2SeqLM.from_pretrained(given.model)

    def compute_metrics(predicted: EvalPrediction) -> dict[str, float]:
        def texts(ids: Any) -> list[str]:
            ids[ids < 0] = tokenizer.pad_token_id
            return list(tokenizer.batch_decode(ids, skip_special_tokens=True))

        return {
            "chrf": corpus_chrf(texts(predicted.predictions), [texts(predicted.label_ids)]).score
        }

    trainer = Seq2SeqTrainer(
        model,
        Seq2SeqTrainingArguments(
            **training_arguments(given),
            predict_with_generate=True,
            generation_max_length=MAX_LENGTH,
            generation_num_beams=BEAMS,
        ),
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        data_collator=DataCollatorForSeq2Seq(tokenizer, model),
        processing_class=tokenizer,
        compute_metrics=compute_metrics,
    )
    trained = trainer.train().metrics
    answer(given, trained, trainer.evaluate())


if __name__ == "__main__":
    main()
