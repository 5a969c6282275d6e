"""What `tuner predict` says of a data set: the same object as JSON, in Python and of a service."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from tuner.study.scoring.targets import Target


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True
    )


class Point(_Part):
    """What is expected at one λ: the mean gain over λ = 0, and its 80 % band."""

    strength: Annotated[float, Field(alias="lambda")]
    mean: float
    low: float
    high: float


class Probability(_Part):
    """Of what alignment does.

    Attributes:
        helps: Some λ gains as much as the smallest gain worth having, or more.
        harms: None does, and some λ costs as much.
        neither: It is not worth it, and does no harm.
    """

    helps: float
    harms: float
    neither: float


class Size(_Part):
    """What is expected to decide it with 80 % power, if the expected gain is the true one.

    Attributes:
        seeds: Confirming seeds on the labelled test rows that there are; None if no number does.
        rows: Labelled test rows with the confirming seeds that the study has; None if no number
            does.
    """

    seeds: int | None
    rows: int | None


class TargetPrediction(_Part):
    """What is expected of one target.

    Attributes:
        strength: λ to begin with: the highest expected gain is there.
        interval: Of the best λ, 80 %.
        probability: Of what alignment does.
        curve: Expected gain by λ.
        size: Of a study that is expected to decide it.
    """

    strength: Annotated[float, Field(alias="lambda")]
    interval: tuple[float, float]
    probability: Probability
    curve: Annotated[list[Point], Field(repr=False)]  # long
    size: Size


class PastPoint(_Part):
    """What a past study saw at one λ: the mean gain over λ = 0, and its standard error."""

    strength: Annotated[float, Field(alias="lambda")]
    gain: float
    sem: float


class PastStudy(_Part):
    """A past study that is much like this one, and its curves by target."""

    name: str
    source: str
    study: str | None
    curves: Annotated[dict[Target, list[PastPoint]], Field(repr=False)]


class CorpusSummary(_Part):
    """What a prediction was made from.

    Attributes:
        digest: Of all of it.
        records: Past studies in it.
        own: Those of them that are the user's own.
        used: Those that this prediction rests on.
        sources: How many data sets or generators these are of.
        left_out: Those that have rows of this data set, or are of a source that has.
        stale: Whether other code than is here trained what is shipped.
    """

    digest: str
    records: int
    own: int
    used: int
    sources: int
    left_out: int
    stale: bool


class Prediction(_Part):
    """The λ-curves of a data set as past studies lead one to expect them; nothing was trained.

    Attributes:
        name: Of the data set.
        fingerprint: Of the data set.
        metric: What gains are of.
        smallest_gain: The smallest gain worth having.
        outside: Why nothing is predicted, one line each; empty if something is.
        targets: By target; empty if something is outside of what the corpus has seen.
        alike: The most alike past studies, the nearest first.
        corpus: What it was made from.
    """

    name: str
    fingerprint: str
    metric: str
    smallest_gain: float
    outside: list[str]
    targets: dict[Target, TargetPrediction]
    alike: list[PastStudy]
    corpus: CorpusSummary
