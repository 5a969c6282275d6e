"""The errors of the tuner package.

Exception
└── TunerError
    ├── StudyFailedError a study cannot be answered: the message says which step failed and why
    ├── StudyInUseError  another process is working on the same study
    ├── ServiceError     the service refuses a request, or cannot be reached
    ├── EncoderNotKeptError  an encoder cannot be registered as the one that was trained
    ├── TrackingError    MLflow could not be reached at the end; the study is safe in the store
    └── SpecError        a study spec asks for something that this data set cannot give
"""

from collections.abc import Sequence


class TunerError(Exception):
    """Base of every error that this package raises on purpose."""


class StudyFailedError(TunerError):
    """A study cannot be answered, for example because its baseline could not be trained."""


class StudyInUseError(TunerError):
    """Another process is working on the same study."""


class SpecError(TunerError):
    """A study spec asks for something that the data set cannot give."""


class TrackingError(TunerError):
    """MLflow could not be reached at the end; the study itself is safe in the store."""


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
