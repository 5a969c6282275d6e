"""A study of training code: one spec about one script, with what is derived from the two."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from textwrap import shorten
from typing import Any, ClassVar, Self

from tuner.data import Split
from tuner.errors import StudyFailedError
from tuner.models.outcome import TrainingOutcome
from tuner.scripts.scores import GROUP
from tuner.scripts.script import Script
from tuner.study.budget import NO_BUDGET, Budget
from tuner.study.scoring.scores import stream_of
from tuner.study.scoring.targets import Target
from tuner.study.scripts.scores import RowScorer
from tuner.study.scripts.spec import ScriptSpec, TargetSpec

_LONGEST = 80
_POINT = 0.01
_SHARE = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class ScriptStudy:
    """What is asked of which code.

    Attributes:
        id: Identifier of the study: equal code and spec have an equal one.
        spec: What is asked.
        script: Of what.
        targets: What it is scored by; none if the spec names none and nothing is trained yet.
        budget: What its search may cost.
    """

    folds: ClassVar[None] = None  # its rows are its own
    divisible_rows: ClassVar[None] = None
    epochs: ClassVar[int] = 0  # which the code has, if any, and does not tell
    max_steps: ClassVar[int] = 0
    id: str
    spec: ScriptSpec
    script: Script
    targets: tuple[TargetSpec, ...]
    budget: Budget = NO_BUDGET

    @classmethod
    def of(cls, spec: ScriptSpec, script: Script) -> "ScriptStudy":
        """Derive everything from spec and code."""
        return cls(id=spec.study_id(script), spec=spec, script=script, targets=spec.target)

    @classmethod
    def read(cls, study_id: str, written: Mapping[str, Any]) -> Self:
        """Return a study that was written down as `written`, under an id of its own.

        Raises:
            pydantic.ValidationError: If it has an option that this version does not know.
        """
        options = {name: value for name, value in written.items() if name != "script"}
        spec = ScriptSpec.model_validate(options)
        script = Script.model_validate(written["script"])
        return cls(id=study_id, spec=spec, script=script, targets=spec.target)

    def within(self, budget: Budget) -> "ScriptStudy":
        """Return this study with a budget that ends its search, which makes it another question."""
        if budget == NO_BUDGET:
            return self
        return replace(self, id=budget.bounded(self.id), budget=budget)

    @property
    def written(self) -> dict[str, Any]:
        """What is asked, and of which code."""
        script = self.script.model_dump(mode="json")
        return self.spec.model_dump(mode="json") | {"script": script}

    @property
    def name(self) -> str:
        """Name of the study: the spec's, or else the script's, of a long command its beginning."""
        return self.spec.name or shorten(self.script.name, _LONGEST, placeholder=" …")

    @property
    def shorter(self) -> tuple[str, ...]:
        """Identifiers of the studies that this one adds seeds to, the last first."""
        ids = (spec.study_id(self.script) for spec in self.spec.shorter)
        return tuple(ids if self.budget == NO_BUDGET else map(self.budget.bounded, ids))

    def named(self, outcome: TrainingOutcome) -> "ScriptStudy":
        """Return this study with the targets that its first training reports, if none were named.

        The names say which way is better: see `TargetSpec.of`.

        Raises:
            StudyFailedError: If it does not report one that was named.
        """
        reported = tuple(name for name in outcome.predictions if name != GROUP)
        if self.targets:
            wanted = dict.fromkeys(name for target in self.targets for name in target.arrays)
            lost = [name for name in wanted if name not in reported]
            if lost:
                raise StudyFailedError(
                    f"the code reports {', '.join(reported)}, and not {', '.join(lost)}: name what "
                    f"it reports (--target {reported[0]}), or leave --target out"
                )
            return self
        for bound in self.spec.constraints:
            if bound.target not in reported:
                raise StudyFailedError(
                    f"--subject-to '{bound}': the code reports {', '.join(reported)}, and not "
                    f"{bound.target}"
                )
        return replace(self, targets=tuple(map(TargetSpec.of, reported)))

    @cached_property
    def validation(self) -> RowScorer:
        """Scores validation rows."""
        return RowScorer(specs=self.targets, stream=stream_of(self.spec.seed, Split.VALIDATION))

    @cached_property
    def test(self) -> RowScorer:
        """Scores test rows."""
        return RowScorer(specs=self.targets, stream=stream_of(self.spec.seed, Split.TEST))

    def smallest_gain(self, baseline: float, target: Target) -> float:
        """What is worth having: of the first target as asked, else .01 of a rate, 2 % of others.

        A target is taken for a rate if more of it is better and its score at λ = 0 is from 0 to 1.
        """
        first = self.targets[0]
        if self.spec.smallest_gain is not None and target == first.name:
            return self.spec.smallest_gain
        is_rate = self.test.sign(target) > 0 and 0 <= baseline <= 1
        return _POINT if is_rate else max(_SHARE * abs(baseline), 1e-12)
