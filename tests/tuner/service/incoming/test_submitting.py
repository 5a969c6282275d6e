"""What is submitted: what is accepted, and what is refused and leaves nothing behind."""

import resource
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors import numpy as safetensors

from tests.data.conftest import make_arrays
from tests.data.formats.test_npz import LIES, npy, write
from tests.data.validation.test_rows import BAD
from tests.tuner.service.conftest import QUICK, Service, arrays, refused, uploads
from tuner.analysis.curves.modelled import modelled_curve
from tuner.data import read
from tuner.errors import ServiceError
from tuner.prediction.sketch import sketch
from tuner.settings import Settings
from tuner.study.answer import Needs

pytestmark = pytest.mark.integration


def test_a_data_set_is_accepted_and_listed(service, data):
    with service.client() as client:
        study = client.submit(data("my data.npz"), **QUICK, workers=1, time_budget=60)
        assert study["status"] == "queued"
        assert study["name"] == "my-data"
        assert study["options"] == {"workers": 1, "time_budget": 60}
        assert study["spec"]["trials"] == 4
        assert study["spec"]["training"]["epochs"] == 3
        assert client.status(study["id"]) == study
        assert [each["id"] for each in client.list()] == [study["id"]]
    assert uploads(service) == [f"{study['fingerprint']}.npz"]
    row = service.store.get(study["study"])
    assert row.source == str(service.settings.uploads / f"{study['fingerprint']}.npz")


def test_the_same_content_is_kept_once(service, data):
    with service.client() as client:
        first = client.submit(data("one.npz"), trials=4)
        second = client.submit(data("two.npz"), trials=5)
    assert first["fingerprint"] == second["fingerprint"]
    assert len(uploads(service)) == 1


def test_a_file_that_is_kept_is_never_another(service, data, tmp_path):
    """Files of the same values: under other names, in another format, with an array more."""
    values = arrays()
    np.savez(tmp_path / "renamed.npz", p=values["a"], q=values["b"], label=values["y"])
    np.savez(tmp_path / "more.npz", **values, z=np.arange(150))
    names = {"a": "p", "b": "q", "y": "label"}
    with service.client("ada") as ada, service.client("grace") as grace:
        mine = ada.submit(data("mine.npz"), **QUICK)
        source = Path(service.store.get(mine["study"]).source)
        before = source.read_bytes()
        theirs = [
            grace.submit(tmp_path / "renamed.npz", **QUICK, **names),
            grace.submit(tmp_path / "more.npz", **QUICK, seed=1),
            grace.submit(data("mine-again.npz"), **QUICK, seed=2),
        ]
        assert {each["fingerprint"] for each in theirs} == {mine["fingerprint"]}
        assert source.read_bytes() == before
        kept = [Path(service.store.get(each["study"]).source) for each in theirs]
        with np.load(kept[0]) as file:
            assert set(file) == {"p", "q", "label"}
        assert len({source, *kept}) == len(uploads(service)) == 3
        for client, study in ((ada, mine), *((grace, each) for each in theirs)):
            client.delete(study["id"])
    assert uploads(service) == []


def test_a_budget_is_a_part_of_the_question(service):
    """Whoever asks for less gets an answer of their own; workers change no answer."""
    with service.client("ada") as ada, service.client("grace") as grace:
        whole = ada.submit("mfeat", workers=1)
        bounded = [
            grace.submit("mfeat", step_budget=10),
            grace.submit("mfeat", step_budget=11),
            grace.submit("mfeat", time_budget=10),
            grace.submit("mfeat", time_budget=10, step_budget=10),
        ]
        assert len({whole["study"], *(each["study"] for each in bounded)}) == 5
        assert grace.submit("mfeat", workers=2)["study"] == whole["study"]
        assert ada.submit("mfeat", time_budget=10.0)["study"] == bounded[2]["study"]


def test_a_shipped_example_needs_no_file(service):
    with service.client() as client:
        assert client.submit("mfeat")["name"] == "mfeat"


def test_files_of_every_format_that_is_one_file(service, tmp_path):
    columns = arrays()
    frame = pd.DataFrame({f"a_{n}": column for n, column in enumerate(columns["a"].T)})
    frame = frame.assign(b_0=columns["b"][:, 0], y=columns["y"])
    frame.to_csv(tmp_path / "table.csv", index=False)
    safetensors.save_file(columns, tmp_path / "tensors.safetensors")
    with service.client() as client:
        assert client.submit(tmp_path / "table.csv", a="a_*", b="b_*")["name"] == "table"
        assert client.submit(tmp_path / "tensors.safetensors")["name"] == "tensors"
    assert {path.suffix for path in service.settings.uploads.iterdir()} == {".csv", ".safetensors"}


