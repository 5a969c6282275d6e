"""All that the OpenAPI document allows, and much that it does not, against a real service."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tuner.service.conftest import Service
from tuner.settings import Settings

pytestmark = pytest.mark.system
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def test_no_request_breaks_the_service_or_its_document(tmp_path, postgres_url):
    service = Service(
        Settings(
            home=tmp_path / "home",
            database_url=postgres_url,
            rate_limit="100000/second",
            max_queued=1_000_000,
        )
    )
    try:
        with service.client("fuzz") as client:
            known = [client.submit("mfeat", seed=seed) for seed in range(4)]
        service.store.update(known[0]["study"], status="failed", error="planted")
        service.store.set_status(known[1]["study"], "cancelled")
        service.key("other")
        with service.client("fuzz") as client:
            tokens = [client.link(study["id"])["token"] for study in known[:2]]
        ids = [study["id"] for study in known[:2]]  # ended, so that following them ends, too
        (tmp_path / "schemathesis.toml").write_text(
            f'[parameters]\n"path.id" = {json.dumps(ids)}\n"path.user" = ["other", "nobody"]\n'
            f'"path.token" = {json.dumps([*tokens, "tl_x"])}\n"path.link" = ["{"0" * 12}"]\n',
            encoding="utf-8",
        )
        program = Path(sys.executable).with_name("schemathesis")
        told = subprocess.run(
            [
                *(program, "--config-file", tmp_path / "schemathesis.toml", "run"),
                f"{service.url}/openapi.json",
                *("--header", f"Authorization: Bearer {service.key('fuzz')}"),
                *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
                *("--max-examples", "15", "--seed", "1", "--request-timeout", "30"),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert told.returncode == 0, told.stdout[-6000:]
        assert "38 selected / 38 total" in told.stdout
    finally:
        service.stop()
