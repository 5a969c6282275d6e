"""What is derived of a spec and data."""

from tests.support import worlds
from tuner.analysis.conclusion import _of_steps
from tuner.models.config import TrainingConfig
from tuner.search.plan import Plan
from tuner.study.spec import StudySpec
from tuner.study.study import Study

DATA = worlds.null(0, rows=1000)  # 700 to train on: 21 steps of 32 an epoch
ENOUGH = {"batch_size": 32, "epochs": 18}


def asked(**options):
    return StudySpec(halving=3, training=TrainingConfig(**ENOUGH | options))


def test_a_study_with_fewer_epochs_than_asked_for_is_another_than_it_was():
    assert '"max_steps"' not in StudySpec().model_dump_json()
    whole, cut = (Study.of(asked(max_steps=steps), DATA) for steps in (18 * 21, 9 * 21))
    assert whole.id == whole.spec.study_id(DATA.fingerprint)
    assert cut.id != cut.spec.study_id(DATA.fingerprint)
    assert (whole.epochs, cut.epochs, cut.spec.training.epochs) == (18, 9, 18)


def test_rungs_are_parts_of_the_epochs_that_there_are():
    study = Study.of(asked(max_steps=9 * 21), DATA)
    rung = [dict(request.settings)["epochs"] for request in Plan.of(study).next([])]
    assert set(rung) == {1}
    in_full = Plan.of(Study.of(asked(), DATA)).next([])
    assert {dict(request.settings)["epochs"] for request in in_full} == {2}


def test_fewer_epochs_than_were_asked_for_are_told_with_what_would_make_them_all():
    study = Study.of(asked(max_steps=9 * 21), DATA)
    (told,) = _of_steps(study)
    assert told.startswith("Trained for 9 of 18 epochs, as far as 189 gradient steps go")
    assert told.endswith("--max-steps 378.")
    assert _of_steps(Study.of(asked(max_steps=378), DATA)) == ()
    default = TrainingConfig.model_fields["epochs"].default  # nobody has asked for it
    assert _of_steps(Study.of(asked(epochs=default, max_steps=189), DATA)) == ()
