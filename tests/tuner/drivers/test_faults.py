"""Which faults may pass, and which are the study's own."""

import errno
import re
import socket
from pathlib import Path

import pytest

from tuner.data.errors import DataError
from tuner.drivers.faults import passing_fault
from tuner.errors import StudyFailedError
from tuner.storage.database import Database


def refused():
    socket.create_connection(("127.0.0.1", 9))


def of_a_library():
    """As botocore does: what the network said is only in the context."""
    try:
        refused()
    except OSError:
        raise KeyError("endpoint") from None


def of_data():
    try:
        of_a_library()
    except KeyError as error:
        raise DataError("s3://bucket/data.npz", ["no answer"]) from error


def of_the_study():
    try:
        refused()
    except OSError as error:
        raise StudyFailedError("the baseline could not be trained") from error


def of_a_database():
    Database("postgresql+psycopg://127.0.0.1:9/away")


def disk_is_full():
    raise OSError(errno.ENOSPC, "No space left on device", "/studies/trial-1")


def not_there():
    Path("/nowhere/data.npz").read_bytes()


def not_allowed():
    raise PermissionError(errno.EACCES, "Permission denied", "/data.npz")


def raised_by(does):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        does()
    return caught.value


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (refused, "waits: .*refused"),
        (of_a_library, "waits: 'endpoint'"),
        (of_data, "waits: s3://bucket/data.npz.*no answer"),
        (of_a_database, "waits for the database: connection .*failed"),
        (disk_is_full, "waits: .*No space left on device.*/studies/trial-1"),
    ],
)
def test_what_may_pass_is_waited_for(does, words):
    assert re.search(f"(?s){words}", passing_fault(raised_by(does)))


@pytest.mark.parametrize("does", [of_the_study, not_there, not_allowed, lambda: 1 // 0])
def test_what_is_wrong_with_a_study_stays_so(does):
    assert passing_fault(raised_by(does)) is None
