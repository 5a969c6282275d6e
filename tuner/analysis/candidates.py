"""Which λs are confirmed: as few as can be, for all seeds then tell of the same ones."""

from dataclasses import replace

import numpy as np

from tuner.analysis.decision import SUPPORT, Choice
from tuner.study.scoring.targets import Target, TargetScorer

_WORTH = 0.8  # of a modality's own expected gain, that a common λ has to keep


def agreed(choices: dict[Target, Choice], scorer: TargetScorer) -> dict[Target, Choice]:
    """Return the choices with the λ that each is confirmed at.

    The curves of a study seldom tell apart the λs that its targets would like best, and to confirm
    each of them divides the seeds by as many. So those that are likely to gain agree on one: that
    of the highest sum of their expected gains, each as a share of its own if their units differ.
    Where it would cost one of them more than a fifth of its own, each keeps its own, and the
    others, such as the mean of A and B, take the best of these. Where none is likely to gain, all
    take the one of the main target.

    Args:
        choices: What the search says of each target.
        scorer: Knows the targets.
    """
    voters = {t: choices[t] for t in scorer.basic if _is_likely(choices[t])}
    if not voters:
        return _all_at(choices[scorer.main].candidate, choices)
    expected = np.array([voter.means for voter in voters.values()])
    if not scorer.in_one_unit:
        expected /= expected.max(axis=1, keepdims=True)
    lambdas = choices[scorer.main].band.lambdas
    best = int(expected.sum(axis=0).argmax())
    if np.all(expected[:, best] >= _WORTH * expected.max(axis=1)):
        return _all_at(lambdas[best], choices)
    own = {voter: int(means.argmax()) for voter, means in zip(voters, expected, strict=True)}
    others = max(own.values(), key=lambda at: float(expected[:, at].sum()))
    at = dict.fromkeys(choices, others) | own
    return {t: replace(choice, candidate=lambdas[at[t]]) for t, choice in choices.items()}


def _is_likely(choice: Choice) -> bool:
    return choice.best > 0 and choice.support >= SUPPORT


def _all_at(strength: float, choices: dict[Target, Choice]) -> dict[Target, Choice]:
    return {target: replace(choice, candidate=strength) for target, choice in choices.items()}
