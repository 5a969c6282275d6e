"""What a person sees of a study in MLflow's pages: a real server, a real browser."""

import re
import shutil
from collections import Counter
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from requests.adapters import HTTPAdapter

from tests.support.exports import PROCESSES
from tests.support.servers import mlflow_ui
from tuner.reporting.page import write_report
from tuner.storage.weights import WeightFiles
from tuner.tracking.connection import connect
from tuner.tracking.registry import register_encoders
from tuner.tracking.tracker import StudyTracker

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]


@pytest.fixture(scope="module")
def home(classification, mlflow_template, tmp_path_factory):
    """A home with one study that is tracked, registered and reported."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(mlflow_template, home / "mlflow.db")
    study, uri = classification.study, f"sqlite:///{home / 'mlflow.db'}"
    tracker = StudyTracker(
        study,
        classification.store(f"sqlite:///{home / 'studies.db'}"),
        tracking_uri=uri,
        artifact_location=(home / "artifacts").as_uri(),
    )
    register_encoders(
        study,
        classification.result,
        classification.finished,
        WeightFiles(str(home / "weights")),
        PROCESSES,
        tracking_uri=uri,
        run_id=tracker.sync().run_id,
    )
    (home / "report").mkdir()
    write_report(study, classification.result, classification.finished, home / "report")
    tracker.finish(classification.result, home / "report")
    return home


@pytest.fixture(scope="module")
def address(home):
    with mlflow_ui(home) as (_, address):
        yield address


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page(viewport={"width": 1600, "height": 1400})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    return page


def test_the_study_shows_its_verdicts_its_trials_its_data_and_its_models(
    page, address, home, classification
):
    client = connect(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(classification.study.dataset.name)
    parent = next(
        run
        for run in client.search_runs([experiment.experiment_id])
        if "mlflow.parentRunId" not in run.data.tags
    )
    run = f"{address}/#/experiments/{experiment.experiment_id}/runs/{parent.info.run_id}"
    page.goto(run)
    for text in (
        "Align encoder A with λ = 0.4",  # the description
        "answer/lambda",  # a metric
        "tuner.verdict.b: do not align",  # a tag
        "λ = 0.4 (confirm)",  # a child run
        "small-classification (a + b, 120 pairs)",  # the data set
        "small-classification-b-encoder",  # a registered model
    ):
        expect(page.get_by_text(text).first).to_be_visible()
    page.goto(f"{run}/artifacts/lambda_curve.png")
    expect(page.locator("img[src*='lambda_curve'], img[src^='blob:']").first).to_be_visible()


def test_the_command_prints_the_way_to_the_runs_of_a_data_set(page, address, home):
    printed = re.findall(r"(http://\S+/#/experiments/\S+)  (\S+)", (home / "ui.log").read_text())
    assert [name for _, name in printed] == ["small-classification"]
    page.goto(printed[0][0])
    expect(page.get_by_role("link", name="small-classification", exact=True).last).to_be_visible()
    expect(page.get_by_text("matching runs")).to_be_visible()
    expect(page.get_by_role("link", name="Playground")).to_have_count(0)  # of language models


def test_a_trial_shows_a_curve_of_every_replicate(page, address, home):
    client = connect(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small-classification")
    child = next(
        run
        for run in client.search_runs([experiment.experiment_id])
        if run.info.run_name == "λ = 0.4 (search)"
    )
    page.goto(
        f"{address}/#/experiments/{experiment.experiment_id}/runs/{child.info.run_id}/model-metrics"
    )
    for name in ("validation_loss_a", "replicate_0", "replicate_1"):
        expect(page.get_by_text(name).first).to_be_visible()


def test_a_model_shows_its_alias_and_how_to_load_it(page, address):
    page.goto(f"{address}/#/models/small-classification-a-encoder/versions/1")
    expect(page.get_by_text("champion").first).to_be_visible()
    expect(page.get_by_text("mlflow.pyfunc.load_model").first).to_be_visible()


def test_a_trial_takes_a_server_three_requests(address, regression, store_url, monkeypatch, capsys):
    """Its run is created, all that it holds is logged, and it is ended; nothing is printed."""
    sent, send = [], HTTPAdapter.send

    def told(adapter, request, **options):
        sent.append((request.method, urlsplit(request.url).path.rpartition("mlflow/")[2]))
        return send(adapter, request, **options)

    monkeypatch.setattr(HTTPAdapter, "send", told)
    trials = len(regression.finished)
    tracker = StudyTracker(regression.study, regression.store(store_url), tracking_uri=address)
    tracker.sync(most=0)
    before = len(sent)
    run = tracker.sync().run_id
    assert Counter(sent[before:]) == {
        ("POST", "runs/create"): trials,
        ("POST", "runs/log-batch"): trials,
        ("POST", "runs/update"): trials,
    }
    assert capsys.readouterr().out == ""
    client = connect(address)
    experiment = client.get_run(run).info.experiment_id
    shown = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run}'")
    assert len(shown) == trials
    for each in shown:
        assert "lambda" in each.data.params
        assert "tuner.phase" in each.data.tags
    trained = [trial for trial in regression.finished if trial.outcome is not None]
    steps = sorted(each.data.metrics["steps"] for each in shown if each.info.status == "FINISHED")
    assert steps == sorted(trial.outcome.steps for trial in trained)
