"""What goes wrong at the end of a study costs no answer, and is made good by `publish_study`."""

import errno
import re
import shutil
from functools import partial

import numpy as np
import pytest
from typer.testing import CliRunner

from tuner.answered import publish_study
from tuner.cli.main import app
from tuner.errors import SpecError
from tuner.settings import Settings
from tuner.study.result import StudyResult
from tuner.tracking.tracker import StudyTracker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*"),
]


class Home:
    """A study that has its answer, in a home of its own, and the file of its data."""

    def __init__(self, small, folder):
        self.settings = Settings(home=folder / "home")
        self.small, self.id = small, small.study.id
        self.data = folder / f"{small.study.dataset.name}.npz"
        dataset = small.study.dataset
        labels = np.array(dataset.classes)[dataset.y]
        np.savez(self.data, a=dataset.a.values, b=dataset.b.values, y=labels)
        self.store = small.store(self.settings.store_url)
        answer = small.result.model_dump(mode="json")
        self.store.update(self.id, result=answer, status="done", options={"data": str(self.data)})

    def publish(self, **options):
        return publish_study(self.id, self.settings, **options)

    @property
    def stored(self):
        return StudyResult.model_validate(self.store.get(self.id).result)


@pytest.fixture
def home(classification, tmp_path, monkeypatch):
    impatient = partial(StudyTracker, patience=0.0)
    monkeypatch.setattr("tuner.answered.StudyTracker", impatient)
    home = Home(classification, tmp_path)
    yield home
    home.store.database.close()


def answer_of(result):
    """What was found out, without where it is kept."""
    content = result.model_dump(mode="json", exclude={"mlflow", "unpublished"})
    for side in content["modalities"].values():
        del side["model"]
        side.pop("model_error", None)
    return content


def fault_in_export(monkeypatch, home):
    """Python of any other process that heeds PYTHONPATH, as the one that exports, begins so."""
    folder = home.settings.folder.parent / "patched"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        "import torch.export\n\n"
        "def refuse(*_, **__):\n    raise RuntimeError('no symbolic shape for aten.odd')\n\n"
        "torch.export.export = refuse\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))


def fault_of_this_program(monkeypatch, home):
    def stumble(*_, **__):
        raise KeyError("tags")

    monkeypatch.setattr("tuner.tracking.registry._Registration._known_version", stumble)


def mlflow_is_away(monkeypatch, home):
    from mlflow.exceptions import MlflowException

    def refuse(*_, **__):
        raise MlflowException("connection refused")

    monkeypatch.setattr("tuner.tracking.registry.connect", refuse)


def disk_is_full_for_models(monkeypatch, home):
    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tuner.tracking.registry.save_encoder", fill)


def no_folder_for_reports(monkeypatch, home):
    reports = home.settings.folder / "reports"
    shutil.rmtree(reports)
    reports.write_text("in the way")


FAULTS = {
    fault_in_export: "encoder of A is not registered: torch.export cannot trace .*aten.odd",
    fault_of_this_program: "The encoder of A is not registered: KeyError: 'tags'",
    mlflow_is_away: "could not log to MLflow at sqlite.*connection refused",
    disk_is_full_for_models: "No space left on device",
    no_folder_for_reports: "report, runs or encoders could not be written .*reports",
}


@pytest.mark.system
def test_no_fault_costs_the_answer_and_each_is_made_good(home, monkeypatch, tmp_path):
    for fault, words in FAULTS.items():
        with monkeypatch.context() as broken:
            fault(broken, home)
            result = home.publish()
        assert answer_of(result) == answer_of(home.small.result)
        assert home.stored == result
        assert re.search(words, result.missing[0]), (words, result.missing)
    assert result.modalities.a.model is not None  # the report alone is missing now
    (home.settings.folder / "reports").unlink()
    home.data = home.data.rename(tmp_path / "elsewhere.npz")
    again = home.publish(source=str(home.data))
    assert again.missing == ()
    assert answer_of(again) == answer_of(home.small.result)
    assert home.stored == again
    assert again.modalities == result.modalities
    assert (home.settings.reports(home.id) / "report.html").is_file()


def test_the_command_says_last_what_is_missing(home, monkeypatch):
    monkeypatch.setenv("TUNER_HOME", str(home.settings.home))
    fault_in_export(monkeypatch, home)
    failed = CliRunner().invoke(app, ["publish", home.id])
    assert failed.exit_code == 1
    *_, first, second, last = failed.stderr.splitlines()
    assert first.startswith("Missing: The encoder of A is not registered: ")
    assert second.startswith("Missing: The encoder of B is not registered: ")
    assert last == f"The answer stands. tuner publish {home.id}  tries again."


def test_what_cannot_be_published_is_refused_in_a_sentence(home, tmp_path):
    def refused(study=home.id, **options):
        with pytest.raises(SpecError) as caught:
            publish_study(study, home.settings, **options)
        return str(caught.value)

    assert "there is no such study in the store" in refused("0123456789abcdef")
    other = tmp_path / "other.npz"
    arrays = dict(np.load(home.data))
    np.savez(other, **arrays | {"a": arrays["a"] + 1})
    assert f"the data in {other} are no longer what it was about" in refused(source=str(other))
    home.store.update(home.id, options={})
    assert "say it with --data DATA" in refused()
    home.store.update(home.id, result=None)
    assert "it has no answer yet in the store" in refused()
