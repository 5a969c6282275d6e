"""What version 0.1.0 stored is read, shown and gone on from; what it asked has the same answer.

`version_0_1_0/studies.db.gz` is the store of
`tuner synthesize world.npz --rows 600 --redundant 8 --labelled 200 --seed 3` and
`tuner run world.npz --trials 4 --replicates 2 --confirm-replicates 3 --epochs 30
--learning-rate .01 --hidden 8 --embedding 6 --seed 5`, `result.json` what the latter printed.
"""

import copy
import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.exports import PROCESSES
from tests.support.in_process import answer_in_process
from tuner.analysis.conclusion import conclude
from tuner.cli.main import app
from tuner.data.synthetic import WorldConfig, make_world
from tuner.reporting.wording import headline
from tuner.search.plan import Plan
from tuner.service.app import create_app
from tuner.settings import Settings
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore
from tuner.storage.weights import WeightFiles
from tuner.study.answer import verdict_of_today
from tuner.study.result import StudyResult
from tuner.study.spec import StudySpec, WarmStart, spec_from_options
from tuner.study.study import Study, read_dataset
from tuner.tracking.registry import register_encoders
from tuner.tracking.tracker import StudyTracker

OF_THEN = Path(__file__).parent / "version_0_1_0"
DEFAULTS = {"trials": 6, "confirm_replicates": 12}  # that have changed since
OPTIONS = {
    "trials": 4,
    "replicates": 2,
    "confirm_replicates": 3,
    "epochs": 30,
    "learning_rate": 0.01,
    "hidden": 8,
    "embedding": 6,
    "seed": 5,
}
RESULT = json.loads(
    (OF_THEN / "result.json").read_text().replace("no detectable effect", "undecided")
)
# Words, and what is new.
SINCE = ("evidence", "reason", "smallest_gain", "harm_from", "needs", "needs_epochs")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "studies.db").write_bytes(gzip.decompress((OF_THEN / "studies.db.gz").read_bytes()))
    return tmp_path


@pytest.fixture
def store(home):
    with Database(Settings(home=home).store_url) as database:
        yield StudyStore(database)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path = tmp_path_factory.mktemp("world") / "world.npz"
    make_world(WorldConfig(rows=600, redundant=8, labelled=200), seed=3, name="world").save(path)
    return str(path)


@pytest.fixture(scope="module")
def study(world):
    spec = spec_from_options(OPTIONS)
    return Study.of(spec, read_dataset(spec, world))


def test_the_result_is_shown_as_it_was(store):
    row = store.get(RESULT["study"])
    assert (row.name, row.status) == ("world", "done")
    shown = StudyResult.model_validate(row.result)
    assert json.loads(shown.model_dump_json()) == RESULT
    assert headline(shown).startswith(
        "Undecided, keep λ = 0: at λ = 0.303 mean accuracy of A and B"
    )


def test_a_verdict_of_then_has_the_name_of_today(store):
    then = json.loads((OF_THEN / "result.json").read_text())
    assert then["joint"]["verdict"] == "no detectable effect"
    shown = StudyResult.model_validate(then)
    assert {answer.verdict for answer in shown.answers.values()} == {"undecided"}
    assert shown.headline is None
    assert verdict_of_today("no detectable effect") == "undecided"
    assert verdict_of_today("align") == "align"


def test_the_same_spec_on_the_same_data_is_the_same_study(study):
    assert study.id == RESULT["study"]
    assert study.dataset.fingerprint == RESULT["dataset"]["fingerprint"]


@pytest.mark.parametrize(
    ("options", "code", "study_id"),
    [
        ({}, (), "b6a0c7fb2b82ab3e"),
        ({"trials": 12, "seed": 7}, (), "f3d1b4613a3abc39"),
        ({"encoder_a": "cnn", "hidden": 64, "nuisance": "joint"}, ("d",), "7070657c39294535"),
        (
            {
                "warm_start": {"study": "abc", "interval": [0.1, 2]},
                "gpus": 0.5,
                "ranks": 2,
                "name": "x",
            },
            (),
            "36087a130f607585",
        ),
    ],
)
def test_specs_keep_their_ids(options, code, study_id):
    assert spec_from_options(DEFAULTS | options).study_id("0123456789abcdef", *code) == study_id


def test_the_stored_trials_lead_to_the_stored_answer(store, study):
    finished = store.trials(study.id)
    plan = Plan.of(study)
    assert plan.next(finished) == []
    result = conclude(
        study,
        plan.choices(finished),
        finished,
        settings=plan.settings(finished),
        baseline_settings=plan.baseline_settings(finished),
        wall_seconds=RESULT["cost"]["wall_seconds"],
    )
    again, then = json.loads(result.model_dump_json()), copy.deepcopy(RESULT)
    for side in "ab":
        again["modalities"][side]["model"] = RESULT["modalities"][side]["model"]
    for ours, theirs in zip(_answers(again), _answers(then), strict=True):
        _check_answer(ours, theirs)
    assert again.pop("headline") == headline(result)
    assert again.pop("warnings")[0].startswith("Still learning after 30 epochs, by the validation")
    for since in ("b_from_a", "a_from_b", "objective"):
        again["information"].pop(since)
    assert _rounded(again) == _rounded(then | {"mlflow": None})


