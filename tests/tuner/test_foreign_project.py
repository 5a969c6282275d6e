"""In a user's own folder, where every other file has a name that the program uses itself."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.servers import answers, free_port
from tests.support.worlds import null

pytestmark = pytest.mark.integration
TUNER = str(Path(sys.executable).with_name("tuner"))
OPTIONS = {
    "trials": 3,
    "replicates": 2,
    "confirm_replicates": 2,
    "epochs": 2,
    "hidden": 8,
    "workers": 1,
}
WORDS = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
NOT_OURS = ("data.py", "models/__init__.py", "tests.py", "service.py", "conftest.py", "study.py")
# Python itself puts the folder of a script first, but that of a command nowhere.
NOT_EVEN_PYTHONS = ("tuner.py", "queue.py", "mlflow.py")

MYNET = """
from torch import nn
from myhelper import widths

class Net(nn.Sequential):
    def __init__(self, shape, embedding):
        super().__init__(nn.Linear(shape[0], widths()), nn.ReLU(), nn.Linear(widths(), embedding))

class Lazy(nn.Sequential):
    def __init__(self, shape, embedding):
        super().__init__(nn.LazyLinear(widths()), nn.LazyBatchNorm1d(), nn.LazyLinear(embedding))
"""
SCRIPT = f"""
import sys
from tuner import Client, read, run

OPTIONS = {OPTIONS}
result = run(read("small.npz"), encoder_a="mynet:Net", **OPTIONS)
assert not result.failures, result.failures
assert result.modalities.a.model is not None

url, key = sys.argv[1:]
with Client(url, key) as client:
    submitted = client.submit("small.npz", **OPTIONS)
    served = client.result(submitted["id"], wait=True)
assert not served.failures, served.failures
print(result.study, served.study)
"""
THEIR_TEST = """
from tuner import Study, StudySpec, read

def test_net():
    spec = StudySpec(training={"encoder_a": "mynet:Net"})
    assert Study.of(spec, read("small.npz")).training.encoder_a == "mynet:Net"
"""


@pytest.fixture(scope="module")
def folder(new_home, tmp_path_factory) -> Path:
    """A project of somebody's."""
    from transformers import BertConfig, BertModel  # takes seconds

    folder = tmp_path_factory.mktemp("theirs")
    (folder / "models").mkdir()
    new_home(folder / "home")
    for name in NOT_OURS:
        (folder / name).write_text('raise RuntimeError("not yours")\n')
    (folder / "mynet.py").write_text(MYNET)
    (folder / "myhelper.py").write_text("def widths():\n    return 8\n")
    (folder / "script.py").write_text(SCRIPT)
    (folder / "test_theirs.py").write_text(THEIR_TEST)
    dataset = null(0, rows=150)
    y = dataset.y
    np.savez(folder / "small.npz", a=dataset.a.values, b=dataset.b.values, y=y)
    steps = np.random.default_rng(0).normal(size=(len(y), 5, 16)).astype(np.float32)
    np.savez(folder / "steps.npz", a=steps, b=dataset.b.values, y=y)
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=10, intermediate_size=16, **small)).save_pretrained(
        folder / "bert"
    )
    return folder


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        words, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    hidden = {"PYTHONPATH", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return kept | {"TUNER_HOME": str(folder / "home")}


def assert_answers(folder: Path, *words: str) -> None:
    result = json.loads(run(folder, *words, *WORDS, "--json"))
    assert result["status"] == "done"
    assert result["failures"] == []
    assert all(result["modalities"][side]["model"] for side in ("a", "b"))


@pytest.mark.system
def test_the_command_takes_encoders_from_here_and_nothing_else(folder, tmp_path):
    here = shutil.copytree(folder, tmp_path / "here", ignore=shutil.ignore_patterns("home"))
    for file in NOT_EVEN_PYTHONS:
        (here / file).write_text('raise RuntimeError("not yours")\n')
    assert_answers(here, TUNER, "run", "small.npz", "--encoder-a=mynet:Net")


@pytest.mark.soak
def test_python_m_takes_a_pretrained_folder_and_lazy_layers_from_here(folder):
    words = ("run", "steps.npz", "--encoder-a=hf:bert", "--encoder-b=mynet:Lazy")
    assert_answers(folder, sys.executable, "-m", "tuner", *words)


@pytest.mark.system
def test_a_script_runs_a_study_and_submits_one_to_a_service_started_here(folder):
    url = f"http://127.0.0.1:{(port := free_port())}"
    home = folder / "home"
    with (home / "service.log").open("wb") as log:
        service = subprocess.Popen(
            [TUNER, "serve", "--port", str(port)],
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=log,
        )
    try:
        answers(service, f"{url}/health/ready")
        key = (home / "api-key").read_text().strip()
        one, other = run(folder, sys.executable, "script.py", url, key).split()
        assert one != other
    finally:
        service.terminate()
        service.wait(60)


def test_their_tests_run(folder, tmp_path):
    here = shutil.copytree(
        folder, tmp_path / "here", ignore=shutil.ignore_patterns("home", "conftest.py")
    )
    assert "1 passed" in run(here, sys.executable, "-m", "pytest", "test_theirs.py")
