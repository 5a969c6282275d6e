"""What MLflow is shown of a study of training code and its trainings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.data.naming import names_of, safe_name
from tuner.models.outcome import TrainingOutcome
from tuner.reporting.note import plain
from tuner.scripts.scores import GROUP
from tuner.study.scripts.result import ScriptAnswer, ScriptResult
from tuner.study.scripts.study import ScriptStudy
from tuner.study.trial import TrialRequest
from tuner.tracking.connection import TAG_FINGERPRINT, TAG_STUDY, Point
from tuner.tracking.content.encoders import curve_points


@dataclass(frozen=True)
class ScriptContent:
    """What is shown of a study of training code: see `RunContent`.

    Attributes:
        study: The study; that its targets are named yet is not asked for.
    """

    study: ScriptStudy

    @property
    def id(self) -> str:
        """Identifier of the study."""
        return self.study.id

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.study.name

    @property
    def fingerprint(self) -> str:
        """Of the function or command and its folder: code that is edited stays with what it was."""
        script = self.study.script
        return hashlib.sha256(f"{script.folder}\n{script.name}".encode()).hexdigest()

    @property
    def experiments(self) -> Sequence[str]:
        """Names for the experiment: other code of that name has its own."""
        return names_of(safe_name(self.study.name), self.fingerprint)

    @property
    def experiment_note(self) -> str:
        """Describes the experiment."""
        return (
            f"Which strength λ of alignment does the training **{plain(self.study.script.name)}** "
            "want?\n\nEach run at the top is a study: its description says what to do and why, and "
            "its metrics begin with the answer (`answer/gain`: the gain on test rows over λ = 0, "
            "with the ends of the interval). The runs below it are trainings, one λ and one seed "
            "each."
        )

    @property
    def spec(self) -> dict[str, Any]:
        """What is asked, and of which code."""
        return self.study.written

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the study's run."""
        return {
            TAG_STUDY: self.id,
            TAG_FINGERPRINT: self.fingerprint,
            "tuner.code": self.study.script.digest,
            "mlflow.source.name": self.study.script.name,
            "mlflow.source.type": "LOCAL",
        }

    @property
    def params(self) -> dict[str, object]:
        """Parameters of the study's run: its spec."""
        spec = self.study.spec.model_dump(mode="json", exclude={"target"})
        return {name: value for name, value in spec.items() if value is not None}

    @property
    def inputs(self) -> list[Any]:
        """There are none: the code reads its data itself."""
        return []

    def is_tried_again(self, reason: str) -> bool:
        """Whether it failed: for whatever reason."""
        return bool(reason)

    def trial_name(self, request: TrialRequest) -> str:
        """Name of a training's run."""
        return f"λ = {request.strength:.3g} ({request.phase}, seed {request.seeds[0]})"

    def trial_tags(self, request: TrialRequest) -> dict[str, str]:
        """There are none but those that all have."""
        del request
        return {}

    def trial_params(self, request: TrialRequest) -> dict[str, object]:
        """Parameters of a training's run."""
        return {"lambda": request.strength, "phase": request.phase, "seed": request.seeds[0]}

    def trial_points(self, outcome: TrainingOutcome, ended: int) -> list[Point]:
        """Metrics of a training's run: its scores, and what it told of its epochs."""
        splits = {"validation": outcome.predictions, "test": outcome.test_predictions or {}}
        points = [
            Point(f"{split}_{target}", float(rows.mean()), ended)
            for split, scores in splits.items()
            for target, rows in scores.items()
            if target != GROUP
        ]
        points.append(Point("seconds", outcome.seconds, ended))
        return points + curve_points(outcome, ended)

    def answer_points(self, result: ScriptResult, now: int) -> list[Point]:
        """The answer as metrics of the study's run, the main target's first."""
        values: dict[str, float | None] = {}
        for target, answer in result.targets.items():
            name = "answer" if target == result.main else f"answer_{target}"
            gain, interval = answer.tested
            low, high = interval or (None, None)
            values |= {f"{name}/gain": gain, f"{name}/gain_low": low, f"{name}/gain_high": high}
            values |= {
                f"{name}/lambda": answer.strength,
                f"{name}/test_at_zero": answer.test.baseline,
                f"{name}/test": answer.test.best,
            }
        return [Point(name, value, now) for name, value in values.items() if value is not None]

    def answer_tags(self, result: ScriptResult) -> Mapping[str, str]:
        """The answer as tags of the study's run."""
        tags = {} if result.saved is None else {"tuner.saved": result.saved}
        for target, answer in result.targets.items():
            tags[f"tuner.verdict.{target}"] = answer.verdict
            tags[f"tuner.lambda.{target}"] = f"{answer.strength:.6g}"
        return tags

    def answer_note(self, result: ScriptResult) -> str:
        """Describes the answer."""
        heads = "| | verdict | λ* | best λ, 95 % interval | λ tested | gain on test rows |"
        rows = [_row(target, answer) for target, answer in result.targets.items()]
        told = [f"- {plain(t)}: {plain(answer.evidence)}" for t, answer in result.targets.items()]
        parts = [
            f"**{plain(result.headline)}**",
            *map(plain, result.warnings),
            f"Study **{plain(result.name)}** of `{plain(result.script.name)}`.",
            "\n".join(told),
            "\n".join([heads, "|---|---|---|---|---|---|", *rows]),
        ]
        if result.saved is not None:
            parts.append(f"The best confirming training was saved in `{plain(result.saved)}`.")
        return "\n\n".join(parts)


def _row(target: str, answer: ScriptAnswer) -> str:
    gain, interval = answer.tested
    low, high = answer.interval
    cells = (
        plain(target),
        answer.verdict,
        f"{answer.strength:.3g}",
        f"{low:.3g} to {high:.3g}",
        f"{answer.candidate:.3g}",
        ("—" if gain is None else f"{gain:+.4g}")
        + ("" if interval is None else f" ({interval[0]:+.4g} to {interval[1]:+.4g})"),
    )
    return f"| {' | '.join(cells)} |"
