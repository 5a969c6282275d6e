"""The MLflow mirror, against a real MLflow on SQLite."""

import json
import logging
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import update

from tests.support import mlflow_tables
from tuner.errors import TrackingError
from tuner.storage.tables import TrialRow
from tuner.study.trial import OF_THE_MACHINE, FinishedTrial
from tuner.tracking.connection import TAG_FINGERPRINT, connect, redacted
from tuner.tracking.content.encoders import trial_points
from tuner.tracking.tracker import StudyTracker

pytestmark = pytest.mark.integration


@pytest.fixture
def store(classification, store_url):
    return classification.store(store_url)


@pytest.fixture
def tracker(classification, store, tracking_uri, tmp_path):
    return StudyTracker(
        classification.study,
        store,
        tracking_uri=tracking_uri,
        artifact_location=(tmp_path / "artifacts").as_uri(),
        patience=0.0,
    )


@pytest.fixture
def client(tracking_uri):
    return connect(tracking_uri)


@pytest.fixture
def dead_uri():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def runs(client, study):
    """(runs of studies, runs of trials) in the experiment of a data set."""
    experiment = client.get_experiment_by_name(study.dataset.name)
    found = client.search_runs([experiment.experiment_id])
    trials = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    return [run for run in found if run not in trials], trials


