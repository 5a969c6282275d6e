"""The image and the compose file, as far as can be told without a container engine."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import requests
import yaml
from werkzeug.security import generate_password_hash

from tests.support.servers import answers, free_port

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


@pytest.mark.integration
def test_the_image_lints_clean():
    run(TOOLS / "hadolint", DEPLOY / "Dockerfile")


@pytest.mark.integration
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


@pytest.mark.parametrize("node", ["ray-head", "ray-worker"])
def test_rays_objects_lie_in_shared_memory(compose, node):
    service = compose["services"][node]
    command = service["command"]
    size = int(command[command.index("--object-store-memory") + 1])
    assert size <= int(service["shm_size"].removesuffix("gb")) * 2**30


@pytest.mark.integration
def test_no_secret_is_in_a_file_that_git_sees(compose):
    for name, service in compose["services"].items():
        told = str(service.get("environment", {})).lower()
        assert "postgresql" not in told, name
        wanted = {s if isinstance(s, str) else s["source"] for s in service.get("secrets", [])}
        assert wanted <= compose["secrets"].keys(), name
        assert set(service.get("depends_on", [])) <= compose["services"].keys(), name
    for secret in compose["secrets"].values():
        path = (DEPLOY / secret["file"]).relative_to(ROOT)
        run("git", "check-ignore", "--quiet", str(path), cwd=ROOT)


@pytest.mark.integration
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
    wanted = {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert made.keys() == wanted | {"aws_access_key_id", "redis_password"}  # those of Kubernetes
    program = (
        "from tuner.settings import Settings\n"
        f"print(Settings(_secrets_dir={str(tmp_path / 'secrets')!r}).store_url)\n"
    )
    clean = {k: v for k, v in os.environ.items() if k != "TUNER_DATABASE_URL"}
    told = run(sys.executable, "-c", program, cwd=ROOT, env=clean)
    assert told.strip() == made["tuner_database_url"]


def hash_quickly(database, user, password):
    """Give a user of MLflow the same password by another hash: its own takes .1 s a request."""
    hashed = generate_password_hash(password, "pbkdf2:sha256:1")
    with closing(sqlite3.connect(database)) as connection, connection:
        words = "update users set password_hash = ? where username = ?"
        assert connection.execute(words, (hashed, user)).rowcount == 1


@pytest.mark.system
def test_mlflow_started_as_in_the_compose_file_opens_to_its_users_alone(tmp_path, compose):
    script = tmp_path / "secrets.sh"
    script.write_text((DEPLOY / "secrets.sh").read_text())
    run("bash", script)
    secrets, port = tmp_path / "secrets", free_port()
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (secrets / "mlflow_database_url").write_text(database)
    config = secrets / "mlflow_auth.ini"
    config.write_text(
        re.sub("(?m)^database_uri = .*", f"database_uri = {database}", config.read_text())
    )
    service = compose["services"]["mlflow"]
    *shell, command = service["command"]
    for container, here in {
        "$$": "$",
        "/run/secrets/": f"{secrets}/",
        "0.0.0.0": "127.0.0.1",
        "5000": str(port),
        "s3://alignment-tuner/mlflow": str(tmp_path / "artifacts"),
    }.items():
        command = command.replace(container, here)
    home = tmp_path / "home" / ".mlflow"
    home.mkdir(parents=True)
    (home / "credentials").write_text((secrets / "mlflow_credentials").read_text())
    environment = os.environ | {
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "HOME": str(home.parent),
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "TUNER_HOME": str(tmp_path / "tuner"),
    }
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*shell, command], env=environment, stdout=log, stderr=log)
    try:
        answers(server, f"http://127.0.0.1:{port}/health")
        api = f"http://127.0.0.1:{port}/api/2.0/mlflow"
        assert requests.get(f"{api}/experiments/get?experiment_id=0", timeout=60).status_code == 401
        password = re.search("admin_password = (.*)", config.read_text()).group(1)
        ada = {"username": "ada", "password": "a password of ada"}
        requests.post(
            f"{api}/users/create", json=ada, auth=("tuner", password), timeout=60
        ).raise_for_status()
        hash_quickly(tmp_path / "mlflow.db", "tuner", password)
        options = ("--trials", "3", "--epochs", "1", "--replicates", "2", "--workers", "1")
        options += ("--confirm-replicates", "2", "--hidden", "8")
        tuner = (sys.executable, "-m", "tuner", "run", "mfeat", *options)
        assert "models:/mfeat-a-encoder/1" in run(*tuner, cwd=ROOT, env=environment)
        search = f"{api}/registered-models/search"
        of_ada = requests.get(search, auth=tuple(ada.values()), timeout=60)
        of_tuner = requests.get(search, auth=("tuner", password), timeout=60)
        assert of_ada.json() == {}
        assert len(of_tuner.json()["registered_models"]) == 2
        readme = (DEPLOY / "README.md").read_text()
        granted = re.findall(r"call 3.0/mlflow/(\S+) --json '(.*)'", readme)
        assert len(granted) == 2
        for path, body in granted:
            requests.post(
                f"http://127.0.0.1:{port}/api/3.0/mlflow/{path}",
                json=json.loads(body),
                auth=("tuner", password),
                timeout=60,
            ).raise_for_status()
        of_ada = requests.get(search, auth=tuple(ada.values()), timeout=60)
        assert [m["name"] for m in of_ada.json()["registered_models"]] == ["mfeat-a-encoder"]
        runs = {"experiment_ids": ["1"]}
        found = requests.post(
            f"{api}/runs/search", json=runs, auth=tuple(ada.values()), timeout=60
        ).json()
        assert len(found["runs"]) > 1
    finally:
        server.terminate()
        server.wait()
