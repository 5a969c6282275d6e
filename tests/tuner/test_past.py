"""A user's own studies in the corpus: added whole, listed, exported, forgotten."""

import json

import numpy as np
import pytest

from tests.support import worlds
from tests.support.in_process import answer_in_process
from tests.tuner.conftest import make_study
from tuner import past
from tuner.analysis.curves.families import node_weights
from tuner.analysis.curves.modelled import modelled_curve
from tuner.drivers.orchestrator import opened
from tuner.errors import SpecError
from tuner.models.config import TrainingConfig
from tuner.prediction.corpus import Corpus, shipped
from tuner.prediction.earlier import EarlierStudy
from tuner.prediction.prediction import predict
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.study.space import LambdaSpace
from tuner.study.spec import StudySpec
from tuner.study.study import Study

SMALL = StudySpec(
    trials=4,
    replicates=2,
    confirm_replicates=2,
    training=TrainingConfig(epochs=2, hidden=8),
)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home")


@pytest.fixture
def kept(classification, settings, tmp_path):
    """A study with its answer in the store of this machine, and its data in a file."""
    study = classification.study
    with classification.store(settings.store_url).database as database:
        result = classification.result.model_dump(mode="json")
        StudyStore(database).update(study.id, status="done", result=result)
    data = study.dataset
    path = tmp_path / "data.npz"
    labels = np.array(data.classes)[data.y]
    np.savez(path, a=data.a.values, b=data.b.values, y=labels)
    return study, str(path)


@pytest.mark.integration
def test_a_study_joins_and_leaves(settings, kept, classification):
    study, source = kept
    (record,) = past.add([study.id], settings, source=source)
    assert (record.study, record.name) == (study.id, study.name)
    known = past.known(settings)
    assert len(known.records) == len(shipped().records) + 1
    searched = {
        t.request.strength: t.outcome
        for t in classification.finished
        if t.request.phase == "search" and t.outcome is not None
    }
    base = study.validation.scores(searched[0.0].predictions, "a")
    for strength, gains in zip(record.curves["a"].lambdas, record.curves["a"].gains, strict=True):
        scores = study.validation.scores(searched[strength].predictions, "a")
        assert gains == pytest.approx(scores - base)
    past.add([study.id], settings, source=source)  # once more is once
    assert [each.study for each in past.own(settings)] == [study.id]
    assert past.own(Settings(home=settings.home / "another's")) == ()
    with pytest.raises(SpecError, match=f"another is not among your own records: {study.id}"):
        past.forget(["another"], settings)
    assert past.forget([study.id], settings) == 0
    assert past.known(settings).digest == shipped().digest


@pytest.mark.integration
def test_what_cannot_join_says_why_and_nothing_else_joins(settings, kept):
    study, source = kept
    with pytest.raises(SpecError, match="there is no such study"):
        past.add([study.id, "0123"], settings, source=source)
    assert past.own(settings) == ()
    other = make_study("regression")
    with other.store(settings.store_url).database as database:
        result = other.result.model_dump(mode="json")
        StudyStore(database).update(other.study.id, status="done", result=result)
    with pytest.raises(SpecError, match="no longer what it was about"):
        past.add([other.study.id], settings, source=source)


def test_a_damaged_file_of_ones_own_is_named(settings):
    settings.folder.joinpath("corpus.json.gz").write_bytes(b"half of it")
    with pytest.raises(SpecError, match=r"corpus\.json\.gz: no corpus can be read"):
        past.known(settings)


