"""The image and the compose file, as far as can be told without a container engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def run(*command, **options):
    told = subprocess.run(command, capture_output=True, text=True, **options)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_the_image_lints_clean():
    run(TOOLS / "hadolint", DEPLOY / "Dockerfile")


def test_the_compose_file_is_one():
    schema = ("--builtin-schema", "vendor.compose-spec")
    run(TOOLS / "check-jsonschema", *schema, DEPLOY / "compose.yaml")


def test_what_the_image_copies_is_there():
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copied = [
        line.split()[1:-1] for line in lines if line.startswith("COPY") and "--from" not in line
    ]
    names = [name for part in copied for name in part]
    assert {"data", "models", "tuner", "constraints.txt"} <= set(names)
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in names:
        assert (ROOT / name).exists()
        assert name not in ignored


def test_nothing_runs_as_root_and_all_that_listens_is_looked_at(compose):
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert "\nUSER 10001\n" in dockerfile
    assert "HEALTHCHECK" in dockerfile
    for name, service in compose["services"].items():
        assert "healthcheck" in service or name == "tuner"  # which has the image's
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


def test_no_secret_is_in_a_file_that_git_sees(compose):
    for name, service in compose["services"].items():
        told = str(service.get("environment", {})).lower()
        assert "postgresql" not in told, name
        assert set(service.get("secrets", [])) <= compose["secrets"].keys(), name
        assert set(service.get("depends_on", [])) <= compose["services"].keys(), name
    for secret in compose["secrets"].values():
        path = (DEPLOY / secret["file"]).relative_to(ROOT)
        run("git", "check-ignore", "--quiet", str(path), cwd=ROOT)


def test_secrets_are_made_once_and_read_from_files(tmp_path, compose):
    script = tmp_path / "secrets.sh"
    script.write_text((DEPLOY / "secrets.sh").read_text())
    run("bash", script)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    run("bash", script)
    assert made == {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    assert made["postgres_password"] in made["tuner_database_url"]
    assert made["tuner_database_url"].endswith("/tuner")
    assert made["mlflow_database_url"].endswith("/mlflow")  # Optuna and MLflow share none
    assert len(set(made.values())) == len(made)
    assert made.keys() == compose["secrets"].keys()
    program = (
        "from tuner.settings import Settings\n"
        f"print(Settings(_secrets_dir={str(tmp_path / 'secrets')!r}).store_url)\n"
    )
    clean = {k: v for k, v in os.environ.items() if k != "TUNER_DATABASE_URL"}
    told = run(sys.executable, "-c", program, cwd=ROOT, env=clean)
    assert told.strip() == made["tuner_database_url"]
