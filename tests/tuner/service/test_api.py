"""The REST API over real sockets: what it takes, what it refuses, and what it never tells."""

import json
import re
import resource
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors import numpy as safetensors
from sqlalchemy import text

from tests.data.conftest import make_arrays
from tests.data.formats.test_npz import LIES, npy, write
from tests.data.validation.test_rows import BAD
from tests.tuner.service.conftest import QUICK, Service, arrays
from tuner.client import Client
from tuner.errors import ServiceError
from tuner.settings import Settings

pytestmark = pytest.mark.integration


def refused(call, status):
    with pytest.raises(ServiceError) as caught:
        call()
    assert caught.value.status == status, caught.value
    return str(caught.value)


def uploads(service):
    return sorted(path.name for path in service.settings.uploads.iterdir())


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
    assert "holds paths of files, which are read only beside data on your own machine" in told


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
        assert "was a study of other data" in told
    with service.client("grace") as grace:
        refused(lambda: grace.submit(path, trials=9, warm_start=first["id"]), 422)


def test_users_are_apart(service, data):
    with service.client("ada") as ada, service.client("grace") as grace:
        mine = ada.submit(data(), trials=4)
        theirs = grace.submit(data(), trials=4)
        assert mine["study"] == theirs["study"]
        assert mine["id"] != theirs["id"]
        assert [each["id"] for each in grace.list()] == [theirs["id"]]
        for call in (grace.status, grace.result, grace.cancel, grace.delete):
            refused(lambda call=call: call(mine["id"]), 404)
        refused(lambda: list(grace.watch(mine["id"])), 404)
        assert ada.status(mine["id"])["status"] == "queued"


def test_a_study_can_be_shown_to_another(service, data):
    with service.client("ada") as ada, service.client("grace") as grace:
        mine = ada.submit(data(), trials=4)
        assert "there is no user 'alan'" in refused(lambda: ada.share(mine["id"], "alan"), 404)
        refused(lambda: grace.share(mine["id"], "grace"), 404)
        assert ada.share(mine["id"], "grace") == ("grace",)
        assert grace.status(mine["id"]) == mine
        assert [(each["id"], each["owner"]) for each in grace.list()] == [(mine["id"], "ada")]
        for call in (grace.cancel, grace.delete, lambda study: grace.share(study, "grace")):
            told = refused(lambda call=call: call(mine["id"]), 403)
            assert "this study is ada's: you may look at it, no more" in told
        assert ada.share(mine["id"], "grace", remove=True) == ()
        refused(lambda: grace.status(mine["id"]), 404)


def test_without_a_key_there_is_nothing(service, data):
    with Client(service.url, "tk_wrong") as stranger:
        for call in (lambda: stranger.submit(data()), lambda: list(stranger.list())):
            assert "a valid key is needed" in refused(call, 401)
    assert uploads(service) == []


def test_a_key_for_reading_may_not_write(service, data):
    reader = Client(service.url, service.key("ada", ("read",)))
    with reader, service.client("ada") as writer:
        study = writer.submit(data(), trials=4)
        assert [each["id"] for each in reader.list()] == [study["id"]]
        assert "no scope 'write'" in refused(lambda: reader.submit(data()), 403)
        refused(lambda: reader.cancel(study["id"]), 403)


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


def test_pages_lead_to_every_study(service):
    with service.client() as client:
        made = [client.submit("mfeat", seed=seed)["id"] for seed in range(5)]
        client.cancel(made[2])
        assert [each["id"] for each in client.list(limit=2)] == made[::-1]
        assert [each["id"] for each in client.list(status="cancelled")] == [made[2]]
        assert list(client.list(name="nothing")) == []
        refused(lambda: list(client.list(cursor="nonsense")), 422)


def test_events_are_taken_up_where_they_were_left(service):
    with service.client() as client:
        study = client.submit("mfeat")
        key = study["study"]
        service.store.set_status(key, "running")
        service.store.tell(key, "progress", {"done": 1})
        seen = []

        def follow():
            seen.extend(client.watch(study["id"]))

        watcher = threading.Thread(target=follow)
        watcher.start()
        time.sleep(1)
        service.store.tell(key, "progress", {"done": 2})
        service.store.set_status(key, "failed", "planted")
        watcher.join(10)
        assert [e.kind for e in seen] == ["status", "progress", "progress", "status", "end"]
        assert seen[-1].content == {"status": "failed"}
        later = list(client.watch(study["id"], after=seen[1].number))
        assert [e.content for e in later[:1]] == [{"done": 2}]
        assert "the study is failed: planted" in refused(lambda: client.result(study["id"]), 409)


