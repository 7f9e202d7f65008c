"""Metrics of translations, on sacreBLEU (Post, 2018, https://aclanthology.org/W18-6319)."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, ClassVar

import datasets
import numpy as np
import sacrebleu
from sacrebleu.metrics.base import Metric as Scorer

from expkit.metrics.local import LocalMetric
from expkit.metrics.segmentation import SEGMENTATIONS, provenance, segmentation_of, segmenter
from expkit.metrics.statistics import Scores, Statistics

TEXT = datasets.Value("string")
References = Sequence[Sequence[str]]  # one or more of each sentence, not of all the same number


class CorpusMetric(LocalMetric):
    """One score, from 0 to 100, for all sentences together."""

    direction = "maximize"
    takes: ClassVar = [
        datasets.Features({"predictions": TEXT, "references": references})
        for references in (datasets.Sequence(TEXT), TEXT)
    ]
    key: str  # the name of the score

    def scorer(self) -> Scorer:
        """The metric of sacreBLEU with its settings."""
        raise NotImplementedError

    def words(self, text: str) -> str:
        """The text as sacreBLEU gets it."""
        return text

    def signature(self, references: References) -> str:
        """What the score depends on beside the texts, in the words of sacreBLEU."""
        scorer = self.scorer()
        lengths = {len(of_sentence) for of_sentence in references}
        scorer.num_refs = lengths.pop() if len(lengths) == 1 else -1  # sacreBLEU's "it varies"
        return str(scorer.get_signature())

    def _compute(
        self, predictions: Sequence[str], references: References | Sequence[str]
    ) -> dict[str, float]:
        """`references` holds a text or several for each sentence."""
        score = self.scorer().corpus_score(*self._segmented(predictions, references))
        return {self.key: float(score.score)}

    def _segmented(
        self, predictions: Sequence[str], references: References | Sequence[str]
    ) -> tuple[list[str], list[Any]]:
        """As sacreBLEU wants them: all first references, then all second ones; None for none."""
        lists = [[r] if isinstance(r, str) else r for r in references]
        segmented = [[self.words(r) for r in of_sentence] for of_sentence in lists]
        return [self.words(p) for p in predictions], list(zip_longest(*segmented))

    def statistics(
        self, predictions: Sequence[str], references: References | Sequence[str]
    ) -> Statistics:
        """The counts that sacreBLEU takes of each sentence for its own significance tests."""
        scorer = self.scorer()
        counts = scorer._extract_corpus_statistics(*self._segmented(predictions, references))

        def scores(sums: np.ndarray) -> Scores:
            made = [scorer._compute_score_from_stats(row).score for row in sums.tolist()]
            return {self.key: np.array(made)}

        return Statistics(np.asarray(counts, dtype=float), scores)


class BLEU(CorpusMetric):
    """BLEU (Papineni et al., 2002, https://aclanthology.org/P02-1040).

    Args:
        language: of the translations; it decides what a word is.
        segmentation: decides it otherwise; one of `segmentation.SEGMENTATIONS`.
    """

    key = "bleu"

    def __init__(self, language: str, segmentation: str | None = None) -> None:
        self._segmentation = segmentation_of(language, segmentation)
        super().__init__()

    def scorer(self) -> Scorer:
        """BLEU on words that sacreBLEU finds itself, or that stand between spaces."""
        return sacrebleu.BLEU(tokenize=SEGMENTATIONS[self._segmentation], force=True)

    def words(self, text: str) -> str:
        """The text with spaces between words."""
        return segmenter(self._segmentation)(text)

    def signature(self, references: References) -> str:
        """The signature of sacreBLEU and, behind it, what has segmented the texts before."""
        segmented_by = provenance(self._segmentation)
        suffix = f"|seg:{segmented_by}" if segmented_by else ""
        return super().signature(references) + suffix


class ChrF(CorpusMetric):
    """F-score of character 6-grams (Popović, 2015, https://aclanthology.org/W15-3049).

    It needs no words.

    Args:
        word_order: up to how many words in a row count too; with 2 it is chrF++.
    """

    key = "chrf"

    def __init__(self, word_order: int = 0) -> None:
        self._word_order = word_order
        super().__init__()

    def scorer(self) -> Scorer:
        """The chrF of sacreBLEU, which also takes `word_order` n-grams of words."""
        return sacrebleu.CHRF(word_order=self._word_order)
