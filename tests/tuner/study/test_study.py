"""What is derived of a spec and data."""

import pickle
from functools import partial

import numpy as np
import pytest

from tests.support import worlds
from tuner.analysis.conclusion import _of_steps
from tuner.models.config import TrainingConfig
from tuner.search.plan import Plan
from tuner.study.spec import StudySpec, spec_from_options
from tuner.study.study import Study, read_dataset, read_rows

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


@pytest.mark.parametrize(
    ("options", "divisions"),
    [({"folds": "auto"}, 3), ({"validation_folds": 3}, 3), ({"max_steps": 40}, 0)],
)
def test_rows_that_another_machine_reads_are_those_of_the_study_of_each_fold(
    tmp_path, options, divisions
):
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 300)
    a, b = (y[:, None] + random.normal(size=(300, 4)) for _ in "ab")
    np.savez(tmp_path / "data.npz", a=a, b=b, y=y)
    spec = spec_from_options(options)
    read = partial(read_dataset, spec, str(tmp_path / "data.npz"))
    study = Study.of(spec, read())
    folds = study.folds or study.validation_folds
    assert (0 if folds is None else folds.count) == divisions
    for fold in (None, *range(divisions)):
        there = pickle.loads(pickle.dumps(partial(read_rows, study.spec, read, fold)))
        ours, theirs = (
            [
                (name, array.dtype, array.tobytes())
                for rows in (d.train, d.validation, test)
                for name, array in vars(rows).items()
                if array is not None
            ]
            for d, test in (study.rows_of(fold), there())
        )
        assert ours == theirs
