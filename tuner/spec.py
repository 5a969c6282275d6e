"""What a study is asked to do: a frozen, self-checking description that identifies it."""

import hashlib
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.config import TrainingConfig
from tuner.space import LambdaSpace

Sampler = Literal["gp", "tpe", "random", "grid"]
MetricName = Literal["auto", "accuracy", "balanced_accuracy", "macro_f1", "mae", "r2"]


class StudySpec(BaseModel):
    """One question about one data set.

    Two specs that are equal, on data of equal fingerprint, are the same study and have the same
    answer: whatever does not change the answer (number of workers, time budget) is not in here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    a: str | None = None
    b: str | None = None
    y: str | None = None
    name: str | None = None
    task: Literal["auto", "classification", "regression"] = "auto"
    metric: MetricName = "auto"
    trials: Annotated[int, Field(ge=3, description="λs tried, λ = 0 included")] = 8
    replicates: Annotated[int, Field(ge=2, description="seeds trained at every λ")] = 3
    confirm_replicates: Annotated[
        int, Field(ge=2, description="fresh seeds trained to confirm the answer on test rows")
    ] = 12
    batch: Annotated[int, Field(ge=1, description="λs proposed at a time")] = 4
    max_lambda: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 4.0
    sampler: Sampler = "gp"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    training: TrainingConfig = TrainingConfig()

    @property
    def space(self) -> LambdaSpace:
        """The λs that may be tried."""
        return LambdaSpace(maximum=self.max_lambda)

    def study_id(self, fingerprint: str, *code: str) -> str:
        """Identify the study of this spec on the data of that fingerprint (16 hex characters).

        Args:
            fingerprint: Of the data set.
            code: Digests of code that the answer depends on: users' own encoders.
        """
        question = "\n".join([fingerprint, *code, self.model_dump_json()])
        return hashlib.sha256(question.encode()).hexdigest()[:16]
