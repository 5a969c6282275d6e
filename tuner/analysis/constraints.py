"""Which λs are likely to satisfy the bounds that a study sets, by the models of the curves."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from tuner.analysis.curves.model import CurveModel
from tuner.analysis.curves.observations import observe
from tuner.analysis.decision import Admitted, Choice, Decision, grid
from tuner.analysis.gains.gain import measured_gain
from tuner.models.outcome import TrainingOutcome
from tuner.study.result import BoundKept
from tuner.study.scoring.constraints import Constraint
from tuner.study.scoring.targets import SearchSpec, TargetScorer
from tuner.typing import Array

_DRAWS = 4000


def admitted(
    spec: SearchSpec, scorer: TargetScorer, outcomes: Sequence[TrainingOutcome]
) -> Admitted | None:
    """Say which λs violate no bound with a probability above one half; None without bounds.

    A bound is about the mean over seeds and rows, as the model of its target's curve has it.

    Args:
        spec: The study.
        scorer: Scores validation rows.
        outcomes: What the search trained, λ = 0 among it.
    """
    if not spec.constraints:
        return None
    lambdas = grid(spec.space)[1]
    violated = np.zeros(lambdas.size)
    for constraint in spec.constraints:
        seen = observe(scorer, outcomes, constraint.target)
        rng = np.random.default_rng(spec.seed)
        gains = CurveModel.fit(seen, spec.space).draws(lambdas, _DRAWS, rng)
        margins = constraint.margin(gains, scorer.sign(constraint.target))
        violated = np.maximum(violated, (margins < 0).mean(axis=0))
    likely = violated <= 0.5  # as likely kept as not
    likely[0] = True  # which bounds are relative to
    return Admitted(likely=likely, least_violating=1 + int(violated[1:].argmin()))


def bound_kept(
    constraint: Constraint,
    scorer: TargetScorer,
    treated: dict[str, Array],
    baseline: dict[str, Array],
    error: float,
) -> BoundKept:
    """Measure a bound with fresh seeds on test rows.

    Args:
        constraint: The bound.
        scorer: Scores test rows.
        treated: What trainings with alignment tell of them, by name, (replicates, rows).
        baseline: The same of λ = 0, by the same seeds.
        error: How often the interval misses.
    """
    target = constraint.target
    gain = measured_gain(scorer, treated, baseline, target, error=error)
    sign = scorer.sign(target)
    moved = sign * gain.value
    low, high = sorted((sign * gain.low, sign * gain.high))
    margin = constraint.margin(gain.value, sign)
    spread = 0.0 if gain.variance is None else float(np.sqrt(gain.variance.total))
    chance = float(special.ndtr(-margin / spread)) if spread > 0 else float(margin < 0)
    ends = None if gain.interval is None else (low, high)
    return BoundKept(bound=str(constraint), change=moved, interval=ends, violated=chance)


def within_bounds(decision: Decision, choice: Choice, bounds: Sequence[BoundKept]) -> Decision:
    """Return a decision that recommends no λ which is likelier than not to violate a bound.

    Args:
        decision: What is best for the target alone.
        choice: What the search chose.
        bounds: What was measured at the λ that was tested.
    """
    words = decision.evidence + "".join(map(_bound_words, bounds))
    if bounds and not choice.is_admitted:
        words += " By validation rows no λ above 0 is likely to keep all that it is subject to."
    is_violated = decision.verdict == "align" and not all(bound.is_kept for bound in bounds)
    if is_violated:
        words += f" So λ = {choice.candidate:.3g} is not recommended, whatever it gains."
    if is_violated or (bounds and decision.verdict == "undecided" and not choice.is_admitted):
        return replace(decision, verdict="do not align", reason="bound violated", evidence=words)
    return replace(decision, evidence=words)


def _bound_words(bound: BoundKept) -> str:
    kept = "is kept" if bound.is_kept else "is violated"
    ends = ""
    if bound.interval is not None:
        ends = f", 95 % interval {bound.interval[0]:+.3g} to {bound.interval[1]:+.3g}"
    return (
        f" Subject to {bound.bound}: it {kept}, with probability "
        f"{1 - bound.violated if bound.is_kept else bound.violated:.2f} (the score moves by "
        f"{bound.change:+.3g}{ends})."
    )