def test_deleting_takes_the_data_along(service, data):
    with service.client() as client:
        study = client.submit(data(), trials=4)
        client.delete(study["id"])
        refused(lambda: client.status(study["id"]), 404)
    assert uploads(service) == []


def test_the_page_keeps_its_key_where_no_script_reads_it(service):
    with httpx2.Client(base_url=f"{service.url}/api/v1") as browser:
        assert browser.post("/session", json={"key": "tk_wrong"}).status_code == 401
        answer = browser.post("/session", json={"key": service.key("ada")})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert browser.get("/session").json()["user"] == "ada"
        assert browser.get("/studies").status_code == 200
        browser.delete("/session")
        assert browser.get("/studies").status_code == 401


def test_every_answer_has_its_headers_and_every_error_its_document(service):
    with service.http() as http:
        for answer in (
            http.get("/studies"),
            http.get("/studies/nothing"),
            http.get("/nothing"),
            http.post("/studies/nothing/result"),
            httpx2.get(f"{service.url}/"),
        ):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-frame-options"] == "DENY"
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert answer.headers["x-request-id"]
            if answer.is_error:
                assert answer.headers["content-type"] == "application/problem+json"
                told = answer.json()
                assert set(told) == {"type", "title", "status", "detail", "findings"}
                assert told["status"] == answer.status_code


def test_a_database_that_is_away_is_said_to_be(service):
    with service.http() as http:
        with service.database.session() as session:
            session.execute(text("ALTER TABLE tuner_keys RENAME TO hidden"))
        answer = http.get("/studies")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "tuner_keys" not in answer.text


def test_a_key_may_not_ask_too_often(tmp_path):
    from tests.tuner.service.conftest import Service
    from tuner.settings import Settings

    service = Service(Settings(home=tmp_path, rate_limit="5/minute"))
    try:
        with service.http("ada") as ada, service.http("grace") as grace:
            codes = [ada.get("/studies").status_code for _ in range(7)]
            assert codes == [200] * 5 + [429] * 2
            assert grace.get("/studies").status_code == 200
    finally:
        service.stop()


def test_operations_see_what_goes_on(service):
    with service.client() as client:
        client.submit("mfeat")
    for prefix in ("", "/api/v1"):
        assert httpx2.get(f"{service.url}{prefix}/health/live").json() == {"status": "ok"}
        assert httpx2.get(f"{service.url}{prefix}/health/ready").json() == {"status": "ok"}
        told = httpx2.get(f"{service.url}{prefix}/metrics").text
        assert 'tuner_studies{status="queued"} 1.0' in told
        assert "tuner_requests_total" in told
        assert "tuner_training_seconds 0.0" in told


def test_the_document_describes_every_route(service):
    document = httpx2.get(f"{service.url}/openapi.json").json()
    routes = {
        f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item
    }
    assert {
        "POST /api/v1/studies",
        "GET /api/v1/studies",
        "GET /api/v1/studies/{id}",
        "GET /api/v1/studies/{id}/events",
        "GET /api/v1/studies/{id}/result",
        "GET /api/v1/studies/{id}/report",
        "GET /api/v1/studies/{id}/encoders/{modality}",
        "POST /api/v1/studies/{id}/cancel",
        "DELETE /api/v1/studies/{id}",
        "GET /api/v1/studies/{id}/shares",
        "PUT /api/v1/studies/{id}/shares/{user}",
        "DELETE /api/v1/studies/{id}/shares/{user}",
        "GET /api/v1/webhook-secret",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
    } == routes
    schemas = document["components"]["schemas"]
    assert {"trials", "epochs", "workers"} <= set(schemas["SubmitOptions"]["properties"])
    assert "detail" in schemas["Problem"]["properties"]
    assert schemas["StudyView"]["example"]["status"] == "running"
    references = re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document))
    assert set(references) <= set(schemas)


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


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.soak)])
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


def test_a_study_that_was_silent_for_long_is_followed_through_a_lost_connection():
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            asked.append(self.headers["Last-Event-ID"])
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            kind, number = ("end", 0) if len(asked) > 2 else ("progress", len(asked))
            event = f"event: {kind}\nid: {number}\ndata: {{}}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(0.0 if kind == "end" else 1.5)
            self.close_connection = True  # in the middle of what it said it would send

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Client(f"http://127.0.0.1:{server.server_port}", "key", patience=1.0) as client:
            kinds = [event.kind for event in client.watch("s")]
        server.shutdown()
    assert kinds == ["progress", "progress", "end"]
    assert asked == ["0", "1", "2"]