def test_a_service_follows_no_path_of_an_image(service, tmp_path):
    for row in range(40):
        Image.new("L", (4, 4), row).save(service.settings.uploads / f"{row}.png")
    frame = pd.DataFrame({"a": [f"{row}.png" for row in range(40)], "b_0": range(40)})
    frame.assign(y=frame["b_0"] % 2).to_csv(tmp_path / "paths.csv", index=False)
    with service.client() as client:
        told = refused(lambda: client.submit(tmp_path / "paths.csv", b="b_*"), 422)
        seen = client.inspect(tmp_path / "paths.csv", b="b_*")
    for text in (told, *seen["errors"]):
        assert "holds paths of files, which are read only beside data on your own machine" in text
    assert not seen["valid"]


@pytest.mark.parametrize("where", ["", "/*.npz", "/study.npy"])
def test_a_service_takes_one_file(tmp_path, data, where):
    folder = tmp_path / "allowed"
    folder.mkdir()
    data("allowed/study.npz")
    np.save(folder / "study.npy", np.zeros(3))
    settings = Settings(home=tmp_path / "home", allowed_sources=f"file://{tmp_path}")
    service = Service(settings)
    try:
        with service.client() as client:
            told = refused(lambda: client.submit(f"file://{folder}{where}"), 422)
        assert "a service takes one" in told or "has the suffix" in told
    finally:
        service.stop()


def test_a_prior_that_says_nothing_of_a_study_is_refused(service, data):
    with service.client() as client:
        path = data()
        told = refused(lambda: client.submit(path, prior="shipped", epochs=2), 422)
        assert "past studies say nothing of a study like this" in told
        assert '"epochs": 2, where past studies have 100' in told
        refused(lambda: client.submit(path, prior="/etc/passwd"), 422)
        told = client.submit(path, prior="none", trials=5)
        assert told["study"] == client.submit(path, trials=5)["study"]


def test_a_request_that_is_sent_twice_counts_once(service, data):
    with service.client() as client:
        path = data()
        first, second = (client.submit(path, idempotency_key="k", trials=4) for _ in range(2))
        assert first == second
        told = refused(lambda: client.submit(path, idempotency_key="k", trials=5), 409)
        assert "this Idempotency-Key was used for another request" in told


def test_an_earlier_answer_warms_a_search(service, data):
    with service.client() as client:
        path = data()
        first = client.submit(path, trials=4)
        told = refused(lambda: client.submit(path, trials=9, warm_start=first["id"]), 422)
        assert f"you have no study '{first['id']}' with an answer" in told
        answer = {"joint": {"lambda": 0.5, "verdict": "align", "interval": [0.3, 0.9]}}
        service.store.update(first["study"], status="done", result=answer)
        warm = client.submit(path, trials=9, warm_start=first["id"])
        wanted = {"study": first["study"], "interval": [0.3, 0.9]}
        assert warm["spec"]["warm_start"] == wanted
        other = data("other.npz", seed=5)
        told = refused(lambda: client.submit(other, trials=9, warm_start=first["id"]), 422)
        assert '"warm_start"' in told
        assert "was a study of other data (small), and its gains are of no known metric" in told
    with service.client("grace") as grace:
        refused(lambda: grace.submit(path, trials=9, warm_start=first["id"]), 422)


