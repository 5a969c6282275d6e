"""What Ray does not promise, and `tuner.execution` uses all the same.

Where a new version of Ray fails here, the name that it has no more says what to look for.
"""

from importlib import import_module
from inspect import unwrap
from pathlib import Path

import pytest

import tuner.execution

USERS = {
    "RayActorManager": "execution/tune.py",
    "_schedule_trial_train": "execution/tune.py",
    "ray_actor": "execution/tune.py",
    "tune_controller.RayActorManager": "execution/tune.py",
    "_client_job": "execution/cluster.py",
    "start_api_server": "execution/cluster.py",
    "start_monitor": "execution/cluster.py",
    "start_log_monitor": "execution/cluster.py",
    "get_dashboard_dependency_error": "execution/cluster.py",
    "get_all_node_info": "execution/cluster.py",
    "gcs_client": "execution/membership.py",
}


def actor_manager():
    manager = import_module("ray.air.execution._internal").RayActorManager
    assert callable(manager._actor_task_failed)


def schedule_trial_train():
    controller = import_module("ray.tune.execution.tune_controller").TuneController
    assert callable(controller._schedule_trial_train)


def ray_actor():
    trial = import_module("ray.tune.experiment").Trial("worker", stub=True)
    assert trial.temporary_state.ray_actor is None


def assignment():
    """Tune takes the actor manager from its module when it begins, so that another can be there."""
    module = import_module("ray.tune.execution.tune_controller")
    assert module.RayActorManager is import_module("ray.air.execution._internal").RayActorManager
    assert "RayActorManager" in module.TuneController.__init__.__code__.co_names


def client_job():
    """Ray leaves the working directory of a driver that says so out of its workers' `sys.path`."""
    config = import_module("ray.job_config").JobConfig(_client_job=True)
    assert config._client_job
    connect = unwrap(import_module("ray._private.worker").connect)
    assert "_client_job" in connect.__code__.co_names


def start_api_server():
    """A head starts it whether or not it is to include the dashboard."""
    node = import_module("ray._private.node").Node
    assert "start_api_server" in node.start_head_processes.__code__.co_names
    assert callable(node.start_api_server)


def start_monitor():
    node = import_module("ray._private.node").Node
    assert "start_monitor" in node.start_head_processes.__code__.co_names
    assert callable(node.start_monitor)


def start_log_monitor():
    node = import_module("ray._private.node").Node
    assert "start_log_monitor" in node.start_ray_processes.__code__.co_names
    assert callable(node.start_log_monitor)


def dependency_error():
    """What starts a node asks the module for it, each time."""
    asks = import_module("ray._private.services").start_raylet
    assert "get_dashboard_dependency_error" in unwrap(asks).__code__.co_names
    assert callable(import_module("ray._private.utils").get_dashboard_dependency_error)


def all_node_info():
    """A node that starts asks the module for itself; we ask the head before."""
    node = import_module("ray._private.node").Node
    assert "get_node" in node.__init__.__code__.co_names
    assert callable(import_module("ray._private.services").get_node)
    assert "get_all_node_info" in vars(import_module("ray._raylet").InnerGcsClient)


def gcs_client():
    """What a process that is connected asks the head with."""
    worker = import_module("ray._private.worker")
    assert "gcs_client" in unwrap(worker.connect).__code__.co_names
    assert "get_all_job_info" in vars(import_module("ray._raylet").InnerGcsClient)


@pytest.mark.parametrize(
    "exists",
    [
        actor_manager,
        schedule_trial_train,
        ray_actor,
        assignment,
        client_job,
        start_api_server,
        start_monitor,
        start_log_monitor,
        dependency_error,
        all_node_info,
        gcs_client,
    ],
    ids=USERS,
)
def test_ray_has(exists):
    exists()


@pytest.mark.parametrize("name", USERS)
def test_one_file_alone_uses(name):
    package = Path(tuner.execution.__file__).parents[1]
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if name in path.read_text(encoding="utf-8")
    }
    assert users == {USERS[name]}
