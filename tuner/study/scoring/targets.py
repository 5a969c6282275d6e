"""Named targets: what trainings are scored by, whoever trains them."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from tuner.models.evaluation.resampling import Grouping
from tuner.models.outcome import TrainingOutcome
from tuner.study.prior import Prior
from tuner.study.scoring.constraints import Constraint
from tuner.study.space import LambdaSpace
from tuner.study.spec import Sampler, SearchPhase, WarmStart
from tuner.typing import Array, Floats, Indices

Target = str  # its name: `a`, `b` and `joint` of encoders, `acc` of a user's own training code


class FoldShare(NamedTuple):
    """One fold of the rows.

    Attributes:
        share: Of the rows.
        replicates: Those that were tested on it, and not trained.
    """

    share: float
    replicates: Indices | slice


UNDIVIDED = (FoldShare(1.0, slice(None)),)  # there are no folds


class TargetScorer(Protocol):
    """Scores what trainings tell of the rows of one split, by target.

    What they tell is by name, each (replicates, rows): predictions of encoders, or how well each
    row was done.
    """

    @property
    def targets(self) -> tuple[Target, ...]:
        """All targets, in the order in which answers are told."""

    @property
    def basic(self) -> tuple[Target, ...]:
        """Those that are not made of others."""

    @property
    def main(self) -> Target:
        """The one that the search goes by."""

    @property
    def in_one_unit(self) -> bool:
        """Whether gains of one target can be added to those of another."""

    def grouping_of(self, predictions: Mapping[str, Array]) -> Grouping | None:
        """Return the groups of the rows; None where rows are independent."""

    def sign(self, target: Target) -> int:
        """Factor that turns a score into a utility, where higher is better."""

    def resolution(self, predictions: Mapping[str, Array], target: Target) -> float:
        """What one row more or less changes of a rate; 0 for others."""

    def rows(self, predictions: Mapping[str, Array], target: Target) -> int:
        """How many rows it is measured on."""

    def scores(self, predictions: Mapping[str, Array], target: Target) -> Floats:
        """Score each replicate in the target's own units, (replicates,)."""

    def folds(self, predictions: Mapping[str, Array]) -> tuple[FoldShare, ...]:
        """Return the folds of the rows: one where all replicates were tested on all rows."""

    def resampled(self, predictions: Mapping[str, Array], target: Target) -> Floats | None:
        """Mean score over replicates under each resample of the rows, (resamples,).

        None if nothing can be said of other rows.
        """

    def utility(self, outcome: TrainingOutcome) -> float:
        """Mean score of the main target on validation rows; higher is better."""


def mean_score(scorer: TargetScorer, predictions: Mapping[str, Array], target: Target) -> float:
    """Mean over replicates, of each fold by its own, of the score in the target's own units."""
    scores = scorer.scores(predictions, target)
    folds = scorer.folds(predictions)
    return float(sum(fold.share * scores[fold.replicates].mean() for fold in folds))


class SearchSpec(Protocol):
    """What the search and the confirmation of any study are told."""

    @property
    def trials(self) -> int:
        """λs tried, λ = 0 included."""

    @property
    def replicates(self) -> int:
        """Seeds trained at every λ."""

    @property
    def confirm_replicates(self) -> int:
        """Fresh seeds that confirm, as planned."""

    @property
    def looks(self) -> tuple[int, ...]:
        """Confirming seeds in all at each later look."""

    @property
    def stop_early(self) -> bool:
        """Whether it ends where more trainings would hardly change a verdict."""

    @property
    def batch(self) -> int:
        """λs proposed at a time."""

    @property
    def max_lambda(self) -> float:
        """The largest λ to try."""

    @property
    def sampler(self) -> Sampler:
        """What proposes λs."""

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """What a λ has to keep to be recommended."""

    @property
    def seed(self) -> int:
        """What all that is random derives from."""

    @property
    def warm_start(self) -> WarmStart | None:
        """Where an earlier study saw the best λ."""

    @property
    def prior(self) -> Prior | None:
        """What past studies lead one to expect."""

    @property
    def space(self) -> LambdaSpace:
        """The λs that may be tried."""

    def seeds(self, phase: SearchPhase) -> tuple[int, ...]:
        """Return the seeds of a phase's replicates."""

    @property
    def confirmed_in_parts(self) -> tuple[tuple[int, ...], ...]:
        """The seeds that confirm, by the look that adds them."""

    def dealt(self, seeds: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Divide confirming seeds: those of each are trained on the same rows."""


class Division(Protocol):
    """Folds of the rows that confirmations are tested on."""

    @property
    def count(self) -> int:
        """How many there are."""

    def placed(self, outcome: TrainingOutcome) -> TrainingOutcome:
        """Return a training of one fold with what it predicts among the rows of all folds."""


class Question(Protocol):
    """A study as its analysis sees it, whatever is trained."""

    @property
    def spec(self) -> SearchSpec:
        """What is asked."""

    @property
    def validation(self) -> TargetScorer:
        """Scores validation rows."""

    @property
    def test(self) -> TargetScorer:
        """Scores test rows."""

    @property
    def folds(self) -> Division | None:
        """Of the rows that confirmations are tested on; None where all see the same rows."""

    @property
    def divisible_rows(self) -> int | None:
        """Labelled rows that folds would test; None if there are folds, or none can be made."""

    @property
    def epochs(self) -> int:
        """Of every training, as far as they are known: 0 if not."""

    @property
    def max_steps(self) -> int:
        """Gradient steps of every training, at most; 0 if there is no such limit."""

    def smallest_gain(self, baseline: float, target: Target) -> float:
        """What is worth having of a target that scores so at λ = 0."""
