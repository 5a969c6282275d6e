"""Which epoch's weights an answer rests on: those that are best for λ = 0."""

from collections.abc import Mapping

from tuner.models.outcome import RULES, Rule, TrainingOutcome
from tuner.study.answer import Side
from tuner.study.scoring.targets import TargetScorer

_SIDES: tuple[Side, ...] = ("a", "b")


def baseline_scores(
    validation: TargetScorer, baseline: TrainingOutcome
) -> dict[Side, dict[Rule, float]] | None:
    """Score λ = 0 on validation rows by each rule, to choose the one that is best for it.

    Training keeps the weights of the least validation loss, and those of the best validation
    accuracy. At λ = 0 the loss is least after a few epochs, while accuracy often rises on; at a
    strong λ both are best late. So by the loss alone λ = 0 may look worse than it need be, and
    alignment better. Therefore treated and baseline are both tested by the rule that is better for
    the baseline, each modality by its own:

    - Rows on which an epoch was chosen flatter it, and the more by accuracy, whose own maximum was
      chosen. So each half of the validation rows is scored at the epoch that the other half chose:
      the mean over the seeds of the confirmation of λ = 0, in the study's metric.
    - The accuracy has to be better; where both are equal it is the least loss (`best_rules`).
    - Test rows have no part in it, so their test remains one. Neither has the treated training, nor
      any random number.
    - The search and its curve stay with the least loss: on the rows that chose it, the best
      accuracy of many epochs is too high by chance, the more so the more epochs there were, and a
      strong λ takes many.

    Args:
        validation: Scores validation rows.
        baseline: The confirmation of λ = 0.

    Returns:
        By modality and rule; None where there is but one rule: in regression the score is the loss,
        and version 0.1.0 recorded no other.
    """
    if baseline.by_accuracy is None:
        return None
    crossed = baseline.by_accuracy.crossed
    predictions = {rule: {str(m): crossed[f"{rule}/{m}"] for m in _SIDES} for rule in RULES}
    return {
        side: {rule: float(validation.scores(predictions[rule], side).mean()) for rule in RULES}
        for side in _SIDES
    }


def best_rules(scores: Mapping[Side, Mapping[Rule, float]] | None, *, sign: int) -> dict[str, Rule]:
    """Return the rule of each modality: see `baseline_scores`.

    Args:
        scores: What that returned.
        sign: Of the metric; 1 if a higher score is better.
    """
    if scores is None:
        return dict.fromkeys(_SIDES, "loss")
    return {
        side: "accuracy" if sign * (by["accuracy"] - by["loss"]) > 0 else "loss"
        for side, by in scores.items()
    }
