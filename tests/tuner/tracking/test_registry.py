"""The model registry, and registered encoders used without this project."""

import dataclasses
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.support.elsewhere import predict_elsewhere
from tests.support.exports import PROCESSES
from tests.tuner.conftest import make_study
from tuner.data import Split
from tuner.storage.database import Database
from tuner.storage.weights import WeightFiles, WeightStore
from tuner.study.answer import CheckpointRule
from tuner.tracking.connection import connect
from tuner.tracking.registry import BestEncoder, model_name, register_encoders
from tuner.tracking.tracker import StudyTracker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]


class Registered:
    """A study whose encoders are registered."""

    def __init__(self, study, uri, folder):
        self.study, self.uri, self.folder = study, uri, folder
        self.client = connect(uri)
        self.store = study.store(f"sqlite:///{folder / 'studies.db'}")
        self.weights = WeightStore(self.store.database, str(folder / "weights"))
        self.models = self.register(study)

    def copy(self, folder):
        """The same in a database of its own: registering takes seconds."""
        database = shutil.copy(self.uri.removeprefix("sqlite:///"), folder / "mlflow.db")
        return Registered(self.study, f"sqlite:///{database}", folder)

    def register(self, small):
        study = small.study
        self.store.open(study.id, name="", fingerprint="", spec={})
        artifacts = (self.folder / "artifacts").as_uri()
        tracker = StudyTracker(
            study, self.store, tracking_uri=self.uri, artifact_location=artifacts
        )
        return register_encoders(
            study,
            small.result,
            [self.weights.keep(study.id, trial) for trial in small.finished],
            WeightFiles(str(self.folder / "weights")),
            PROCESSES,
            tracking_uri=self.uri,
            run_id=tracker.sync().run_id,
        )

    def version(self, side="a", number=None):
        name = self.models[side].name
        return self.client.get_model_version(name, number or self.models[side].version)

    def champion(self, side="a"):
        name = self.models[side].name
        return str(self.client.get_model_version_by_alias(name, "champion").version)

    def source(self, side):
        return self.version(side).source.removeprefix("file://")


@pytest.fixture(scope="module")
def original(mlflow_template, tmp_path_factory):
    """Registers a study, once."""

    @functools.cache
    def original(study):
        folder = tmp_path_factory.mktemp("original")
        database = shutil.copy(mlflow_template, folder / "mlflow.db")
        return Registered(study, f"sqlite:///{database}", folder)

    return original


@pytest.fixture
def registered(classification, original, tmp_path):
    return original(classification).copy(tmp_path)


def test_an_encoder_has_the_width_that_its_trial_had(tracking_uri, tmp_path):
    study = make_study("classification", settings=(("hidden", 16),))
    registered = Registered(study, tracking_uri, tmp_path)
    run = registered.version("a").run_id
    found = registered.client.search_logged_models(
        [registered.client.get_run(run).info.experiment_id], filter_string="params.hidden = '16'"
    )
    assert {model.name for model in found} == {"a-encoder", "b-encoder"}


def test_both_encoders_are_registered_once(registered):
    assert registered.models["a"].name == "small-classification-a-encoder"
    assert registered.models["b"].name == "small-classification-b-encoder"
    again = registered.register(registered.study)
    assert again == registered.models
    assert {model.alias for model in again.values()} == {"champion"}
    for model in again.values():
        found = registered.client.search_model_versions(f"name = '{model.name}'")
        assert [str(v.version) for v in found] == [model.version]


def test_without_its_weights_an_encoder_is_not_registered(classification, tracking_uri, tmp_path):
    tracker = StudyTracker(
        classification.study,
        classification.store(f"sqlite:///{tmp_path / 'studies.db'}"),
        tracking_uri=tracking_uri,
        artifact_location=(tmp_path / "artifacts").as_uri(),
    )
    with Database(f"sqlite:///{tmp_path / 'studies.db'}") as database:
        weights = WeightStore(database, str(tmp_path / "weights"))
        finished = [weights.keep(classification.study.id, t) for t in classification.finished]
    best = BestEncoder.of(classification.study, classification.result, finished, "a")
    (tmp_path / "weights" / best.trial.weights.digests["a"]).write_bytes(b"damaged")
    models = register_encoders(
        classification.study,
        classification.result,
        finished,
        WeightFiles(str(tmp_path / "weights")),
        PROCESSES,
        tracking_uri=tracking_uri,
        run_id=tracker.sync().run_id,
    )
    assert "The encoder of A is not registered: its weights, " in str(models["a"])
    assert models["b"].version == "1"


