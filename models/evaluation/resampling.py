"""How rows are resampled: one by one, or by whole groups, whose rows are not independent."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tuner.models.typing import Doubles, Ints


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How many groups some rows are of, and how much these tell of other groups.

    Attributes:
        count: Number of groups.
        freedom: Degrees of freedom of the variance between them; 0 if there is one group.
    """

    count: int
    freedom: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Resamples:
    """What shows how a score varies with the rows that it is measured on.

    Attributes:
        weights: (resamples, rows) how much each row counts in each resample. There are none if
            all rows are of one group.
        stretch: What deviations of the resamples' scores from their mean are multiplied by, so
            that their sample variance is that of the score.
        grouping: The groups that were resampled; None where rows are independent.
    """

    weights: Doubles
    stretch: float = 1.0
    grouping: Grouping | None = None

    @classmethod
    def of_rows(cls, rows: int, resamples: int, seed: int) -> Self:
        """Bootstrap of independent rows."""
        return cls(weights=bootstrap_weights(rows, resamples, seed))

    @classmethod
    def of_groups(cls, group: Ints, most: int, seed: int) -> Self:
        """Jackknife that leaves out one group at a time.

        It is the estimator CV3 of cluster-robust inference (Bell and McCaffrey, Survey Methodology
        28 (2002) 169), which MacKinnon, Nielsen and Webb (Journal of Econometrics 232 (2023) 272)
        recommend where groups are few: of equal groups its variance of a mean is unbiased, and
        Student's t has as many degrees of freedom as there are groups, less one. Of unequal groups
        only the effective number counts, (Σ rows)² / Σ rows² (Kish, Survey Sampling, 1965; Carter,
        Schnepel and Steigerwald, Review of Economics and Statistics 99 (2017) 698).

        Args:
            group: (rows,) equal for rows of one group.
            most: Of more groups than these, several at random are left out together (the
                delete-a-group jackknife of Kott, Journal of Official Statistics 17 (2001) 521).
            seed: Of which ones.
        """
        part, grouping = parts_of_groups(group, most, seed)
        parts = cls.of_parts(int(part.max(initial=-1)) + 1, grouping)
        return replace(parts, weights=parts.weights[:, part])

    @classmethod
    def of_parts(cls, count: int, grouping: Grouping) -> Self:
        """The same jackknife, of whole parts in place of rows: see `parts_of_groups`."""
        if count < 2:
            return cls(weights=np.empty((0, count)), grouping=grouping)
        stretch = (count - 1) / float(np.sqrt(count))
        return cls(weights=1.0 - np.eye(count), stretch=stretch, grouping=grouping)

    def stretched(self, scores: Doubles) -> Doubles | None:
        """Scores whose sample variance is that of the score on other rows.

        Args:
            scores: One a resample, (resamples,).

        Returns:
            (resamples,), or None if groups are too few to tell: there is only one, or without one
            of them the score is not defined.
        """
        if self.grouping is None:
            return scores
        if not (scores.size and np.isfinite(scores).all()):
            return None
        mean = scores.mean()
        stretched: Doubles = mean + self.stretch * (scores - mean)
        return stretched


def parts_of_groups(group: Ints, most: int, seed: int) -> tuple[Ints, Grouping]:
    """Divide groups into the parts that a jackknife leaves out one at a time.

    Args:
        group: (rows,) equal for rows of one group.
        most: Of more groups than these, several at random make one part.
        seed: Of which ones.

    Returns:
        (rows,) the part of each row, from 0 on; and what the parts tell of other groups.
    """
    distinct, code = np.unique(group, return_inverse=True)
    count = min(len(distinct), most)
    part = np.random.default_rng(seed).permutation(len(distinct))[code] % max(count, 1)
    if count < 2:
        return part, Grouping(count=count, freedom=0.0)
    sizes = np.bincount(part)
    freedom = max(float(sizes.sum() ** 2 / (sizes**2).sum()) - 1, 1.0)
    return part, Grouping(count=len(distinct), freedom=freedom)


def bootstrap_weights(rows: int, resamples: int, seed: int) -> Doubles:
    """Draw how often each row occurs in bootstrap resamples, (resamples, rows)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(rows, np.full(rows, 1 / rows), size=resamples).astype(np.float64)
