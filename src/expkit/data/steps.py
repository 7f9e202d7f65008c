"""The examples of every optimizer step, as a pure function of the seed and the step's number.

Both backends draw from the same `Steps`, so they see the same batches in the same order. A resumed
run can go on at any step without replaying the ones before.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from expkit.processes.group import device

Batch = dict[str, torch.Tensor]
Example = dict[str, Any]
# A collator gets the examples and a seed for each of them. So what it draws at random for an example,
# such as masks, does not depend on the batch.
Collate = Callable[[list[Example], Sequence[int]], Batch]

BATCHES_SORTED_TOGETHER = 50


class Steps(Dataset[list[Batch]]):
    """The optimizer steps of a run; each is a list of at most `accumulation` micro-batches.

    An epoch has ceil(batches / accumulation) steps. Its last step may be short: no example is dropped
    or carried over into the next epoch.

    Where several processes train together, process r of n gets the micro-batches r, r + n, r + 2n, ... of
    a step. A process that would get one less than the others, in a short step, gets a copy of the first one
    instead, because all processes have to call the model equally often. `Training.micro_batches` sees to it
    that the copy counts for nothing.

    Args:
        accumulation: micro-batches of a step, those of all processes together.
        process: the number of this process, and how many there are.
    """

    def __init__(
        self,
        examples: datasets.Dataset,
        lengths: Sequence[int],
        collate: Collate,
        *,
        batch_size: int,
        accumulation: int,
        epochs: int,
        max_steps: int | None,
        group_by_length: bool,
        seed: int,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        self._examples = examples
        self._lengths = np.asarray(lengths)
        self._collate = collate
        self._batch_size = batch_size
        self._accumulation = accumulation
        self._group_by_length = group_by_length
        self._seed = seed
        self._process, self._processes = process
        self.shape = (batch_size, int(np.median(self._lengths)))  # of a typical batch
        self.steps_per_epoch = math.ceil(math.ceil(len(lengths) / batch_size) / accumulation)
        self._total = max_steps or epochs * self.steps_per_epoch
        self._batches = lru_cache(maxsize=2)(self._batches_of_epoch)

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, step: int) -> list[Batch]:
        """The micro-batches that this process computes; see the class for the last one of a short step."""
        batches = self.indices(step)
        own = batches[self._process :: self._processes]
        if len(own) < math.ceil(len(batches) / self._processes):
            own.append(batches[0])
        return [self._collated(step, indices) for indices in own]

    def _collated(self, step: int, indices: list[int]) -> Batch:
        epoch = step // self.steps_per_epoch
        seeds = [mix(self._seed, epoch, i) for i in indices]
        # Reading the examples one by one would take 1 % of a step.
        return self._collate(self._examples.__getitems__(indices), seeds)

    def indices(self, step: int) -> list[list[int]]:
        """The examples of a step in all processes, one list a micro-batch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self._accumulation
        return [b.tolist() for b in self._batches(epoch)[first : first + self._accumulation]]

    def examples(self, step: int) -> int:
        """How many examples a step has, in all processes."""
        return sum(map(len, self.indices(step)))

    def positions(self) -> range:
        """The numbers within the step, from 0, of the micro-batches that this process computes."""
        return range(self._process, self._accumulation, self._processes)

    def loader(self, start: int = 0) -> "DataLoader[list[Batch]]":
        """The steps from `start` on."""
        return DataLoader(
            self,
            batch_size=None,
            sampler=range(start, self._total),
            pin_memory=device().type == "cuda",  # so that copying does not wait
            # The loader draws a seed for its workers, which must not move the global random state.
            generator=torch.Generator().manual_seed(self._seed),
        )

    def _batches_of_epoch(self, epoch: int) -> list[np.ndarray]:
        """Shuffled batches, each of examples of similar length if `group_by_length` is set.

        For that, windows of 50 batches are sorted by length and cut into batches, which are shuffled
        again. So there is little padding, and the epoch as a whole is not ordered by length.
        """
        rng = np.random.default_rng((self._seed, epoch))
        order = rng.permutation(len(self._lengths))
        if not self._group_by_length:
            return _cut(order, self._batch_size)
        batches: list[np.ndarray] = []
        for window in _cut(order, self._batch_size * BATCHES_SORTED_TOGETHER):
            by_length = window[np.argsort(self._lengths[window], kind="stable")]
            batches += _cut(by_length, self._batch_size)
        return [batches[i] for i in rng.permutation(len(batches))]


def _cut(order: np.ndarray, size: int) -> list[np.ndarray]:
    return [order[i : i + size] for i in range(0, len(order), size)]


def mix(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
