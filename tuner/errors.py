"""The errors of the tuner package.

Exception
└── TunerError
    ├── StudyFailedError a study cannot be answered: the message says which step failed and why
    ├── PutOffError      a study cannot begin now: it waits, and has not failed
    ├── StudyInUseError  another process is working on the same study
    ├── ServiceError     the service refuses a request, or cannot be reached
    ├── ScriptError      a training of a user's own code failed, or reported nothing usable
    ├── EncoderNotKeptError  an encoder cannot be registered as the one that was trained
    ├── SubmissionError  the service does not accept a submission: the findings say why
    │   ├── ConflictError    its idempotency key was used for another request
    │   └── TooManyError     its user has as many unfinished ones as are allowed
    ├── NewerStoreError  the study store was made by a version that leaves this one no room
    ├── SealError        a secret in the database was sealed with another key than is here
    ├── TrackingError    MLflow could not be reached at the end; the study is safe in the store
    └── SpecError        a study spec asks for something that this data set cannot give

What a database raises goes by the names in `tuner.storage.database`.
"""

from collections.abc import Sequence


class TunerError(Exception):
    """Base of every error that this package raises on purpose."""


class StudyFailedError(TunerError):
    """A study cannot be answered, for example because its baseline could not be trained."""


class PutOffError(TunerError):
    """A study cannot begin now, for want of a cluster or of room on it; it has not failed."""


class StudyInUseError(TunerError):
    """Another process is working on the same study."""


class SpecError(TunerError):
    """A study spec asks for something that the data set cannot give."""


class NewerStoreError(TunerError):
    """The study store has tables of a newer version, which this one cannot use."""


class SealError(TunerError):
    """A secret in the database was sealed with another key than this service has."""


class TrackingError(TunerError):
    """MLflow could not be reached at the end; the study itself is safe in the store."""


class ScriptError(TunerError):
    """A training of a user's own code did not end well, or reported nothing that can be used."""


class EncoderNotKeptError(TunerError):
    """An encoder cannot be registered as the one that was trained; the answer stands without it."""


class ServiceError(TunerError):
    """The service refuses a request, or cannot be reached.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        findings: What is wrong with a data set or a spec, one line each.
    """

    def __init__(self, message: str, *, status: int = 0, findings: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status, self.findings = status, list(findings)


class SubmissionError(TunerError):
    """The service does not accept a submission.

    Attributes:
        findings: What is wrong with its data set or its spec, one line each.
    """

    def __init__(self, message: str, findings: Sequence[str] = ()) -> None:
        super().__init__(message, findings)
        self.findings = list(findings)

    def __str__(self) -> str:
        return str(self.args[0])


class ConflictError(SubmissionError):
    """An idempotency key was used before, for another request."""


class TooManyError(SubmissionError):
    """A user has as many unfinished submissions as are allowed."""
