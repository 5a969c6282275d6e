"""Proposals in batches that overlap by one, so that no worker waits for another.

The first batch is laid out before any result is known. Batch 1 is proposed once that is finished,
for what rests on no result is no proposal; from then on batch k once batch k - 2 is finished, while
batch k - 1 trains. Because nothing else goes in, one worker and eight, and a study that was killed
and taken up again, try the same points.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Point = TypeVar("Point")
Result = TypeVar("Result")


@dataclass(kw_only=True, eq=False)
class Batches(Generic[Point, Result]):
    """Points to be tried, numbered from 0.

    Attributes:
        total: How many points there are in the end.
        size: Points in a batch.
        first: Given a number of points, those that are tried before any result is known.
        propose: Given the batch's number, the results that it may rest on, the points of the
            batch before, whose results may not be known, and a count: the points of the batch.
        enough: Given the results that a batch may rest on, whether there is to be none any more.
    """

    total: int
    size: int
    first: Callable[[int], Sequence[Point]]
    propose: Callable[[int, Sequence[Result], Sequence[Point], int], Sequence[Point]]
    enough: Callable[[Sequence[Result]], bool] = lambda _: False
    _ended: bool = field(default=False, init=False, repr=False)
    _made: list[list[Point]] = field(default_factory=list, init=False, repr=False)

    def known(self, results: Mapping[int, Result]) -> list[list[Point]]:
        """Return every batch that can be known from the results so far, by number of the point."""
        if not self._made:
            self._made = [list(self.first(min(self.size, self.total)))]
        batches = self._made[:1]
        unbroken = next((n for n in range(self.total) if n not in results), self.total)
        while len(batches) * self.size < self.total:
            number = len(batches)
            seen = range(max(1, number - 1) * self.size)
            if seen.stop > unbroken:
                break
            if number == len(self._made):
                count = min(self.size, self.total - number * self.size)
                rest_on = [results[n] for n in seen]
                self._ended = self._ended or self.enough(rest_on)
                if self._ended:
                    break
                pending = batches[-1] if number > 1 else []
                self._made.append(list(self.propose(number, rest_on, pending, count)))
            batches.append(self._made[number])
        return batches
