"""What is installed: one name, the same from a checkout and from an archive of the sources."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support import mlflow_tables
from tests.support.servers import answers, free_port
from tuner.client import Client

ROOT = Path(__file__).parents[1]
QUICK = {"trials": 3, "replicates": 2, "confirm_replicates": 2, "epochs": 2, "hidden": 8}

pytestmark = pytest.mark.integration


def build(kind, tree, out):
    """Build a wheel or a source archive of a tree."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Environment of a process that sees the wheel in place of this checkout."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    home = tmp_path_factory.mktemp("home")
    return os.environ | {"PYTHONPATH": str(folder), "TUNER_HOME": str(home)}


def tuner(*words):
    return [sys.executable, "-P", "-m", "tuner", *words]


def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def test_the_wheel_owns_one_name(wheel):
    tops = {name.partition("/")[0] for name in names(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"tuner"}
    assert len(set(names(wheel))) == len(names(wheel))
    wanted = {"tuner/data/examples/mfeat.npz", "tuner/models/training/loop.py"}
    assert wanted <= set(names(wheel))
    assert f"tuner/tracking/{mlflow_tables.FILE.name}" in names(wheel)


def test_an_archive_of_the_sources_builds_the_same_wheel(wheel, tmp_path):
    """Archives leave out the links `tuner/data` and `tuner/models`, and so do some systems."""
    with tarfile.open(build("sdist", ROOT, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "tree")  # it is ours
    (tree,) = (tmp_path / "tree").iterdir()
    assert names(build("wheel", tree, tmp_path / "again")) == names(wheel)


@pytest.mark.system
def test_it_runs_from_the_root_folder(installed):
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import tuner.data; print(tuner.data.__file__)"],
        cwd="/",
        env=installed,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.startswith(installed["PYTHONPATH"])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(tuner("serve", "--port", str(port)), cwd="/", env=installed) as server:
        try:
            answers(server, f"{url}/health/ready")
            key = (Path(installed["TUNER_HOME"]) / "api-key").read_text().strip()
            with Client(url, key) as client:
                submitted = client.submit("mfeat", **QUICK)
                served = client.result(submitted["id"], wait=True)
        finally:
            server.terminate()
    options = [w for n, v in QUICK.items() for w in (f"--{n.replace('_', '-')}", str(v))]
    again = subprocess.run(  # it is answered from the store that the two share
        tuner("run", "mfeat", "--name", "mfeat", *options, "--json"),
        cwd="/",
        env=installed,
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(again.stdout) == json.loads(served.model_dump_json(by_alias=True))
    assert served.modalities.a.model.name == "mfeat-a-encoder"
