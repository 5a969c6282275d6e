"""Trials of several processes give back what they took, and never wait for each other."""

import os
import random
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.servers import ask_ray, ended, free_port, ray_head, until
from tests.support.soak import soaked
from tuner.storage.database import Database
from tuner.storage.studies import StudyStore

pytestmark = [pytest.mark.integration, pytest.mark.soak, pytest.mark.timeout(3600)]
CPUS = 4
_FREE = 30.0  # seconds after a cancel
_BEGINS = 300.0  # seconds, on a busy machine
_RANK = "ray::_Rank.train"  # how Ray calls a rank's process while it trains


class Head:
    """A Ray cluster of one node whose CPUs are counted."""

    def __init__(self, folder, port, access):
        self.folder, self._port, self._access = folder, port, access

    def study(self, name, **options):
        """Start a study of two ranks a trial: half of the cluster."""
        words = {"ranks": 2, "trials": 3, "replicates": 2, "confirm-replicates": 2} | options
        command = [sys.executable, "-m", "tuner", "run", "mfeat"]
        command += [part for option, value in words.items() for part in (f"--{option}", str(value))]
        home = {"TUNER_HOME": str(self.folder / name), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command, env=os.environ | self._access | home, stdout=log, stderr=log
            )

    def used(self):
        told = ask_ray(self._port, self.folder, "cluster_status?format=1")
        found = re.search(rf"([\d.]+)/{CPUS}\.0 CPU", told)
        return float(found[1]) if found else 0.0  # it has only begun

    @staticmethod
    def of_studies(name="ray::"):
        """Processes of the cluster, which this one started, that do or did something for a study.

        Args:
            name: Beginning of their names.
        """
        found = {p: _name(p) for p in psutil.Process().children(recursive=True)}
        idle = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
        return [p for p, w in found.items() if w.startswith(name) and not w.startswith(idle)]


def _name(process):
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("ranks"), free_port()
    dashboard = ("--include-dashboard=true", "--dashboard-port", str(port))
    with ray_head(folder, CPUS, *dashboard) as access:
        yield Head(folder, port, access)


@pytest.mark.parametrize("seed", range(soaked(20)))
def test_a_study_that_is_ended_gives_back_its_cpus(head, seed):
    """Wherever it is: while processes start, or train; and however: asked to, or killed."""
    rng = random.Random(seed)
    study = head.study(f"ended-{seed}", epochs=3000, patience=3000, seed=seed)
    until(head.of_studies, _BEGINS, fails_if=ended(study))
    if rng.random() < 0.7:
        until(lambda: head.used() > 0, _BEGINS, fails_if=ended(study))
    time.sleep(rng.uniform(0, 5))
    study.send_signal(rng.choice([signal.SIGINT, signal.SIGKILL]))
    until(lambda: head.used() == 0 and not head.of_studies(), _FREE)
    assert study.wait(60) in (130, -signal.SIGKILL)


def test_two_studies_that_want_half_each_end(head):
    studies = [head.study(f"half-{k}", epochs=2, seed=k) for k in range(2)]
    assert [study.wait(1200) for study in studies] == [0, 0]
    until(lambda: head.used() == 0 and not head.of_studies(), _FREE)


def test_a_study_goes_on_when_a_rank_is_killed(head):
    study = head.study("lost", epochs=5)
    victims = until(lambda: head.of_studies(_RANK), _BEGINS, fails_if=ended(study))
    victims[0].kill()
    assert study.wait(1200) == 0
    with Database(f"sqlite:///{head.folder}/lost/studies.db") as database:
        ((row, _),) = StudyStore(database).listed()
    assert row.result["failures"] == []  # it was trained again
    until(lambda: head.used() == 0 and not head.of_studies(), _FREE)
