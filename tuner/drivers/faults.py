"""Faults of what a study needs around it: they may pass, so it waits, and has not failed."""

import errno
import socket

from tuner.errors import ScriptError, SpecError, StudyFailedError
from tuner.storage.database import fault_of_database, is_away

_OF_THE_STUDY = (StudyFailedError, SpecError, ScriptError)
_OF_THE_NETWORK = (ConnectionError, TimeoutError, socket.gaierror)
_OF_SYSTEM = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE),
    *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN),
)


def passing_fault(error: BaseException) -> str | None:
    """Return what is in the way of a study, if it may pass: None of what is the study's own fault.

    That is a database or a network that does not answer, or a disk that is full, wherever in the
    history of the error.
    """
    if isinstance(error, _OF_THE_STUDY):
        return None
    cause: BaseException | None = error
    while cause is not None:
        if is_away(cause):
            return f"waits for the database: {fault_of_database(cause)}"
        is_of_system = isinstance(cause, OSError) and cause.errno in _OF_SYSTEM
        if is_of_system or isinstance(cause, _OF_THE_NETWORK):
            return f"waits: {str(error).strip() or type(cause).__name__}"
        cause = cause.__cause__ or cause.__context__
    return None
