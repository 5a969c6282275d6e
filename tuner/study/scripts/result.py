"""The answer of a study of training code: one JSON object, for the command and Python alike."""

import html
from typing import Annotated, Any, Literal

from pydantic import Field

from tuner.study.answer import Interval, Part, RegisteredModel, TargetAnswer, is_none
from tuner.study.result import (
    Cost,
    FailedTrial,
    MlflowLinks,
    ModelledScore,
    PointScore,
    Status,
    StudyResult,
)
from tuner.study.scoring.targets import Target


def answer_of(stored: dict[str, Any]) -> "StudyResult | ScriptResult":
    """Read a stored answer, whatever it is about."""
    kind = ScriptResult if "script" in stored else StudyResult
    return kind.model_validate(stored)


class ScriptSummary(Part):
    """Which code was studied.

    Attributes:
        name: Its function or its command.
        digest: Of the code and of how it is called.
    """

    name: str
    digest: str


class ScriptAnswer(TargetAnswer):
    """The answer for one target.

    Attributes:
        direction: Which way is better.
        rows: Test rows that it was measured on; 1 if it came as one number.
        mean_of: Targets that it is the mean of.
        measure: The functional that it is of what the code reports.
    """

    direction: Literal["maximize", "minimize"]
    rows: int
    mean_of: Annotated[
        tuple[Target, ...],
        Field(description="targets that it is the mean of", exclude_if=lambda parts: not parts),
    ] = ()
    measure: Annotated[
        str,
        Field(
            description="the score of reported arrays that it is",
            exclude_if=lambda measure: not measure,
        ),
    ] = ""


class ScriptPoint(Part):
    """What was seen at one λ on validation rows, by target."""

    strength: Annotated[float, Field(alias="lambda")]
    replicates: int
    scores: dict[Target, PointScore]


class ScriptPartial(Part):
    """A λ that halving stopped: what it scored after a part of a training; not of the curve."""

    strength: Annotated[float, Field(alias="lambda")]
    share: Annotated[float, Field(description="of a training")]
    scores: dict[Target, PointScore]


class ModelledTargets(Part):
    """The model of the λ-curve that λ* comes from, by target."""

    strengths: Annotated[tuple[float, ...], Field(alias="lambda")]
    scores: dict[Target, ModelledScore]


class ScriptResult(Part):
    """The whole answer.

    Attributes:
        main: The target that the search went by.
        targets: The answer for each target.
    """

    study: str
    name: str
    status: Status
    headline: str
    warnings: tuple[str, ...] = ()
    script: ScriptSummary
    main: Target
    targets: dict[Target, ScriptAnswer]
    curve: tuple[ScriptPoint, ...]
    curve_model: ModelledTargets | None = None
    stopped: Annotated[
        tuple[ScriptPartial, ...],
        Field(
            description="λs that halving stopped",
            exclude_if=lambda stopped: not stopped,
        ),
    ] = ()
    failures: tuple[FailedTrial, ...]
    cost: Cost
    saved: Annotated[
        str | None,
        Field(
            description="what the best confirming training at the recommended λ saved",
            exclude_if=is_none,
        ),
    ] = None
    model: Annotated[
        RegisteredModel | None,
        Field(description="where that is registered in MLflow", exclude_if=is_none),
    ] = None
    mlflow: MlflowLinks | None = None
    unpublished: Annotated[
        str | None,
        Field(description="why MLflow does not show it", exclude_if=is_none),
    ] = None

    @property
    def answer(self) -> ScriptAnswer:
        """The answer for the main target."""
        return self.targets[self.main]

    @property
    def answers(self) -> dict[Target, ScriptAnswer]:
        """The answer for each target, the main one last."""
        return {target: self.targets[target] for target in reversed(self.targets)}

    @property
    def tested(self) -> tuple[float | None, Interval | None]:
        """The main target's gain over λ = 0 on test rows, and its 95 % interval."""
        return self.answer.tested

    def _repr_html_(self) -> str:
        """Show it in a notebook: the sentence, and a line for each target."""
        words = html.escape(self.headline)
        heads = ("", "λ*", "95 % interval", "verdict", "gain on test rows", "95 % interval")
        row = "".join(f"<th>{head}</th>" for head in heads)
        rows = "".join(_html_row(target, answer) for target, answer in self.targets.items())
        return (
            f"<div><p><strong>{words}</strong></p>"
            f"<table><thead><tr>{row}</tr></thead><tbody>{rows}</tbody></table></div>"
        )

    @property
    def missing(self) -> tuple[str, ...]:
        """What could not be shown of a study that is done, and why; empty if all was."""
        if self.mlflow is None:
            return (self.unpublished or "MLflow could not be reached",)
        return ()


def _html_row(target: Target, answer: ScriptAnswer) -> str:
    gain, interval = answer.tested
    cells = (
        f"{answer.strength:.3g}",
        "[{:.3g}, {:.3g}]".format(*answer.interval),
        answer.verdict,
        "–" if gain is None else f"{gain:+.4g}",
        "–" if interval is None else "[{:+.4g}, {:+.4g}]".format(*interval),
    )
    inside = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr><th>{html.escape(target)}</th>{inside}</tr>"
