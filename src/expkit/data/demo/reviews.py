"""Generated reviews of two sentences, with the stars that they stand for, from 1 to 5.

A word of praise or blame counts from -2 to 2, an adverb weakens or strengthens it, and a "not" turns it. The stars
are 3 plus the mean of both sentences. Which word stands beside which noun says nothing.
"""

from collections.abc import Iterator
from typing import Any

from expkit.data.demo.drawing import distinct, owner, seeded

NOUNS = ["bar", "bathroom", "bread", "coffee", "dessert", "garden", "lobby", "menu", "music", "pool", "room", "soup", "staff", "view"]  # fmt: skip
WORDS = {
    "awful": -2.0, "terrible": -2.0, "bad": -1.5, "dull": -1.0, "poor": -1.2, "disappointing": -1.2, "mediocre": -0.6,
    "fine": 0.6, "decent": 0.7, "pleasant": 1.0, "good": 1.2, "nice": 1.1, "great": 1.6, "excellent": 2.0, "superb": 2.0,
}  # fmt: skip
ADVERBS = {"": 1.0, "slightly ": 0.4, "fairly ": 0.7, "really ": 1.2, "truly ": 1.2, "not ": -0.6}


def examples(split: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `size` distinct reviews, each {"text", "score"}, that no other split can contain."""
    rng = seeded("reviews", split, size, seed)

    def draw(nouns: list[str]) -> tuple[str, dict[str, Any]] | None:
        said = [(rng.choice(list(ADVERBS)), rng.choice(list(WORDS))) for _ in nouns]
        text = " ".join(f"The {n} was {a}{w}." for n, (a, w) in zip(nouns, said, strict=True))
        score = 3 + sum(max(-2, min(ADVERBS[a] * WORDS[w], 2)) for a, w in said) / len(said)
        return (text, {"text": text, "score": round(score, 2)}) if owner(text) == split else None

    return distinct(size, lambda: [rng.sample(NOUNS, 2) for _ in NOUNS], draw, tries=20)