def _rounded(value):
    """Without the last digits, in which processors differ."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.10g}") if isinstance(value, float) else value


def _answers(told):
    return [told["joint"], told["modalities"]["a"], told["modalities"]["b"]]


def _check_answer(ours, theirs):
    """Take out what is told otherwise since.

    What rows and seeds share was counted twice, and the interval of λ* had 2.5 % beyond each end.
    """
    for answer in (ours, theirs):
        for name in SINCE:
            answer.pop(name, None)
    (low, high), (before_low, before_high) = (
        answer.get("test", answer).pop("gain_interval") for answer in (ours, theirs)
    )
    assert before_low <= low < high <= before_high
    (low, high), (before_low, before_high) = (each.pop("interval") for each in (ours, theirs))
    assert before_low <= low < high <= before_high


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore::UserWarning:mlflow.*")
def test_the_stored_encoders_can_be_registered(store, study, home, tracking_uri):
    """Their weights are in the trials themselves."""
    tracker = StudyTracker(
        study,
        store,
        tracking_uri=tracking_uri,
        artifact_location=(home / "artifacts").as_uri(),
    )
    models = register_encoders(
        study,
        StudyResult.model_validate(RESULT),
        store.trials(study.id),
        WeightFiles(Settings(home=home).weights),
        PROCESSES,
        tracking_uri=tracking_uri,
        run_id=tracker.sync().run_id,
    )
    assert {side: model.version for side, model in models.items()} == {"a": "1", "b": "1"}


@pytest.mark.integration
def test_trained_anew_it_has_the_same_answer(store, study):
    """To a row or two: other processors round differently."""
    result = answer_in_process(study.spec, study.dataset)
    stored = StudyResult.model_validate(store.get(study.id).result)
    assert result.joint.verdict == stored.joint.verdict
    assert [p.strength for p in result.curve] == [p.strength for p in stored.curve]
    for ours, theirs in zip(result.curve, stored.curve, strict=True):
        assert ours.joint.mean == pytest.approx(theirs.joint.mean, abs=0.02)


def test_the_same_command_answers_from_the_store(home, world, monkeypatch):
    monkeypatch.setenv("TUNER_HOME", str(home))
    words = [w for n, v in OPTIONS.items() for w in (f"--{n.replace('_', '-')}", str(v))]
    told = CliRunner().invoke(app, ["run", world, *words, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == RESULT


@pytest.mark.integration
def test_another_spec_begins_where_it_saw_the_best(store, study):
    answer = StudyResult.model_validate(store.get(study.id).result)
    warm = WarmStart(study=study.id, interval=answer.joint.interval)
    spec = StudySpec(**study.spec.model_dump() | {"warm_start": warm, "seed": 6})
    result = answer_in_process(spec, study.dataset)
    assert result.warm_start == study.id


def test_rest_is_described_as_it_was(tmp_path):
    """What clients were written for: paths and fields may come, names of schemas and prose go."""
    document = create_app(Settings(home=tmp_path), run_studies=False).openapi()
    stored = json.loads((OF_THEN / "openapi.json").read_text())
    # Its status could be `unavailable`, in the description alone: that was never sent.
    stored["components"]["schemas"]["Health"] = document["components"]["schemas"]["Health"]
    # What was `no detectable effect` is `undecided` since.
    stored = json.loads(json.dumps(stored).replace("no detectable effect", "undecided"))
    options = stored["components"]["schemas"]["SubmitOptions"]["properties"]
    options["trials"]["default"], options["confirm_replicates"]["default"] = 8, 16  # 6, 12 then
    # One state was asked for; several may be since, one as before among them.
    asked = {each["name"]: each["schema"] for each in _list_of(stored)}
    one, nothing = asked["status"]["anyOf"]
    asked["status"]["anyOf"] = [{"type": "array", "items": one}, nothing]
    asked["cursor"]["anyOf"][0]["maxLength"] = 1024  # 64 then: cursors of other orders are longer
    # Studies of training code have a result of their own since; that of a data set stays.
    answered = document["paths"]["/api/v1/studies/{id}/result"]["get"]["responses"]["200"]
    content = answered["content"]["application/json"]
    assert _schema("StudyResult") in content["schema"]["anyOf"]
    content["schema"] = _schema("StudyResult")
    assert document["paths"].keys() >= stored["paths"].keys()
    for path, operations in stored["paths"].items():
        assert _holds(_wire(document["paths"][path], document), _wire(operations, stored)), path
    for name in ("SubmitOptions", "Problem"):
        assert _holds(_wire(_schema(name), document), _wire(_schema(name), stored)), name


def _holds(now, before):
    """Whether all that was there before is there now, as it was."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(key in now and _holds(now[key], value) for key, value in before.items())
    if isinstance(before, list) and isinstance(now, list) and len(now) == len(before):
        return all(map(_holds, now, before))
    return now == before


def _list_of(document):
    return document["paths"]["/api/v1/studies"]["get"]["parameters"]


def _schema(name):
    return {"$ref": f"#/components/schemas/{name}"}


def _by_name(parameters):
    """Parameters by where and how they are sent: their order says nothing."""
    return {f"{each['in']} {each['name']}": each for each in parameters}


def _wire(part, document):
    """What of a description is on the wire: schemas in place of their names, and no prose."""
    if isinstance(part, list):
        return [_wire(each, document) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return _wire(document["components"]["schemas"][name], document)
    prose = ("title", "description", "summary", "operationId", "example", "examples")
    return {
        key: _wire(_by_name(value) if key == "parameters" else value, document)
        for key, value in part.items()
        if key not in prose or isinstance(value, dict)
    }
