"""The REST API over real sockets: keys, headers, errors, operations, and its document."""

import json
import re

import httpx2
import pytest
from sqlalchemy import text

from tests.tuner.service.conftest import Service, refused, uploads
from tuner.client import Client
from tuner.settings import Settings

pytestmark = pytest.mark.integration


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


def test_the_page_keeps_its_key_where_no_script_reads_it(service):
    with httpx2.Client(base_url=f"{service.url}/api/v1", timeout=60) as browser:
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
            assert answer.headers["cache-control"] == "no-cache"
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
        "GET /api/v1/scripts",
        "POST /api/v1/studies/scripts",
        "POST /api/v1/studies/elsewhere",
        "POST /api/v1/studies/{id}/ask",
        "POST /api/v1/studies/{id}/tell",
        "POST /api/v1/studies/{id}/tell/file",
        "POST /api/v1/studies/{id}/heartbeat",
        "POST /api/v1/studies/{id}/release",
        "POST /api/v1/studies/{id}/cancel",
        "POST /api/v1/studies/{id}/extend",
        "PATCH /api/v1/studies/{id}",
        "DELETE /api/v1/studies/{id}",
        "GET /api/v1/studies/{id}/curve.csv",
        "GET /api/v1/studies/{id}/shares",
        "PUT /api/v1/studies/{id}/shares/{user}",
        "DELETE /api/v1/studies/{id}/shares/{user}",
        "GET /api/v1/studies/{id}/links",
        "POST /api/v1/studies/{id}/links",
        "DELETE /api/v1/studies/{id}/links/{link}",
        "GET /api/v1/shared/{token}",
        "GET /api/v1/shared/{token}/result",
        "GET /api/v1/shared/{token}/report",
        "GET /api/v1/shared/{token}/curve.csv",
        "GET /api/v1/shared/{token}/events",
        "POST /api/v1/inspections",
        "POST /api/v1/plans",
        "POST /api/v1/predictions",
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
