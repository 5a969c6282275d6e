"""When more trainings would hardly change a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.analysis.confirmed import Confirmed
from tuner.analysis.curves.observations import observe
from tuner.analysis.decision import Choice, choose
from tuner.study.scoring.targets import Question, Target
from tuner.study.trial import FinishedTrial

_FEWEST = 4  # λs, which say something of what lies between them


@dataclass(frozen=True)
class Stopping:
    """Ends the parts of a study early; what it says rests on the finished trials alone.

    Attributes:
        study: What was asked.
    """

    study: Question

    def search(self, trials: Sequence[FinishedTrial]) -> bool:
        """Whether no λ gains what is worth having, with 99.9 % for each target.

        Args:
            trials: Those of the search that are finished, λ = 0 among them.
        """
        outcomes = [trial.outcome for trial in trials if trial.outcome is not None]
        baselines = [outcome for outcome in outcomes if outcome.strength == 0]
        if len(outcomes) < _FEWEST or not baselines:
            return False
        study = self.study
        for target in study.validation.targets:
            scores = study.validation.scores(baselines[0].predictions, target)
            seen = observe(study.validation, outcomes, target)
            band = choose(seen, study.spec.space, seed=study.spec.seed).band
            if not band.is_surely_below(study.smallest_gain(float(scores.mean()), target)):
                return False
        return True

    def confirmation(
        self, choices: Mapping[Target, Choice], trials: Sequence[FinishedTrial]
    ) -> bool:
        """Whether the seeds that are left would hardly change the verdict of any target.

        Args:
            choices: What the search chose, per target.
            trials: All finished ones, of the confirmation those of the first half of the seeds.
        """
        if any(t.outcome is None and t.request.strength == 0 for t in trials):
            return True  # there is nothing to compare with: the study fails
        confirmed = Confirmed.of(self.study, trials)
        return all(confirmed.is_settled(target, choice) for target, choice in choices.items())
