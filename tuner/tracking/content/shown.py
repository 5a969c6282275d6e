"""What the mirror has to know of a study to show it in MLflow: one protocol for every kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tuner.models.outcome import TrainingOutcome
from tuner.study.trial import TrialRequest
from tuner.tracking.connection import Point


class RunContent(Protocol):
    """Names, tags, parameters and metrics of a study's run and of those of its trials.

    Everything derives from the study and its store alone, times included, so that writing it twice
    leaves what writing it once does.
    """

    @property
    def id(self) -> str:
        """Identifier of the study."""

    @property
    def name(self) -> str:
        """Name of the study."""

    @property
    def fingerprint(self) -> str:
        """Of what is studied: an experiment holds all studies of one."""

    @property
    def experiments(self) -> Sequence[str]:
        """Names for the experiment: the first that no other has."""

    @property
    def experiment_note(self) -> str:
        """Describes the experiment."""

    @property
    def spec(self) -> dict[str, Any]:
        """What is asked, as JSON."""

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the study's run."""

    @property
    def params(self) -> dict[str, object]:
        """Parameters of the study's run."""

    @property
    def inputs(self) -> list[Any]:
        """Data sets of the study's run, as MLflow has them."""

    def is_tried_again(self, reason: str) -> bool:
        """Whether a trial is, that failed for that reason: empty if it did not fail."""

    def trial_name(self, request: TrialRequest) -> str:
        """Name of a trial's run."""

    def trial_tags(self, request: TrialRequest) -> dict[str, str]:
        """Tags of a trial's run, but for what all have."""

    def trial_params(self, request: TrialRequest) -> dict[str, object]:
        """Parameters of a trial's run."""

    def trial_points(self, outcome: TrainingOutcome, ended: int) -> list[Point]:
        """Metrics of a trial's run, which ended at so many milliseconds since 1970."""

    def answer_points(self, result: Any, now: int) -> list[Point]:
        """The answer as metrics of the study's run."""

    def answer_tags(self, result: Any) -> Mapping[str, str]:
        """The answer as tags of the study's run."""

    def answer_note(self, result: Any) -> str:
        """Describes the answer."""
