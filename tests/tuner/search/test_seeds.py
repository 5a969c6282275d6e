"""How many trainings of a user's own code there are to be, told as they end."""

import numpy as np
import pytest

from tests.support.scripted import SCRIPT, train
from tuner.scripts.reported import Reported
from tuner.search.seeds import SeedPlan
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.scripts.study import ScriptStudy

SPEC = ScriptSpec(trials=5, replicates=2, confirm_replicates=2, seed=1)


def report(peaks):
    """A target for each λ that is best for it."""

    def of(request):
        def correct(stream):
            rng = np.random.default_rng([*request.seeds, stream])
            skills = [0.5 + 0.45 * np.exp(-((request.strength - peak) ** 2)) for peak in peaks]
            luck = rng.random(400)
            return {f"t{n}": (luck < skill).astype(float) for n, skill in enumerate(skills)}

        return Reported(
            scores=correct(0), test_scores=correct(1) if request.phase == "confirm" else None
        )

    return of


@pytest.mark.parametrize(
    ("peaks", "most", "confirmed"),
    [((1.0,) * 8, 9, 2), ((0.3, 3.5), 3, 3)],
    ids=["targets that agree", "targets that do not"],
)
def test_trainings_that_are_left_are_those_of_the_lambdas_that_are_confirmed(
    peaks, most, confirmed
):
    plan, finished, told = SeedPlan(study=ScriptStudy.of(SPEC, SCRIPT)), [], []
    while requests := plan.next(finished):
        finished.append(train(requests[0], report(peaks)))
        told.append(plan.totals(finished)["confirm"])
    of_phase = [trial.request.phase for trial in finished]
    assert of_phase.count("confirm") == 2 * confirmed
    assert of_phase.count("search") == 10
    assert told[2:9] == [2 * most] * 7  # at most, once a λ told its targets
    assert set(told[9:]) == {2 * confirmed}