def test_a_version_says_where_it_comes_from(registered):
    study = registered.study
    best = BestEncoder.of(study.study, study.result, study.finished, "b")
    version = registered.version("b")
    assert version.status == "READY"
    assert version.tags["lambda"] == "0"  # B is not to be aligned
    assert version.tags["study"] == version.tags["tuner.study"] == study.study.id
    assert version.tags["fingerprint"] == study.study.dataset.fingerprint
    assert version.tags["verdict"] == "do not align"
    assert version.tags["metric"] == "accuracy"
    assert float(version.tags["test_score"]) == best.test_score
    assert "Do not align encoder B" in version.description
    files = [file for file in Path(registered.source("b")).rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in (".pkl", ".pickle", ".pth")]
    assert {"served_encoder.py", "model.pt2"} <= {file.name for file in files}


def test_the_best_replicate_is_chosen_on_validation_rows(classification):
    study, finished = classification.study, classification.finished
    best = BestEncoder.of(study, classification.result, finished, "a")
    validation = study.validation.scores(best.outcome.predictions, "a")
    test = study.test.scores(best.outcome.test_predictions, "a")
    assert best.outcome.strength == 0.4
    losses = np.nanmin(best.outcome.curves["validation_loss_a"], axis=1)
    assert losses[best.replicate] == losses.min()
    assert validation[best.replicate] == best.validation_score
    assert test[best.replicate] == best.test_score


def test_what_is_registered_is_what_was_tested_by_whichever_rule(tracking_uri, tmp_path):
    """Registering compares the encoder's answers with those that were measured by that rule."""
    settings = (("learning_rate", 0.01), ("epochs", 12))
    small = make_study("classification", settings=settings)
    rule = CheckpointRule(rule="accuracy", baseline={"loss": 0.1, "accuracy": 0.2}, gain=None)
    kept = {"a": "accuracy", "b": "loss"}
    a = small.result.modalities.a.model_copy(update={"checkpoint": rule})
    modalities = small.result.modalities.model_copy(update={"a": a})
    result = small.result.model_copy(update={"modalities": modalities})
    assert result.rules == kept
    registered = Registered(dataclasses.replace(small, result=result), tracking_uri, tmp_path)
    for side, rule in kept.items():
        best = BestEncoder.of(small.study, result, small.finished, side)
        tags = registered.version(side).tags
        assert tags["kept_by"] == rule
        assert float(tags["test_score"]) == best.test_score
    best = BestEncoder.of(small.study, result, small.finished, "a")
    by_loss = BestEncoder.of(small.study, small.result, small.finished, "a")
    ours, theirs = (b.outcome.test_predictions["a"][b.replicate] for b in (best, by_loss))
    assert (ours != theirs).any()  # else the one would pass for the other
    assert "the one of best accuracy on validation rows" in registered.version("a").description
    assert "the one of least loss on validation rows" in registered.version("b").description


@pytest.mark.system
def test_a_replicate_is_registered_with_the_scaling_of_its_validation_fold(tracking_uri, tmp_path):
    """Registering compares the encoder's answers with those of its training, on the test rows."""
    small = make_study("classification", validation_folds=2)
    registered = Registered(small, tracking_uri, tmp_path)
    for side in ("a", "b"):
        assert registered.models[side].version == "1"
        best = BestEncoder.of(small.study, small.result, small.finished, side)
        assert (
            best.fold
            == small.study.spec.seeds("confirm").index(best.outcome.seeds[best.replicate]) % 2
        )
        tags = registered.version(side).tags
        assert float(tags["test_score"]) == best.test_score


@pytest.mark.system
def test_of_folds_the_best_replicate_is_registered_as_its_fold_tested_it(tracking_uri, tmp_path):
    """Registering compares the encoder's answers with those of its fold, whose scaling it has."""
    small = make_study("classification", folds=3)
    registered = Registered(small, tracking_uri, tmp_path)
    for side in ("a", "b"):
        assert registered.models[side].version == "1"
        best = BestEncoder.of(small.study, small.result, small.finished, side)
        seed = int(best.outcome.seeds[best.replicate])
        assert best.fold == small.study.spec.seeds("confirm").index(seed) % 3
        tags = registered.version(side).tags
        assert (float(tags["test_score"]), tags["seed"]) == (best.test_score, str(seed))
        (own,) = (
            t.outcome
            for t in small.finished
            if seed in t.request.seeds and t.request.strength == best.outcome.strength
        )
        rows = small.study.inputs_of(best.fold)
        truth = rows.y[rows.indices(Split.TEST, labelled_only=True)]
        told = own.test_predictions[side][list(own.seeds).index(seed)]
        assert best.test_score == (told == truth).mean()


