"""The examples that train on machines elsewhere call `tuner agent` as it is called."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from tuner.cli.main import app

pytestmark = pytest.mark.integration
EXAMPLES = Path(__file__).parents[2] / "deploy" / "elsewhere"
TRAINING = ["python", "train.py", "--lam", "{strength}", "--seed", "{seed}", "--out", "{out}"]


@pytest.fixture
def agent_of(tmp_path):
    """Runs an example; returns how the command reads the words that it is called with."""
    stub = tmp_path / "tuner"
    stub.write_text('#!/bin/sh\nprintf "%s\\0" "$@"\n')
    stub.chmod(0o700)
    told = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOSTNAME": "node-3"}
    told |= {"TUNER_URL": "http://there", "TUNER_API_KEY": "tk_"}

    def call(words, **environment):
        done = subprocess.run(words, env=told | environment, cwd=tmp_path, stdout=-1, check=True)
        name, *rest = done.stdout.decode().split("\0")[:-1]
        command = get_command(app).get_command(None, name)
        return command.make_context(name, rest).params

    return call


def test_a_slurm_array_has_agents_of_names_that_stay(agent_of):
    job = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "5"}
    called = agent_of([EXAMPLES / "slurm-array.sh", "0123456789abcdef"], **job)
    assert (called["url"], called["study"]) == ("http://there", "0123456789abcdef")
    assert (called["name"], called["code"]) == ("slurm-77-5", TRAINING)


def test_a_train_job_has_an_agent_a_node(agent_of):
    job = yaml.safe_load((EXAMPLES / "kubeflow-trainjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    called = agent_of(job["spec"]["trainer"]["command"], STUDY="0123456789abcdef")
    assert (called["study"], called["name"]) == ("0123456789abcdef", "node-3")
    assert called["code"] == TRAINING
