"""What can never begin is said, with what it waits for."""

import pytest

from tuner.execution.room import Room
from tuner.study.spec import StudySpec

TWO = Room(where="the cluster", cpus=6, gpus=3, largest_cpus=4, largest_gpus=2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, None),
        ({"gpus": 2, "cpus": 4}, None),
        ({"gpus": 0.25, "ranks": 6}, None),
        ({"gpus": 1, "ranks": 3, "cpus": 2}, None),
        ({"gpus": 4}, "waits for 4 GPUs; the cluster has 3"),
        ({"gpus": 1, "ranks": 4}, "waits for 4 GPUs; the cluster has 3"),
        ({"gpus": 3}, "waits for a machine with 3 GPUs; the largest has 2"),
        ({"cpus": 7}, "waits for 7 CPUs; the cluster has 6"),
        ({"ranks": 7}, "waits for 7 CPUs; the cluster has 6"),
        ({"cpus": 5}, "waits for a machine with 5 CPUs; the largest has 4"),
    ],
)
def test_what_is_lacking_is_named(options, words):
    assert TWO.lacks(StudySpec(**options)) == words


def test_one_is_not_many():
    none = Room(where="this machine", cpus=0, gpus=0, largest_cpus=0, largest_gpus=0)
    assert none.lacks(StudySpec(gpus=1)) == "waits for 1 GPU; this machine has 0"
