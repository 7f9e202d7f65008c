"""A small download of GLUE: the benchmark's folders, columns and quoting, with a few made-up examples of each task."""

from pathlib import Path

# In these files nothing encloses a cell, so that a quotation mark, also a lone one, is part of the text.
MNLI_FIRST = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse"
MNLI_FIRST += "\tsentence2_parse\tsentence1\tsentence2"
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
MRPC = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"
PAIR = "index\tsentence1\tsentence2\tlabel"

TEXTS = [
    ("\"We're done, she said", "She said that they were done"),
    ('It was 5" long', "The thing measured 5 inches"),
    ('He asked "why', 'Nobody asked "why" at all'),
    ("A dog, a cat; and | a pipe", "There were animals"),
    ('"Quoted from end to end"', 'Said: "quoted""'),
    ("Übergrößen – naïve café", "Plain words only"),
    ("The trophy does not fit", "The suitcase is small"),
    ('""', "An empty quotation"),
]


def write_glue(folder: Path) -> Path:
    """Write the folders of all nine tasks; each training file has 16 examples, each other one 8."""
    for name, text in _files().items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="")
    return folder


def examples(count: int, split: str) -> list[tuple[int, str, str]]:
    """The number of each example, and its two texts."""
    pairs = [TEXTS[i % len(TEXTS)] for i in range(count)]
    return [(i, a, f"{b} {split} {i}") for i, (a, b) in enumerate(pairs)]


def _files() -> dict[str, str]:
    made = {}
    for split, count in (("train", 16), ("dev", 8)):
        rows = examples(count, split)
        yes = ["not_entailment", "entailment"]
        made[f"CoLA/{split}.tsv"] = lines(
            *(f"gj04\t{i % 2}\t{'' if i % 2 else '*'}\t{a}" for i, a, _ in rows)
        )
        made[f"SST-2/{split}.tsv"] = lines(
            "sentence\tlabel", *(f"{a}\t{i % 2}" for i, a, _ in rows)
        )
        made[f"MRPC/{split}.tsv"] = "\ufeff" + lines(
            MRPC, *(f"{i % 2}\t{i + 10}\t{i + 90}\t{a}\t{b}" for i, a, b in rows)
        )
        made[f"STS-B/{split}.tsv"] = lines(
            STSB,
            *(
                f"{i}\tmain-news\tMSRvid\t2012test\t000{i}\tnone\tnone\t{a}\t{b}\t{i % 6}.{i:03d}"
                for i, a, b in rows
            ),
        )
        made[f"QQP/{split}.tsv"] = lines(
            QQP, *(f"{i}\t{2 * i}\t{2 * i + 1}\t{a}\t{b}\t{i % 2}" for i, a, b in rows)
        )
        made[f"QNLI/{split}.tsv"] = lines(
            "index\tquestion\tsentence\tlabel",
            *(f"{i}\t{a}\t{b}\t{yes[i % 2]}" for i, a, b in rows),
        )
        made[f"RTE/{split}.tsv"] = lines(
            PAIR, *(f"{i}\t{a}\t{b}\t{yes[i % 2]}" for i, a, b in rows)
        )
        made[f"WNLI/{split}.tsv"] = lines(PAIR, *(f"{i}\t{a}\t{b}\t{i % 2}" for i, a, b in rows))
    made["MNLI/train.tsv"] = _mnli("train", 16, 1)
    made["MNLI/dev_matched.tsv"] = _mnli("matched", 8, 5)
    made["MNLI/dev_mismatched.tsv"] = _mnli("mismatched", 9, 5)
    for task in ("CoLA", "SST-2", "MRPC", "STS-B", "QQP", "QNLI", "RTE", "WNLI"):
        made[f"{task}/test.tsv"] = "index\tsentence\n0\tno label here\n"
    return made


def _mnli(split: str, count: int, annotators: int) -> str:
    header = "\t".join([MNLI_FIRST, *(f"label{k}" for k in range(1, annotators + 1)), "gold_label"])
    names = ["contradiction", "entailment", "neutral"]
    rows = []
    for i, a, b in examples(count, split):
        others = "\t".join(["neutral"] * annotators)
        parses = f"( {a} )\t( {b} )\t(ROOT {a})\t(ROOT {b})"
        rows.append(f"{i}\t{i}\t{i}n\tfiction\t{parses}\t{a}\t{b}\t{others}\t{names[i % 3]}")
    return lines(header, *rows)


def lines(*texts: str) -> str:
    """Each text on a line of its own."""
    return "".join(f"{text}\n" for text in texts)
