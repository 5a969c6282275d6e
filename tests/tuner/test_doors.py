"""Our own trainer as a user's code: by every door it has the answer that it has as it is."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.support.scripted import answer
from tuner import read
from tuner.analysis.conclusion import conclude
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.training.loop import train as train_encoders
from tuner.scripts.script import Script
from tuner.scripts.told import Told
from tuner.scripts.training import run_training
from tuner.search.plan import Plan
from tuner.study.scripts.spec import ScriptSpec
from tuner.study.spec import StudySpec
from tuner.study.study import Study
from tuner.study.trial import FinishedTrial

pytestmark = [pytest.mark.integration, pytest.mark.soak]

DESIGN = {"trials": 4, "replicates": 2, "confirm_replicates": 2, "seed": 3}
TARGETS = ("joint=a+b", "a", "b")
ENCODERS = {"epochs": 400, "patience": 10, "encoder_a": "mlp", "encoder_b": "mlp"}
OF_ENCODERS = {"checkpoint", "gain", "gain_interval", "model"}  # told of no script
CODE = f"""
import tuner
from tuner.models.compute.device import prepare_process
from tuner.models.config import TrainingConfig
from tuner.models.training.loop import train as train_encoders
from tuner.study.spec import StudySpec
from tuner.study.study import Study

SPEC = StudySpec(**{DESIGN}, training=TrainingConfig(**{ENCODERS}))


def train(trial):
    prepare_process()
    study = Study.of(SPEC, tuner.read("pairs.npz"))
    trained = train_encoders(
        study.data,
        study.training,
        strength=trial.strength,
        seeds=(trial.seed,),
        test=study.test_rows if trial.confirming else None,
    )

    def told(truth, guess):
        return {{side: guess[side][0] == truth for side in "ab"}}

    trial.report(**told(study.validation.truth, trained.predictions))
    if trial.confirming:
        trial.report_test(**told(study.test.truth, trained.test_predictions))


if __name__ == "__main__":
    train(tuner.current_trial())
"""


@pytest.fixture
def project(tmp_path):
    """A folder with code, and data whose split is their own: of all others it makes folds."""
    rng = np.random.default_rng(11)
    shared = rng.normal(size=(1200, 3))
    noisy = {side: shared @ rng.normal(size=(3, 6)) + rng.normal(size=(1200, 6)) for side in "ab"}
    split = np.repeat(["train", "validation", "test"], 400)
    np.savez(tmp_path / "pairs.npz", **noisy, y=shared[:, 0] > 0, split=split)
    (tmp_path / "our_train.py").write_text(CODE)
    return tmp_path


def of_encoders(study):
    """The answer of a study of encoders as code has it: a seed at a time, kept by its loss."""
    prepare_process()

    def by_loss(predictions):
        return predictions and {side: predictions[side] for side in "ab"}

    def alone(request, data, config, test):
        outcome = train_encoders(
            data,
            config,
            strength=request.strength,
            seeds=request.seeds,
            test=test if request.phase == "confirm" else None,
            stack=1,
        )
        return replace(
            outcome,
            predictions=by_loss(outcome.predictions),
            test_predictions=by_loss(outcome.test_predictions),
        )

    plan, finished = Plan(spec=study.spec, validation=study.validation), []
    while requests := plan.next(finished):
        finished += [
            FinishedTrial(request=request, outcome=study.trained(request, alone))
            for request in requests
        ]
    choices = plan.choices(finished)
    return conclude(study, choices, finished, settings=(), baseline_settings=(), wall_seconds=0.0)


def test_each_door_has_the_answer_of_the_study_of_encoders(project):
    function = Script.of_function("our_train:train", project)
    command = Script.of_command((sys.executable, "our_train.py", "{strength}", "{seed}"), project)
    trained = {}

    def run(script, request):
        return run_training(
            script,
            strength=request.strength,
            seed=request.seeds[0],
            confirming=request.phase == "confirm",
            folder=project / f"{request.phase}{request.number}",
        )

    def by_function(request):
        trained[request] = run(function, request)
        return trained[request]

    def by_command(request):  # of λ = 0, which all rests on
        return run(command, request) if request.strength == 0 else trained[request]

    def elsewhere(request):
        told = Told.of(trained[request]).model_dump_json()
        read_again = Told.model_validate_json(told)
        return read_again.reported(confirming=request.phase == "confirm")

    spec = ScriptSpec(**DESIGN, target=TARGETS)
    first, *others = (answer(spec, door)[0] for door in (by_function, by_command, elsewhere))
    for other in others:
        assert other.targets == first.targets
        assert other.curve == first.curve
    training = TrainingConfig(**ENCODERS)
    study = Study.of(StudySpec(**DESIGN, training=training), read(project / "pairs.npz"))
    expected = of_encoders(study)
    for target, theirs in expected.answers.items():
        told, ours = (each.model_dump(mode="json") for each in (theirs, first.targets[target]))
        same = set(told) - OF_ENCODERS
        assert {name: ours[name] for name in same} == {name: told[name] for name in same}
        assert first.targets[target].tested == theirs.tested
    assert [point.strength for point in first.curve] == [p.strength for p in expected.curve]
