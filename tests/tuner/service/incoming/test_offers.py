"""Training code that whoever runs the service lets its users run, by name."""

import sys
from functools import partial

import pytest

from tests.tuner.service.conftest import Service, refused
from tuner.errors import SpecError, SubmissionError
from tuner.service.incoming.offers import OFFERED, offered, offers
from tuner.service.processes.driver import _answering
from tuner.settings import Settings

TRAIN = """
import os, sys
import numpy as np
import tuner

assert "TUNER_SECRET_KEY" not in os.environ
trial = tuner.current_trial()
for stream in (0, 1)[: 1 + trial.confirming]:
    rng = np.random.default_rng([trial.seed, stream])
    report = tuner.report_test if stream else tuner.report
    report(acc=rng.random(400) < 0.6 + 0.1 * trial.strength * (2 - trial.strength))
"""
OFFER = """
[clip]
run = "{python} train.py"
folder = "{folder}"
users = ["ada"]
about = "Our CLIP on our pictures"
cpus = 2

[open]
run = ["python", "train.py", "--more"]
folder = "{folder}"
users = ["*"]
studies = 2
"""


def offering_code(place, text=OFFER, users="ada"):
    """Write what is offered, and code; returns the file that says so."""
    folder, path = place / "code", place / "offers.toml"
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(TRAIN)
    text = text.replace("{folder}", str(folder)).replace("{python}", sys.executable)
    path.write_text(text.replace("ada", users))
    return path


@pytest.fixture
def file(tmp_path):
    """Writes what is offered, and code."""
    return partial(offering_code, tmp_path)


@pytest.fixture
def settings(tmp_path, file):
    return Settings(home=tmp_path / "home", scripts=file())


@pytest.fixture
def offering(settings):
    service = Service(settings)
    yield service
    service.stop()


def test_by_default_nothing_is_offered(tmp_path):
    assert offers(Settings(home=tmp_path)) == {}
    with pytest.raises(SubmissionError, match="for you: there is none"):
        offered(Settings(home=tmp_path), "clip", "ada")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[clip", "offers.toml cannot be read: "),
        ("[clip]\nrun = 'python x.py'\nusers = []", r"\[clip\] folder: Field required"),
        (
            "[clip]\nrun = 'python x.py'\nusers = ['ada']\nfolder = 'code'",
            r"\[clip\] folder: code is no folder; write where it lies, from / on",
        ),
        (OFFER + "users = 3", "cannot be read: "),
        (OFFER.replace("cpus", "cores"), r"\[clip\] cores: Extra inputs are not permitted"),
        (OFFER.replace("[open]", "['a b']"), r"\[a b\]: a name has letters, digits, - and _"),
        (OFFER.replace("cpus = 2", "cpus = 0"), r"\[clip\] cpus: Input should be greater than or"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(tmp_path, file, text, words):
    with pytest.raises(SpecError, match=words):
        offers(Settings(home=tmp_path, scripts=file(text)))


def test_code_without_strength_is_refused_as_the_service_starts(tmp_path, file, monkeypatch):
    from typer.testing import CliRunner

    from tuner.cli.main import app

    path = file(OFFER.replace('"{python} train.py"', '"true"'))
    monkeypatch.setenv("TUNER_SCRIPTS", str(path))
    monkeypatch.setenv("TUNER_HOME", str(tmp_path / "home"))
    told = CliRunner().invoke(app, ["serve", "--port", "0"])
    assert told.exit_code == 2
    assert "the command is not told λ: write {strength}" in told.stderr


@pytest.mark.integration
def test_users_see_and_submit_what_they_may(offering):
    with (
        offering.client("ada", patience=0) as ada,
        offering.client("grace", patience=0) as grace,
    ):
        assert [each["name"] for each in ada.scripts()] == ["clip", "open"]
        (theirs,) = grace.scripts()
        assert theirs["name"] == "open"
        assert "train.py" not in str(ada.scripts())  # nor where it lies
        assert "there is open" in refused(lambda: grace.submit_script("clip"), 422)
        study = ada.submit_script("clip", trials=4)
        shown = ada.status(study["id"])
        assert shown["spec"]["script"]["command"] == ["clip"]
        assert shown["spec"]["cpus"] == 2
        assert str(offering.settings.scripts.parent) not in str(shown)
        assert "may take 2 at most" in refused(lambda: ada.submit_script("clip", cpus=3), 422)
        told = refused(lambda: ada.submit_script("clip", ranks=3), 422)
        assert "cpus: a training of 'clip' may take 2 at most, all 3 ranks together" in told
        assert "trails" in refused(lambda: ada.submit_script("clip", trails=3), 422)
        again = ada.submit_script("clip", trials=4)  # the same question is no other study
        assert again["study"] == study["study"]
        words = refused(lambda: ada.submit_script("clip", trials=5), 429)
        assert "you have 1 unfinished study of this code" in words
        ada.submit_script("open", trials=5)
        ada.submit_script("open", trials=6)
        words = refused(lambda: ada.submit_script("open", trials=7), 429)
        assert "2 unfinished studies" in words
        assert "nothing to ask for" in refused(lambda: ada.ask(study["id"], "w"), 409)
        assert "it has no data" in refused(lambda: ada.inspect(f"study:{study['id']}"), 422)


@pytest.mark.integration
def test_code_that_was_changed_or_is_offered_no_more_is_not_run(offering, file):
    with offering.client("ada") as ada:
        study = ada.submit_script("clip")["study"]
    row = offering.store.get(study)
    assert row.source == OFFERED + "clip"
    assert _answering(row, offering.settings, offering.store).keywords["script"].command == (
        sys.executable,
        "train.py",
    )
    code = offering.settings.scripts.parent / "code" / "train.py"
    code.write_text(TRAIN + "# another")
    with pytest.raises(ValueError, match="the code was changed since"):
        _answering(row, offering.settings, offering.store)
    file(OFFER.replace("[clip]", "[other]"))
    with pytest.raises(SubmissionError, match="'clip' is no code"):
        _answering(row, offering.settings, offering.store)
