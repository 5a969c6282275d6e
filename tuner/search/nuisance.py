"""Nuisance hyperparameters: settings of training that are not λ, searched before it.

`first` tries them at λ = 0. `joint` tries each setting at λ = 0 and at one λ > 0 that is proposed
with it; the setting that does best at any λ is then used for the whole λ-curve. Because it may
favour alignment, the confirmation compares with λ = 0 under the setting that is best *there*: an
`align` has to beat the best baseline known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from tuner.search.batches import Batches
from tuner.search.phase import trials_of
from tuner.search.sampler import Params, propose
from tuner.study.scoring.targets import TargetScorer
from tuner.study.spec import Sampler, StudySpec
from tuner.study.trial import FinishedTrial, Overrides, PhaseName, TrialRequest

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_STREAM = 2  # of random numbers
_STRENGTH = "u"  # λ on the warped unit interval
_DECAYS = (1e-5, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class NuisanceSearch:
    """Decides which settings to try, and which one to use.

    Attributes:
        spec: The study.
        validation: Scores validation rows.
    """

    name: ClassVar[PhaseName] = "nuisance"
    spec: StudySpec
    validation: TargetScorer

    @property
    def total(self) -> int:
        """How many trials there are in the end."""
        if self.spec.nuisance == "none":
            return 0
        return self.spec.nuisance_trials * len(self._numbers(0))

    def wanted(self, finished: Sequence[FinishedTrial]) -> list[TrialRequest]:
        """Return every request that can be known; if all are finished, the search is over."""
        if self.spec.nuisance == "none":
            return []
        by_number = {t.request.number: t for t in trials_of("nuisance", finished)}
        results = {
            point: [by_number[n] for n in self._numbers(point)]
            for point in range(self.spec.nuisance_trials)
            if all(n in by_number for n in self._numbers(point))
        }
        known = [point for batch in self._batches.known(results) for point in batch]
        return [r for number, point in enumerate(known) for r in self._requests(number, point)]

    def settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return what differs from the study's configuration at every λ of the curve."""
        return self._best(trials_of("nuisance", finished))

    def baseline_settings(self, finished: Sequence[FinishedTrial]) -> Overrides:
        """Return the same for λ = 0 in the confirmation."""
        return self._best([t for t in trials_of("nuisance", finished) if t.request.strength == 0])

    @property
    def _joint(self) -> bool:
        return self.spec.nuisance == "joint"

    def _numbers(self, point: int) -> range:
        """The trials of a point."""
        per = 2 if self._joint else 1
        return range(point * per, (point + 1) * per)

    @cached_property
    def _batches(self) -> Batches[Params, list[FinishedTrial]]:
        return Batches(
            total=self.spec.nuisance_trials,
            size=self.spec.batch,
            first=self._first,
            propose=self._propose,
        )

    @cached_property
    def _space(self) -> "dict[str, BaseDistribution]":
        """What is searched: around what was given, but for the weight decay, which may be 0."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution

        given = self.spec.training
        widths = (given.hidden // 2, given.hidden, 2 * given.hidden)
        fitting = [w for w in widths if w == given.hidden or (w and w % given.heads == 0)]
        rate, temperature = given.learning_rate, given.temperature
        space: dict[str, BaseDistribution] = {
            "learning_rate": FloatDistribution(rate / 10, rate * 10, log=True),
            "weight_decay": FloatDistribution(*_DECAYS, log=True),
            "temperature": FloatDistribution(temperature / 4, temperature * 4, log=True),
            "hidden": CategoricalDistribution(fitting),
        }
        searched = set(self.spec.nuisance_parameters)
        if not self._joint:
            searched.discard("temperature")  # plays no part at λ = 0
        space = {name: values for name, values in space.items() if name in searched}
        return space | ({_STRENGTH: FloatDistribution(0.0, 1.0)} if self._joint else {})

    def _first(self, count: int) -> list[Params]:
        """What was given, and random points."""
        given = self.spec.training.model_dump(include=set(self._space))
        if "weight_decay" in given:
            least, most = _DECAYS
            given["weight_decay"] = min(max(given["weight_decay"], least), most)
        if self._joint:
            given[_STRENGTH] = 0.5
        drawn = propose("random", self._space, [], [], count - 1, seed=(self.spec.seed, _STREAM))
        return [given, *drawn]

    def _propose(
        self,
        batch: int,
        results: Sequence[list[FinishedTrial]],
        pending: Sequence[Params],
        count: int,
    ) -> list[Params]:
        sampler: Sampler = "random" if self.spec.sampler == "grid" else self.spec.sampler
        observed = [
            (self._params(trial.request), self.validation.utility(trial.outcome))
            for trials in results
            for trial in trials
            if trial.outcome is not None
        ]
        seed = (self.spec.seed, _STREAM, batch)
        return propose(sampler, self._space, observed, pending, count, seed=seed)

    def _requests(self, number: int, point: Params) -> list[TrialRequest]:
        strengths = [0.0]
        if self._joint:
            strengths.append(self.spec.space.to_lambda(point[_STRENGTH]))
        settings = tuple((name, value) for name, value in point.items() if name != _STRENGTH)
        seeds = self.spec.seeds("search")
        return [
            TrialRequest(phase="nuisance", number=n, strength=s, seeds=seeds, settings=settings)
            for n, s in zip(self._numbers(number), strengths, strict=True)
        ]

    def _params(self, request: TrialRequest) -> Params:
        strength = {_STRENGTH: self.spec.space.to_unit(request.strength)} if self._joint else {}
        return dict(request.settings) | strength

    def _best(self, tried: Sequence[FinishedTrial]) -> Overrides:
        utilities = [
            (self.validation.utility(t.outcome), -t.request.number, t.request.settings)
            for t in tried
            if t.outcome is not None
        ]
        return max(utilities)[2] if utilities else ()
