"""What a study expects of its λ-curves before it trains anything."""

from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Strength = Annotated[float, Field(ge=0)]
Numbers = tuple[float, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CurveFamilies(_Part):
    """A mixture of Gaussians over the gain at eight λs: see `tuner.analysis.curves.families`.

    Attributes:
        shares: How likely each family is; they sum to 1. Shape (J,).
        means: Expected gains. Shape (J, m).
        covariances: Of the gains. Shape (J, m, m).
        interval: λs that the best is expected between, with 80 %; None if too little is expected
            to begin there.
    """

    shares: Annotated[Numbers, Field(min_length=1)]
    means: tuple[Numbers, ...]
    covariances: tuple[tuple[Numbers, ...], ...]
    interval: tuple[Strength, Strength] | None

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        shares, means = np.array(self.shares), self.means
        lengths = {len(mean) for mean in means}
        nodes = next(iter(lengths), 0)
        rows = [len(row) for matrix in self.covariances for row in matrix]
        if len(means) != shares.size or len(self.covariances) != shares.size or len(lengths) != 1:
            raise ValueError("shares, means and covariances are to be of as many families")
        if set(rows) != {nodes} or any(len(matrix) != nodes for matrix in self.covariances):
            raise ValueError("a covariance has as many rows and columns as there are means")
        if np.any(shares < 0) or abs(shares.sum() - 1) > 1e-6:
            raise ValueError("shares are at least 0 and sum to 1")
        return self


class EarlierShare(_Part):
    """The one past study that `--warm-start` names, of other data: the last family is of its curve.

    Attributes:
        study: Its id.
        name: Its name.
        weight: Of that family, as a part of the prior's.
    """

    study: str
    name: str
    weight: Annotated[float, Field(ge=0, lt=1)]


class Prior(_Part):
    """What past studies lead one to expect of a study's data, by target.

    It is in the spec with all its numbers, so that the study has the same answer whatever becomes
    of the past studies that it was made from.

    Attributes:
        source: Where they are from: `shipped`, `own`, or a file; `none` if there is but an earlier
            study.
        corpus: Digest of these; empty without any.
        weight: Of it; the rest is the vague prior's that a study has without it.
        targets: What is expected of each.
        earlier: A study of other data that has a say, too; None without one.
    """

    source: str
    corpus: str
    weight: Annotated[float, Field(ge=0, lt=1)] = 0.5
    targets: dict[str, CurveFamilies]
    earlier: Annotated[
        EarlierShare | None,
        Field(exclude_if=lambda earlier: earlier is None),  # as before there was any
    ] = None