def test_of_other_data_an_earlier_answer_is_a_part_of_what_is_expected(
    service, data, classification
):
    study = classification.study
    curve = modelled_curve(study, classification.finished)
    result = classification.result.model_copy(update={"curve_model": curve})
    with service.client() as client:
        first = client.submit(data(), trials=4)
        answered(service, first, result)
        other = data("other.npz", seed=5)
        warm = client.submit(other, trials=9, warm_start=first["id"])
        assert warm["spec"]["warm_start"] is None
        assert warm["spec"]["prior"]["earlier"] == {
            "study": first["study"],
            "name": "small",
            "weight": 0.1,
        }
        assert warm["warm_start"] == first["study"]
        assert warm["study"] != client.submit(other, trials=9)["study"]
        sent = {"trials": 9, "warm_start": first["id"]}
        assert client.submit(other, **sent)["study"] == warm["study"]
        sketched = sketch(read(other))
        row = service.store.get(first["study"])
        service.store.open(row.id, name="n", fingerprint="f", spec={}, sketch=sketched)
        assert "it has rows of these" in refused(lambda: client.submit(other, **sent), 422)
        client.delete(first["id"])
        assert "you have no study" in refused(lambda: client.submit(other, **sent), 422)
        assert client.status(warm["id"])["study"] == warm["study"]


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"trials": 1}, "trials: Input should be greater than or equal to 3"),
        ({"trails": 9}, "trails: Extra inputs are not permitted"),
        ({"encoder_a": "os:system"}, "encoder_a: a service runs built-in encoders only"),
        ({"encoder_b": "hf:/etc"}, "encoder_b: a service runs built-in encoders only"),
        ({"encoder_a": "cnn"}, "the cnn encoder takes images"),
        ({"metric": "r2"}, "metric r2 is for regression"),
        ({"a": "missing"}, "array 'missing' is missing; there are"),
        ({"gpus": 64}, "waits for 64 GPUs; this machine has"),
        ({"gpus": 0.5, "ranks": 2}, "cannot share a GPU"),
        ({"cpus": 4096}, "waits for 4096 CPUs; this machine has"),
        ({"ranks": 4096}, "waits for 4096 CPUs; this machine has"),
        ({"time_budget": -1}, "time_budget: Input should be greater than 0"),
        ({"max_lambda": float("nan")}, "max_lambda: Input should be"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_in_words(service, data, options, finding):
    with service.client() as client:
        assert finding in refused(lambda: client.submit(data(), **options), 422)
    assert uploads(service) == []


def test_all_that_is_wrong_with_a_data_set_is_told_at_once(service, data):
    bad = arrays() | {"a": np.full((150, 4), np.nan), "b": np.ones((150, 3))}
    with service.client() as client, pytest.raises(ServiceError) as caught:
        client.submit(data(**bad))
    assert len(caught.value.findings) >= 2
    assert any("'a' holds 600 NaN" in finding for finding in caught.value.findings)
    assert any("'b' is constant" in finding for finding in caught.value.findings)
    assert uploads(service) == []


def test_what_is_no_upload_is_refused(service, data):
    with service.http() as http, data().open("rb") as file:
        nothing = http.post("/studies", data={"spec": "{}"})
        both = http.post("/studies", data={"data": "mfeat"}, files={"file": file})
        other = http.post("/studies", files={"file": ("x.pkl", b"\x80\x04.")})
        no_json = http.post("/studies", data={"data": "mfeat", "spec": "trials=3"})
        no_object = http.post("/studies", data={"data": "mfeat", "spec": "[]"})
        no_form = http.post(
            "/studies", content=b"x", headers={"Content-Type": "multipart/form-data"}
        )
        for source in (
            "/etc/passwd",
            "file:///etc/passwd",
            "s3://bucket/x.npz",
            "http://127.0.0.1/",
        ):
            answer = http.post("/studies", data={"data": source})
            assert answer.status_code == 422, source
            assert "this service reads the examples mfeat" in answer.json()["detail"]
    assert "either a file or data" in nothing.json()["detail"]
    assert both.status_code == 422
    assert "has to end in .npz, .safetensors, .parquet, .csv, .tsv" in other.json()["detail"]
    assert "is no JSON" in no_json.json()["detail"]
    assert "has to be a JSON object" in no_object.json()["detail"]
    assert no_form.status_code == 400
    assert uploads(service) == []


def test_too_much_is_refused_before_and_while_it_comes(service):
    limit = service.settings.max_upload + 2**20

    def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.npz"\r\n\r\n'
        for _ in range(limit // 2**16 + 64):
            yield b"\0" * 2**16

    with service.http() as http:
        declared = http.post("/studies", files={"file": ("x.npz", b"\0" * (limit + 1))})
        assert declared.status_code == 413
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        streamed = http.post("/studies", content=endless(), headers=kind)
        assert streamed.status_code == 413
        assert "may have 1,048,576 bytes" in streamed.json()["detail"]
    assert uploads(service) == []


def test_unfinished_studies_are_bounded(service, data):
    with service.client() as client:
        for seed in range(5):
            client.submit("mfeat", seed=seed)
    with service.http() as http:
        answer = http.post("/studies", files={"file": ("x.npz", data().read_bytes())})
    assert answer.status_code == 429
    assert uploads(service) == []
    assert "you have 5 unfinished studies" in answer.json()["detail"]


def corpus(folder):
    """More than a hundred files that are damaged, hostile or wrong, by name."""
    good = arrays()
    whole = folder / "whole.npz"
    np.savez_compressed(whole, **good)
    content = whole.read_bytes()
    for n in range(30):
        yield f"cut-{n}.npz", content[: len(content) * n // 30]
    rng = np.random.default_rng(0)
    for n in range(10):
        yield f"noise-{n}.npz", rng.bytes(2000 * n)
        yield f"noise-{n}.parquet", b"PAR1" + rng.bytes(2000 * n) + b"PAR1"
    path = folder / "made.npz"
    for name, (make, _) in LIES.items():
        write(path, good, a=make())
        yield f"{name}.npz", path.read_bytes()
    for name, (change, _) in BAD.items():
        changed = change(make_arrays())
        if any(isinstance(values, np.ma.MaskedArray) for values in changed.values()):
            continue  # a file does not hold the mask
        try:
            np.savez(path, allow_pickle=True, **changed)
        except ValueError:  # nothing that a file could hold
            continue
        yield f"{name}.npz", path.read_bytes()
    for member in ("../evil.npy", "/evil.npy", "a/../../evil.npy"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, values in good.items():
                archive.writestr(f"{name}.npy", npy(values))
            archive.writestr(member, npy(np.zeros(3)))
        yield f"member {member.replace('/', '_')}.npz", path.read_bytes()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy(np.zeros((4_000_000, 20), np.float32)))
    yield "bomb.npz", path.read_bytes()


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.soak)])
def test_a_hundred_hostile_uploads_are_refused_and_leave_nothing(service, tmp_path, every):
    files = dict(list(corpus(tmp_path))[::-every])  # from the bomb on
    assert len(files) >= 100 / every
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with service.http() as http:

        def send(item):
            name, content = item
            return name, http.post("/studies", files={"file": (name, content)})

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(send, files.items()))
    accepted = [name for name, answer in answers if answer.status_code != 422]
    assert not accepted, accepted
    for name, answer in answers:
        told = answer.json()
        assert told["findings"] or told["detail"], name
        assert str(service.settings.folder) not in answer.text, name
        assert "Traceback" not in answer.text, name
    assert uploads(service) == []
    assert not list(service.settings.folder.rglob("*evil*"))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024  # KiB
    with service.client() as client:
        assert list(client.list()) == []


