"""Which λs are confirmed: as few as can be, for all seeds then tell of the same ones."""

from dataclasses import replace

import numpy as np

from tuner.analysis.decision import SUPPORT, Choice
from tuner.study.scores import Target

_WORTH = 0.8  # of a modality's own expected gain, that a common λ has to keep


def agreed(choices: dict[Target, Choice]) -> dict[Target, Choice]:
    """Return the choices with the λ that each is confirmed at.

    The curves of a study seldom tell apart the λs that A, B and both would like best, and to
    confirm each of them divides the seeds by three. So the modalities that are likely to gain
    agree on one: that of the highest sum of their expected gains. Where it would cost one of them
    more than a fifth of its own, each keeps its own, and both together take the better of the two.
    Where none is likely to gain, all take the one of both together.

    Args:
        choices: What the search says of each target.
    """
    voters = [choices[side] for side in ("a", "b") if _is_likely(choices[side])]
    if not voters:
        return _all_at(choices["joint"].candidate, choices)
    expected = np.array([voter.band.means for voter in voters])
    lambdas = voters[0].band.lambdas
    best = int(expected.sum(axis=0).argmax())
    if np.all(expected[:, best] >= _WORTH * expected.max(axis=1)):
        return _all_at(lambdas[best], choices)
    own = [int(means.argmax()) for means in expected]
    joint = max(own, key=lambda at: float(expected[:, at].sum()))
    at: dict[Target, int] = {"a": own[0], "b": own[1], "joint": joint}
    return {t: replace(choice, candidate=lambdas[at[t]]) for t, choice in choices.items()}


def _is_likely(choice: Choice) -> bool:
    return choice.best > 0 and choice.support >= SUPPORT


def _all_at(strength: float, choices: dict[Target, Choice]) -> dict[Target, Choice]:
    return {target: replace(choice, candidate=strength) for target, choice in choices.items()}