@pytest.mark.integration
def test_the_commands(settings, kept, monkeypatch, capsys, tmp_path):
    from typer.testing import CliRunner

    from tuner.cli.main import app

    monkeypatch.setenv("TUNER_HOME", str(settings.home))
    study, source = kept

    def run(*words):
        return CliRunner().invoke(app, list(words))

    added = run("corpus", "add", study.id, "--data", source)
    assert (added.exit_code, added.stdout.split()[:2]) == (0, ["added", study.id])
    listed = run("corpus", "list", "--json").stdout.splitlines()
    assert json.loads(listed[-1])["study"] == study.id
    assert len(listed) == len(shipped().records) + 1
    out = tmp_path / "mine.json.gz"
    assert run("corpus", "export", str(out)).exit_code == 0
    assert [record.study for record in Corpus.read(out).records] == [study.id]
    assert run("corpus", "export", str(out)).exit_code == 2
    told = run("predict", source, "--epochs", "7", "--json")
    assert (told.exit_code, json.loads(told.stdout)["targets"]) == (0, {})
    assert json.loads(told.stdout)["corpus"]["own"] == 1
    outside = run("predict", source, "--epochs", "7", "--plot", str(tmp_path / "curve.png"))
    assert "lies outside" in outside.stdout
    assert "curve.png is not drawn" in outside.stderr
    assert f"Next: tuner run {source} --epochs 7" in outside.stderr
    assert not (tmp_path / "curve.png").exists()
    refused = run("predict", source, "--plot", "curve.doc")
    assert (refused.exit_code, ".png" in refused.stderr) == (2, True)
    assert run("corpus", "forget", study.id).stdout == "0 of your own are left\n"
    assert run("corpus", "forget", study.id).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "mfeat-few", "--plot"),
        ("corpus", "export", "--force"),
        ("synthesize", "--redundant", "8", "--force"),
        ("report", "0123", "--out"),
        ("encoder", "0123", "a"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused_first(words, monkeypatch, tmp_path):
    from typer.testing import CliRunner

    from tuner.cli.main import app

    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    folder = tmp_path / "curve.png"
    folder.mkdir()
    for path, reason in ((folder, "is a folder"), (tmp_path / "lost" / "x.png", "no folder")):
        told = CliRunner(env={"COLUMNS": "500"}).invoke(app, [*words, str(path)])
        assert told.exit_code == 2
        assert reason in told.stderr
    assert not (tmp_path / "home").exists()


def test_no_prior_is_the_study_itself(settings):
    study = Study.of(StudySpec(), worlds.null(0, rows=200))
    assert past.expecting(study, "none", settings) is study


@pytest.mark.parametrize(
    ("prior", "changes", "told"),
    [
        ("lost.json.gz", {}, "--prior lost.json.gz: there is no such file; it is none, shipped"),
        (
            "shipped",
            {"training": TrainingConfig(epochs=2)},
            "(?s)so leave it out:.*--epochs 2",
        ),
        ("own", {"max_lambda": 8.0}, "(?s)--prior own: .*--max-lambda 8"),
    ],
)
def test_a_prior_that_says_nothing_of_a_study_is_refused(settings, prior, changes, told):
    study = Study.of(StudySpec(**changes), worlds.null(0, rows=200))
    with pytest.raises(SpecError, match=told):
        past.expecting(study, prior, settings)


@pytest.mark.slow
def test_a_prior_is_what_is_predicted_and_part_of_the_studys_identity(settings, tmp_path):
    study = Study.of(StudySpec(), worlds.helps(0))
    told = past.expecting(study, "shipped", settings)
    prior = told.spec.prior
    assert prior is not None
    assert (prior.source, prior.corpus, prior.weight) == ("shipped", shipped().digest, 0.5)
    assert told.id != study.id
    assert StudySpec.model_validate_json(told.spec.model_dump_json()) == told.spec
    expected = predict(study, shipped())
    for target, families in prior.targets.items():
        at = np.array([p.strength for p in expected.targets[target].curve])
        shares, means = np.array(families.shares), np.array(families.means)
        mean = shares @ means @ node_weights(LambdaSpace().to_unit(at)).T
        drawn = [p.mean for p in expected.targets[target].curve]
        assert mean == pytest.approx(drawn, abs=0.004)  # of 4,000 draws
        assert families.interval == pytest.approx(expected.targets[target].interval)


@pytest.mark.integration
def test_an_earlier_answer_is_begun_with(settings, kept, classification):
    study, _ = kept
    found = past.earlier_study(study.id, settings)
    assert (found.study, found.name, found.fingerprint) == (
        study.id,
        study.name,
        study.dataset.fingerprint,
    )
    assert found.interval == classification.result.joint.interval
    again = past.expecting(study, "none", settings, warm_start=study.id)
    assert again.spec.warm_start.study == study.id
    with pytest.raises(SpecError, match="--warm-start 0123: the store has no answer"):
        past.expecting(study, "none", settings, warm_start="0123")
    other = Study.of(StudySpec(), worlds.null(0, rows=200))
    with pytest.raises(SpecError, match="has no modelled curve"):  # as of before it was told
        past.expecting(other, "none", settings, warm_start=study.id)
    curve = modelled_curve(study, classification.finished)
    result = classification.result.model_copy(update={"curve_model": curve})
    with Database(settings.store_url) as database:
        row = opened(study, StudyStore(database), None)[1]
        StudyStore(database).update(study.id, result=result.model_dump(mode="json"))
        assert row.sketch is not None
        StudyStore(database).update(study.id, fingerprint="0" * 64)  # another version of its rows
    with pytest.raises(SpecError, match=f"--warm-start {study.id}: .* it has rows of these"):
        past.expecting(study, "none", settings, warm_start=study.id)
    told = past.expecting(other, "none", settings, warm_start=study.id).spec.prior
    assert told.earlier.study == study.id
    gains = np.array(curve.joint.mean) - curve.joint.mean[0]
    last = np.interp(1.0, LambdaSpace().to_unit(np.array(curve.strengths)), gains)
    assert np.sign(told.targets["joint"].means[0][-1]) == np.sign(last)


@pytest.mark.integration
def test_a_study_is_the_same_with_an_earlier_one_that_has_gone(settings, kept, classification):
    """What it said is in the spec with all its numbers, and its weights and all sum to the same."""
    study, _ = kept
    curve = modelled_curve(study, classification.finished)
    result = classification.result.model_copy(update={"curve_model": curve})
    earlier = EarlierStudy.of("s1", "n", "0" * 64, result.model_dump(mode="json"), None)
    again = EarlierStudy.model_validate_json(earlier.model_dump_json(by_alias=True))
    other = Study.of(SMALL, worlds.null(0, rows=200))
    begun, same = earlier.begins(other), again.begins(other)
    assert begun.id == same.id != other.id
    with_it = answer_in_process(begun.spec, begun.dataset)
    alone = answer_in_process(SMALL, other.dataset)
    assert [p.strength for p in with_it.curve][:1] == [p.strength for p in alone.curve][:1]
    weightless = begun.spec.prior.model_copy(update={"weight": 0.0})
    spec = SMALL.model_copy(update={"prior": weightless})
    nothing = answer_in_process(spec, other.dataset)
    volatile = {"study", "cost", "spec"}
    assert nothing.model_dump_json(exclude=volatile) == alone.model_dump_json(exclude=volatile)