def answered(service, study, result, **joint):
    """Give a submitted study an answer, with the joint one changed."""
    told = result.model_copy(
        update={"study": study["study"], "joint": result.joint.model_copy(update=joint)}
    )
    service.store.update(study["study"], result=told.model_dump(mode="json"), status="done")


def test_seeds_are_added_by_a_study_of_the_same_data_and_options(service, data, classification):
    needed = {"goal": "show", "size": 0.02, "has": (2, 90), "rows": None, "both": None, "search": 1}
    undecided = {"verdict": "undecided", "needs": Needs(seeds=5, **needed), "reason": "needs more"}
    with service.client() as ada:
        earlier = ada.submit(data(), seed=3, **QUICK)
        answered(service, earlier, classification.result, **undecided)
        study = ada.submit(data(), workers=3, warm_start=earlier["id"], **QUICK)
        assert "no answer to add seeds to" in refused(lambda: ada.extend(study["id"], 9), 409)
        answered(service, study, classification.result, **undecided)
        named, enough = ada.extend(study["id"], 9), ada.extend(study["id"])
        assert named["spec"] == study["spec"] | {"looks": [9]}
        assert enough["spec"] == study["spec"] | {"looks": [5]}
        assert (named["options"], named["fingerprint"]) == (study["options"], study["fingerprint"])
        assert named["status"] == "queued"
        assert len({each["study"] for each in (study, named, enough)}) == 3
        assert "has 2 confirming seeds already" in refused(lambda: ada.extend(study["id"], 2), 422)
    with service.client("grace") as grace:
        refused(lambda: grace.extend(study["id"], 9), 404)


def test_the_data_of_an_earlier_study_are_asked_about_again(service, data):
    with service.client() as ada, service.client("grace") as grace:
        study = ada.submit(data(), **QUICK)
        again = f"study:{study['id']}"
        assert ada.inspect(again)["source"] == "small.npz"
        other = ada.submit(again, **QUICK | {"trials": 5})
        for part in ("fingerprint", "name", "source"):
            assert other[part] == study[part]
        assert other["study"] != study["study"]
        assert len(uploads(service)) == 1
        assert "you have no study" in refused(lambda: grace.inspect(again), 422)
        ada.share(study["id"], "grace")
        assert "is ada's: send its data" in refused(lambda: grace.submit(again, **QUICK), 422)
        ada.delete(study["id"])
        ada.delete(other["id"])
        assert uploads(service) == []