def test_encoders_are_the_same_without_this_project(classification, regression, original, tmp_path):
    sources = []
    for study in (classification, regression):
        sources.append(original(study).source("a"))
        test = study.study.dataset.indices(Split.TEST, labelled_only=True)
        np.save(Path(sources[-1]) / "rows.npy", study.study.dataset.a.values[test])
    labels, values = predict_elsewhere(sources, tmp_path)
    classes = classification.study.dataset.classes
    assert labels["prediction"].tolist() == [classes[code] for code in trained(classification)]
    np.testing.assert_allclose(labels["probability"].sum(1), 1, rtol=1e-5)
    assert labels["embedding"].shape == (len(labels["prediction"]), 6)
    np.testing.assert_allclose(values["prediction"], trained(regression), rtol=1e-5)


def trained(study):
    """What the registered encoder of A predicted for test rows when it was trained."""
    best = BestEncoder.of(study.study, study.result, study.finished, "a")
    return best.outcome.test_predictions["a"][best.replicate]


def test_an_encoder_can_be_served(registered, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binaries = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}"}
    command = [str(binaries / "mlflow"), "models", "serve", "-m", registered.source("a")]
    command += ["--env-manager", "local", "--port", str(port), "--workers", "1"]
    example = json.loads((Path(registered.source("a")) / "serving_input_example.json").read_text())
    with (tmp_path / "serve.log").open("w") as output:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=output, stderr=output
        )
        try:
            answer = post(f"http://127.0.0.1:{port}/invocations", example, server)
        finally:
            server.terminate()
            server.wait(20)
    assert len(answer["prediction"]) == len(answer["embedding"]) == 2
    assert set(answer["prediction"]) <= set(registered.study.study.dataset.classes)


def post(url, body, server, seconds=60):
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    while True:
        try:
            with urllib.request.urlopen(request) as response:
                return json.load(response)["predictions"]
        except urllib.error.URLError:
            assert server.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.2)


@pytest.mark.parametrize(("task", "better"), [("classification", 0.1), ("regression", -0.1)])
def test_the_alias_moves_to_a_better_version_only(task, better, request, original, tmp_path):
    study = request.getfixturevalue(task)
    registered = original(study).copy(tmp_path)
    version = registered.version()
    score = float(version.tags["test_score"])
    other = with_seed(study, 1)
    pretend(registered, version, score + better)  # the champion is better than it was
    worse = registered.register(other)["a"]
    assert (worse.version, worse.alias) == ("2", None)
    assert registered.champion() == "1"
    assert "not better" in registered.version("a", "2").tags["champion"]
    pretend(registered, version, score - better)
    assert registered.register(with_seed(study, 2))["a"].alias == "champion"
    assert registered.champion() == "3"


def test_the_alias_stays_where_scores_do_not_compare(registered):
    version = registered.version()
    pretend(registered, version, 0.0)
    registered.client.set_model_version_tag(version.name, version.version, "test_rows", "other")
    assert registered.register(with_seed(registered.study, 1))["a"].alias is None
    assert registered.champion() == "1"
    assert "other test rows" in registered.version("a", "2").tags["champion"]


def test_encoders_of_other_data_of_the_same_name_are_another_model(registered):
    version = registered.version()
    registered.client.set_model_version_tag(version.name, version.version, "fingerprint", "other")
    mine = registered.register(with_seed(registered.study, 1))["a"]
    fingerprint = registered.study.study.dataset.fingerprint
    assert mine.name == f"small-classification-{fingerprint[:8]}-a-encoder"
    assert (mine.version, mine.alias) == ("1", "champion")
    assert registered.champion() == "1"


def pretend(registered, version, score):
    registered.client.set_model_version_tag(
        version.name, version.version, "test_score", repr(score)
    )


def with_seed(study, seed):
    """The same trials as the answer to another question about the same data."""
    spec = study.study.spec.model_copy(update={"seed": seed})
    name = spec.study_id(study.study.dataset.fingerprint)
    asked = dataclasses.replace(study.study, spec=spec, id=name)
    result = study.result.model_copy(update={"study": name})
    return dataclasses.replace(study, study=asked, result=result)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mfeat", "mfeat-a-encoder"),
        ("a/b: <script>", "a-b-script-a-encoder"),
        ("ключ 1", "ключ-1-a-encoder"),
        ("//", "study-a-encoder"),
    ],
)
def test_model_names_are_safe(name, expected):
    assert model_name(name, "a") == expected
