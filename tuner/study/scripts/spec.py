"""What a study of a user's training code is asked to do."""

import hashlib
import re
from collections import Counter
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tuner.scripts.script import Script
from tuner.study.prior import Prior
from tuner.study.scripts.functionals import Functional
from tuner.study.spec import MOST_SEEDS, Sampler, Seeded, WarmStart
from tuner.study.trial import PhaseName

Direction = Literal["maximize", "minimize"]

_ERRORS = re.compile(r"loss|err|mae|mse|nll|perplexity|brier|distance", re.IGNORECASE)
_WRITTEN = re.compile(
    r"((?P<name>\w[\w@./-]*)(=(?P<formula>[^:]+))?|(?P<alone>[\w@]+\([^:]*\)))(:(?P<direction>\w+))?"
)
_CALL = re.compile(r"(?P<function>[\w@]+)\s*\((?P<arguments>[^()]*)\)")


class TargetSpec(BaseModel):
    """A target: what a training is scored by.

    Attributes:
        name: As the code reports it.
        direction: Which way is better.
        parts: Targets that it is the mean of; empty if it is made of what the code reports.
        measure: The functional that it is of arrays that the code reports; empty if it is the mean
            of the rows of the one of its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    direction: Direction
    parts: tuple[str, ...] = ()
    measure: Annotated[str, Field(exclude_if=lambda measure: not measure)] = ""

    @model_validator(mode="after")
    def _is_measured(self) -> "TargetSpec":
        if self.functional is not None and self.parts:
            raise ValueError(f"{self.name} is either a mean of targets or {self.measure}")
        return self

    @cached_property
    def functional(self) -> Functional | None:
        """The functional that it is; None if it is a mean."""
        return Functional.parse(self.measure) if self.measure else None

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of what the code has to report for it; of a mean of targets none of its own."""
        if self.functional is not None:
            return self.functional.arrays
        return () if self.parts else (self.name,)

    @classmethod
    def of(cls, name: str) -> "TargetSpec":
        """Take a reported target whose name says which way is better: less of a `loss`."""
        return cls(name=name, direction="minimize" if _ERRORS.search(name) else "maximize")

    @classmethod
    def parse(cls, text: str) -> "TargetSpec":
        """Read `acc`, `energy:minimize`, `joint=mean(acc_a, acc_b)` or `balanced=…(truth, guess)`.

        Raises:
            ValueError: If it is none of these.
        """
        written = _WRITTEN.fullmatch(text.strip())
        if written is None or written["direction"] not in (None, "maximize", "minimize"):
            raise ValueError(
                f"{text!r} is no target: write NAME, NAME:maximize, NAME:minimize, "
                "NAME=mean(A, B) or NAME=A+B for the mean of two targets, or "
                "NAME=balanced_accuracy(TRUTH, GUESS)"
            )
        told: Any = written["direction"]  # which the expression checks
        formula = (written["formula"] or written["alone"] or "").strip()
        call = _CALL.fullmatch(formula)
        if call is None and "(" in formula:
            raise ValueError(f"{text!r}: {formula!r} is no formula: write FUNCTION(NAME, NAME)")
        sep, listed = ("+", formula) if call is None else (",", call["arguments"])
        names = tuple(part.strip() for part in listed.split(sep) if part.strip())
        if call is None or call["function"] == "mean":
            target = cls.of(written["name"] or "mean")
            return cls(name=target.name, direction=told or target.direction, parts=names)
        functional = Functional(call["function"], names)
        return cls(
            name=written["name"] or functional.name,
            direction=told or functional.metric.direction,
            measure=str(functional),
        )


