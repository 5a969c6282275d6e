"""Whole studies on a Ray cluster of three nodes, whose data lie on an S3-speaking server."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.support.in_process import answer_in_process
from tests.support.rules import starts
from tuner.models.config import TrainingConfig
from tuner.study.spec import StudySpec
from tuner.study.study import read_dataset

pytestmark = [pytest.mark.integration, pytest.mark.system]
URI = "s3://shared/uploads/data.npz"
SPEC = StudySpec(
    trials=3, batch=2, replicates=2, confirm_replicates=2, training=TrainingConfig(epochs=2)
)
DRIVER = """
import json, sys, tempfile
from functools import partial
from pathlib import Path

import ray
from ray.cluster_utils import Cluster
from tests.tuner.execution.workers.test_source import SPEC, URI
from tuner.drivers.orchestrator import run_study
from tuner.execution.workers import shared_rows, source
from tuner.settings import Settings
from tuner.study.study import Study, read_dataset

source.WORTH_BYTES = 1
folder, what = Path(sys.argv[1]), sys.argv[2]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = ("one", "two")
for name in nodes:
    (folder / name).mkdir()
    cluster.add_node(num_cpus=1, env_vars={"TMPDIR": str(folder / name)})
shared = []
theirs = shared_rows.SharedRows.of
shared_rows.SharedRows.of = lambda *rows, **how: shared.append(theirs(*rows, **how)) or shared[-1]
copies, read = [], []

def look(progress):
    references = [each._stored[0] for each in shared]
    places = ray.experimental.get_object_locations(references)
    copies.append(max(len(place["node_ids"]) for place in places.values()))
    read.append(sorted(len(list((folder / name).glob("tuner-rows-*/*"))) for name in nodes))

reading = partial(read_dataset, SPEC, URI)
study = Study.of(SPEC, reading())
gone = partial(read_dataset, SPEC, URI.replace("data", "gone"))
again = {"read": reading, "gone": gone, "sent": None}[what]
result = run_study(
    study,
    Settings(home=folder / "home", ray_address=cluster.address),
    workers=2,
    read=again,
    on_progress=look,
)
result = result.model_dump(mode="json")
print(json.dumps({"copies": max(copies), "read": max(read), "result": result}))
cluster.shutdown()
"""


@pytest.mark.parametrize(
    ("what", "copies", "is_read"),
    [
        ("read", 1, True),
        pytest.param("gone", 3, False, marks=pytest.mark.soak),
        pytest.param("sent", 3, False, marks=pytest.mark.soak),
    ],
)
def test_each_node_reads_an_upload_where_it_lies_and_the_answer_is_that_of_one_process(
    s3, tmp_path, caplog, what, copies, is_read
):
    starts("Ray")
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 200)
    a, b = (y[:, None] + random.normal(size=(200, 4)) for _ in "ab")
    np.savez(tmp_path / "data.npz", a=a, b=b, y=y)
    s3.upload_file(str(tmp_path / "data.npz"), "shared", "uploads/data.npz")
    caplog.set_level("INFO", "werkzeug")
    command = [sys.executable, "-c", DRIVER, str(tmp_path), what]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran.stderr[-5000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    asked = [
        each.getMessage() for each in caplog.records if "GET /shared/uploads" in each.getMessage()
    ]
    assert told["copies"] == copies  # nodes that have the rows which the driver sends
    assert all(told["read"]) == is_read
    assert len([line for line in asked if '" 20' in line]) == (3 if is_read else 1)
    expected = answer_in_process(SPEC, read_dataset(SPEC, URI)).model_dump(mode="json")
    assert [told["result"][part] for part in ("joint", "curve")] == [
        expected[part] for part in ("joint", "curve")
    ]