def test_importing_the_tracker_does_not_import_mlflow():
    code = (
        "import sys, tuner.tracking.tracker, tuner.tracking.registry, tuner.reporting.page; "
        "print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_each_finished_trial_has_one_run(tracker, client, classification):
    links = tracker.sync()
    tracker.sync()
    studies, trials = runs(client, classification.study)
    assert [run.info.run_id for run in studies] == [links.run_id]
    assert all(run.data.tags["mlflow.parentRunId"] == links.run_id for run in trials)
    expected = {(t.request.phase, t.request.number) for t in classification.finished}
    seen = [(run.data.tags["tuner.phase"], int(run.data.tags["tuner.number"])) for run in trials]
    assert sorted(seen) == sorted(expected)


def test_a_trial_shows_what_was_asked_and_measured(tracker, client, classification):
    tracker.sync()
    study = classification.study
    trial = next(t for t in classification.finished if t.request.phase == "confirm")
    _, trials = runs(client, study)
    run = next(run for run in trials if run.info.run_name == "λ = 0 (confirm)")
    assert run.info.status == "FINISHED"
    assert run.data.params["lambda"] == "0.0"
    assert run.data.params["seeds"] == "11 12 13"
    assert run.data.params["epochs"] == "4"
    scores = study.test.scores(trial.outcome.test_predictions, "b")
    assert run.data.metrics["test_accuracy_b"] == pytest.approx(scores.mean())
    assert run.data.metrics["test_accuracy_b_sem"] == pytest.approx(scores.std(ddof=1) / 3**0.5)
    similarity = trial.outcome.similarity["svcca"]
    assert run.data.metrics["similarity_svcca"] == pytest.approx(similarity.mean())
    null = trial.outcome.similarity_null["svcca"].mean(0)
    median = np.median(null)
    told = {name: run.data.metrics[f"similarity_svcca_{name}"] for name in ("calibrated", "p")}
    assert told["calibrated"] == pytest.approx(
        (similarity.mean() - median) / (1 - median), abs=1e-6
    )
    assert told["p"] == pytest.approx((1 + (null >= similarity.mean()).sum()) / 201)
    assert run.data.metrics["similarity_svcca_null_quantile"] == pytest.approx(np.sort(null)[190])
    assert run.data.metrics["steps"] == trial.outcome.steps
    assert trial.outcome.environment["device"] == "cpu"
    for name, words in trial.outcome.environment.items():
        assert run.data.tags[f"tuner.{name}"] == words


def test_curves_are_complete(tracker, client, classification):
    tracker.sync()
    _, trials = runs(client, classification.study)
    by_name = {run.info.run_name: run.info.run_id for run in trials}
    for trial in classification.finished[:2]:
        run_id = by_name[f"λ = {trial.request.strength:.3g} (search)"]
        for name, curves in trial.outcome.curves.items():
            for replicate, curve in enumerate(curves):
                history = client.get_metric_history(run_id, f"{name}/replicate_{replicate}")
                logged = {point.step: point.value for point in history}
                known = {e: float(v) for e, v in enumerate(curve) if np.isfinite(v)}
                assert logged == pytest.approx(known)


def test_of_a_long_curve_mlflow_gets_enough_to_draw_it(classification):
    known, epochs = 151, 200  # it ended early
    curve = np.where(np.arange(epochs) < known, np.linspace(2, 1, epochs), np.nan)
    outcome = replace(
        classification.finished[0].outcome, curves={"train_loss_a": np.stack([curve, curve])}
    )
    points = trial_points(classification.study, outcome, 10_000)
    logged = [p for p in points if p.name == "train_loss_a/replicate_1"]
    steps = [p.step for p in logged]
    assert (len(steps), steps[0], steps[-1]) == (40, 0, known - 1)
    assert {2, 3, 4, 5} > set(np.diff(steps))
    assert [p.value for p in logged] == pytest.approx(curve[steps])


def test_a_failed_trial_says_why(tracker, client, classification):
    tracker.sync()
    _, trials = runs(client, classification.study)
    failed = [run for run in trials if run.info.status == "FAILED"]
    reason = next(t.reason for t in classification.finished if t.reason)
    assert [run.data.tags["tuner.reason"] for run in failed] == [reason]
    assert failed[0].data.tags["mlflow.note.content"] == reason


def test_a_trial_that_the_machine_failed_has_another_run_once_it_is_trained(
    tracker, client, classification, store
):
    study = classification.study
    trial = next(t for t in classification.finished if t.request.phase == "search" and t.outcome)
    request = replace(trial.request, number=99)
    for number, outcome in ((1, None), (2, trial.outcome)):
        reason = None if outcome else "NoMemoryError: memory ran out"
        store.record(study.id, FinishedTrial(request=request, outcome=outcome, reason=reason))
        tracker.sync()
        tracker._mirror.forget()  # as another process does
        store.forget_failed(study.id, OF_THE_MACHINE)
        own = [run for run in runs(client, study)[1] if run.data.tags["tuner.number"] == "99"]
        assert len(own) == number
    assert {run.info.status for run in own} == {"FAILED", "FINISHED"}


def test_the_study_shows_its_data_and_spec(tracker, client, classification):
    links = tracker.sync()
    dataset = classification.study.dataset
    run = client.get_run(links.run_id)
    assert run.data.tags["tuner.fingerprint"] == dataset.fingerprint
    (logged,) = run.inputs.dataset_inputs
    assert dataset.fingerprint.startswith(logged.dataset.digest)
    assert json.loads(logged.dataset.profile)["fingerprint"] == dataset.fingerprint
    assert run.data.params["max_lambda"] == "4.0"
    assert run.data.params["training.epochs"] == "4"
    assert {file.path for file in client.list_artifacts(links.run_id)} == {"spec.json"}
    assert run.data.metrics == {}  # those of trials are in their own runs


def test_a_crash_between_mlflow_and_the_store_duplicates_nothing(
    tracker, client, classification, store, tracking_uri
):
    links = tracker.sync()
    first = {run.info.run_id for run in runs(client, classification.study)[1]}
    store.update(classification.study.id, run_id=None)
    with store.database.session() as session:
        session.execute(update(TrialRow).values(run_id=None))
    again = StudyTracker(classification.study, store, tracking_uri=tracking_uri)
    assert again.sync() == links
    studies, trials = runs(client, classification.study)
    assert len(studies) == 1
    assert {run.info.run_id for run in trials} == first
    for run in trials:
        assert len(client.get_metric_history(run.info.run_id, "seconds")) <= 1  # none if it failed


def test_a_new_mlflow_gets_the_whole_study(
    tracker, classification, store, mlflow_template, tmp_path
):
    tracker.sync()
    (tmp_path / "other.db").write_bytes(mlflow_template.read_bytes())
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    StudyTracker(
        classification.study, store, tracking_uri=uri, artifact_location=tmp_path.as_uri()
    ).sync()
    _, trials = runs(connect(uri), classification.study)
    assert len(trials) == len(classification.finished)


def test_an_interrupted_study_goes_on_in_its_run(
    tracker, client, classification, store, tracking_uri
):
    links = tracker.sync()
    tracker.interrupt()
    run = client.get_run(links.run_id)
    assert run.info.status == "KILLED"
    assert "stopped before it had an answer" in run.data.tags["mlflow.note.content"]
    again = StudyTracker(classification.study, store, tracking_uri=tracking_uri)
    again.start()
    wait_until(lambda: client.get_run(links.run_id).info.status == "RUNNING")
    again.close()


def test_a_failed_study_says_why(tracker, client):
    tracker.fail("the baseline (λ = 0) could not be trained")
    links = tracker.sync()
    run = client.get_run(links.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["tuner.reason"] == "the baseline (λ = 0) could not be trained"
    assert "could not be trained" in run.data.tags["mlflow.note.content"]


def test_the_answer_is_logged(tracker, client, classification, tmp_path):
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.html").write_text("<p>report</p>")
    (folder / "lambda_curve.png").write_bytes(b"png")
    environments = ({"device": "cuda", "gpu": "NVIDIA T4"}, {"device": "cuda", "gpu": "another"})
    result = classification.result.model_copy(update={"environments": environments})
    links = tracker.finish(result, folder)
    assert tracker.finish(result, folder) == links
    run = client.get_run(links.run_id)
    assert run.info.status == "FINISHED"
    names = {file.path for file in client.list_artifacts(links.run_id)}
    assert names == {"spec.json", "result.json", "report.html", "lambda_curve.png"}
    assert run.data.tags["tuner.verdict.b"] == "do not align"
    assert run.data.tags["tuner.lambda.a"] == "0.4"
    assert run.data.tags["tuner.gpu"] == "NVIDIA T4"
    note = run.data.tags["mlflow.note.content"]
    assert "| Modality A | align | 0.4 | 0.05 to 1.5 |" in note
    assert len(client.get_metric_history(links.run_id, "answer_a/lambda")) == 1
    metrics = run.data.metrics
    answers = ("answer/gain", "answer/gain_low", "answer/gain_high", "answer/lambda")
    assert tuple(metrics)[:4] == answers  # as MLflow's page shows them
    assert [metrics[name] for name in answers] == [0.001, -0.02, 0.022, 0.0]
    assert metrics["answer_a/test_at_zero"] == result.modalities.a.test.baseline
    experiment = client.get_experiment(run.info.experiment_id)
    assert "Modality A is a, B is b: 120 pairs" in experiment.tags["mlflow.note.content"]


def test_a_server_that_is_down_costs_the_study_nothing(classification, store, dead_uri, caplog):
    tracker = StudyTracker(classification.study, store, tracking_uri=dead_uri, patience=0.0)
    started = time.perf_counter()
    tracker.start()
    for _ in range(100):
        tracker.notify()
    assert time.perf_counter() - started < 0.5
    with caplog.at_level(logging.WARNING, "tuner.tracking.tracker"):
        wait_until(lambda: "will retry" in caplog.text)
    tracker.interrupt()
    with pytest.raises(TrackingError, match="could not log to MLflow at"):
        tracker.flush()


def test_the_background_thread_catches_up(tracker, client, classification):
    tracker.start()
    wait_until(
        lambda: (
            client.get_experiment_by_name(classification.study.dataset.name)
            and len(runs(client, classification.study)[1]) == len(classification.finished)
        )
    )
    tracker.close()


def test_passwords_are_hidden():
    uri = "postgresql+psycopg://tuner:secret@db:5432/mlflow"
    assert redacted(f"cannot reach {uri}") == "cannot reach postgresql+psycopg://***@db:5432/mlflow"


def wait_until(holds, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_the_background_writes_trial_after_trial_to_the_end(tracker, client, classification):
    tracker.start()
    tracker.notify()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if client.get_experiment_by_name(classification.study.dataset.name) is not None:
            _, trials = runs(client, classification.study)
            if len(trials) == len(classification.finished):
                break
        time.sleep(0.1)
    tracker.close()
    assert len(trials) == len(classification.finished)


def test_many_may_be_the_first(tmp_path):
    """In processes, as drivers are: MLflow's own locks hold within one of them."""
    code = "import sys; from tuner.tracking.connection import connect; connect(sys.argv[1])"
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'new.db'}"]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    told = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told


def test_a_database_is_never_left_half_built(tmp_path):
    """MLflow cannot go on with half of its tables, whose migrations are many."""
    code = """if True:
        import os, signal, sys
        from sqlalchemy import Engine, event
        from tuner.tracking import connection

        def count(connection, cursor, statement, *rest):
            built.append(statement.lstrip().startswith("CREATE TABLE"))
            if sum(built) == 20:
                os.kill(os.getpid(), signal.SIGKILL)

        built = []
        event.listen(Engine, "after_cursor_execute", count)
        connection.version = lambda _: "of which no tables are kept"
        connection.connect(sys.argv[1])
    """
    uri = f"sqlite:///{tmp_path / 'new.db'}"
    killed = subprocess.run([sys.executable, "-c", code, uri], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert connect(uri).search_experiments()


def test_the_tables_that_are_kept_are_those_that_migrations_make():
    """If not: `python -m tests.support.mlflow_tables`."""
    kept, made = mlflow_tables.FILE.read_text(encoding="utf-8"), mlflow_tables.migrated_tables()
    lines = [sorted(line.strip(", ") for line in sql.splitlines()) for sql in (kept, made)]
    assert lines[0] == lines[1]  # constraints and indices come in any order


def test_what_mlflow_is_needed_for_is_tried_again(classification, store, tracking_uri):
    study = classification.study
    tracker = StudyTracker(study, store, tracking_uri=tracking_uri, artifact_location=None)
    faults = [ConnectionError("planted"), TrackingError("planted")]

    def register():
        if faults:
            raise faults.pop()
        return "registered"

    assert tracker.retried(register) == "registered"
    with pytest.raises(ValueError, match="a fault of ours"):
        tracker.retried(lambda: int("a fault of ours"))


@pytest.mark.parametrize("says", [True, False], ids=["tagged", "by-its-runs"])
def test_other_data_of_the_same_name_have_an_experiment_of_their_own(
    classification, tracking_uri, tmp_path, says
):
    client, study = connect(tracking_uri), classification.study
    name, fingerprint = study.dataset.name, study.dataset.fingerprint
    theirs = client.create_experiment(name, tags={TAG_FINGERPRINT: "f" * 64} if says else {})
    client.create_run(theirs, tags={TAG_FINGERPRINT: "f" * 64})
    store = classification.store(f"sqlite:///{tmp_path / 'studies.db'}")
    for _ in range(2):
        tracker = StudyTracker(
            study, store, tracking_uri=tracking_uri, artifact_location=tmp_path.as_uri()
        )
        mine = client.get_experiment(tracker.sync(most=1).experiment_id)
        assert mine.name == f"{name}-{fingerprint[:8]}"
        assert mine.tags[TAG_FINGERPRINT] == fingerprint


def test_an_experiment_of_these_data_that_does_not_say_so_is_gone_on_with(
    classification, tracking_uri, tmp_path
):
    client, study = connect(tracking_uri), classification.study
    theirs = client.create_experiment(study.dataset.name, tmp_path.as_uri())
    client.create_run(theirs, tags={TAG_FINGERPRINT: study.dataset.fingerprint})
    store = classification.store(f"sqlite:///{tmp_path / 'studies.db'}")
    tracker = StudyTracker(study, store, tracking_uri=tracking_uri)
    assert tracker.sync(most=1).experiment_id == theirs


def test_an_interrupt_before_anything_was_shown_waits_for_nothing(classification, store):
    """To make MLflow's database alone takes many seconds, and Ctrl-C is to end a command now."""
    tracker = StudyTracker(
        classification.study,
        store,
        tracking_uri="sqlite:////nowhere/mlflow.db",
        artifact_location=None,
    )
    started = time.monotonic()
    tracker.interrupt()
    assert time.monotonic() - started < 1
    assert not tracker._in_trouble  # it was not tried