class ScriptSpec(Seeded):
    """One question about one piece of training code.

    The defaults are for trainings that take hours. Two specs that are equal, of code of equal
    digest, are the same study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    warm_start: ClassVar[WarmStart | None] = None
    prior: ClassVar[Prior | None] = None

    name: Annotated[
        str | None, Field(description="what to call the study; the function or command if left out")
    ] = None
    target: Annotated[
        tuple[TargetSpec, ...],
        Field(
            description="what it is scored by, the one first that the search goes by: NAME, "
            "NAME:minimize, NAME=A+B (the mean of two targets), or a score of arrays that it "
            "reports: NAME=balanced_accuracy(TRUTH, GUESS), macro_f1, r2, recall@5(RANK); all "
            "that it reports if left out"
        ),
    ] = ()
    smallest_gain: Annotated[
        float | None,
        Field(
            gt=0,
            description="the smallest gain worth having of the first target, in its units; by "
            "default .01 of a rate, 2 % of others at λ = 0",
        ),
    ] = None
    subject_to: Annotated[
        tuple[str, ...],
        Field(
            description="what a λ has to keep to be recommended, as 'acc_a >= baseline - .01': a "
            "target's score against that at λ = 0",
            exclude_if=lambda bounds: not bounds,
        ),
    ] = ()
    trials: Annotated[int, Field(ge=3, le=1_000, description="λs tried, λ = 0 included")] = 4
    replicates: Annotated[
        int, Field(ge=2, le=1_000, description="seeds trained at every λ, each by itself")
    ] = 2
    confirm_replicates: Annotated[
        int,
        Field(
            ge=2,
            le=1_000,
            description="fresh seeds trained to confirm the answer on test rows, at λ = 0 and at "
            "the λ chosen",
        ),
    ] = 3
    looks: Annotated[
        tuple[Annotated[int, Field(le=MOST_SEEDS)], ...],
        Field(
            description="confirming seeds in all at each later look at the answer, ascending: "
            "what tuner extend adds",
            exclude_if=lambda looks: not looks,
        ),
    ] = ()
    halving: Annotated[
        int,
        Field(
            ge=1,
            le=10,
            description="of more than 4 λs, drop those that score worst after a share of a "
            "training, which the code is told as {share} or trial.share: one λ in so many goes on "
            "to so many times the share; 1 trains all in full",
            exclude_if=lambda halving: halving == 1,
        ),
    ] = 1
    stop_early: Annotated[
        bool,
        Field(
            description="end the search where no gain worth having is left to be found, and a "
            "confirmation of 8 seeds or more at half of them where more would hardly change a "
            "verdict"
        ),
    ] = False
    batch: Annotated[
        int, Field(ge=1, le=1_000, description="λs proposed at a time, the first time laid out")
    ] = 4
    max_lambda: Annotated[float, Field(gt=0, description="the largest λ to try")] = 4.0
    sampler: Annotated[
        Sampler, Field(description="what proposes λs after the first batch; grid lays all out")
    ] = "gp"
    seed: Annotated[
        int, Field(ge=0, lt=2**32, description="what the seeds of trainings derive from")
    ] = 0
    cpus: Annotated[
        int,
        Field(
            ge=1,
            description="CPUs of a training, all processes together that it starts; of each of its "
            "ranks",
        ),
    ] = 1
    gpus: Annotated[
        float,
        Field(
            ge=0,
            description="GPUs of a training, all processes together that it starts; of each of its "
            "ranks; .25: four on one",
        ),
    ] = 0
    ranks: Annotated[
        int,
        Field(
            ge=1,
            description="processes that are started for a training, on as many machines as it "
            "takes: the environment tells each its RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT",
            exclude_if=lambda ranks: ranks == 1,
        ),
    ] = 1

    @field_validator("target", mode="before")
    @classmethod
    def _written(cls, targets: object) -> object:
        if isinstance(targets, str):
            targets = (targets,)
        if not isinstance(targets, list | tuple):
            return targets
        return tuple(TargetSpec.parse(t) if isinstance(t, str) else t for t in targets)

    @model_validator(mode="after")
    def _parts_are_there(self) -> "ScriptSpec":
        names = Counter(target.name for target in self.target)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ValueError(f"target: {twice[0]} is named twice")
        basic = {target.name: target for target in self.target if not target.parts}
        for target in self.target:
            lost = [part for part in target.parts if part not in basic]
            if lost:
                raise ValueError(
                    f"target: {target.name} is the mean of {' and '.join(target.parts)}; name "
                    f"{lost[0]} as a target, too"
                )
            if any(basic[part].direction != target.direction for part in target.parts):
                raise ValueError(
                    f"target: {target.name} and {' and '.join(target.parts)} are not better in the "
                    f"same direction: say {target.name}=…:minimize, or :maximize"
                )
        return self

    @model_validator(mode="after")
    def _bounds_are_of_targets(self) -> "ScriptSpec":
        names = [target.name for target in self.target]
        for bound in self.constraints:
            if names and bound.target not in names:
                raise ValueError(f"subject_to: {bound}: name {bound.target} as a target, too")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """The part of a training that each rung of halving is, before those in full."""
        return () if self.halving == 1 else (1 / self.halving**2, 1 / self.halving)

    def share_of(self, phase: PhaseName, number: int) -> float:
        """Return the part of a training that one of a seed is: see `tuner.search.halving`."""
        if phase != "rung":
            return 1.0
        return self.shares[number // MOST_SEEDS // self.trials]

    def study_id(self, script: Script) -> str:
        """Identify the study of this spec of that code (16 hex characters)."""
        question = "\n".join(["script", script.digest, self.model_dump_json()])
        return hashlib.sha256(question.encode()).hexdigest()[:16]
