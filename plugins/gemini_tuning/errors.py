"""Every failure a user can meet, each a complete sentence: what, where, why, and what to do."""

from __future__ import annotations


class GeminiTuningError(Exception):
    """Base of all errors this package raises on purpose; ``str(error)`` is the sentence to show."""


class PermanentError(GeminiTuningError):
    """A retry meets the same fault again: somebody has to change something first."""


class TransientError(GeminiTuningError):
    """The same call may succeed later: a retry with backoff is right.

    :param code: the HTTP status; None = no answer came, or none that could be read.
    :param retry_after: seconds for which the service asked to be left alone, where it did.
    """

    def __init__(self, message: str, code: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


class ConfigError(PermanentError):
    """A pipeline, a suite, a parameter or a connection is wrong."""


class UnusableInputError(PermanentError):
    """A dataset can't be read at all: missing, out of bounds, forbidden."""


class DatasetRejectedError(PermanentError):
    """A dataset was read and found wrong; nothing was uploaded or paid for."""


class ServiceRefusedError(PermanentError):
    """Google answered that the request itself is wrong: bad argument, missing permission, unknown resource.

    :param code: the HTTP status, where there was one.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class CredentialsRefusedError(ServiceRefusedError):
    """The credentials were not accepted, or no longer: newly loaded ones may be."""


class SubmissionUnknownError(PermanentError):
    """A job was asked for and no answer tells whether it was made. Asking again at once could pay twice.

    ``buying.Buyer`` looks for the job first, when it can no longer be hidden.
    """


class TuningJobFailedError(PermanentError):
    """A tuning job ended in a state other than SUCCEEDED."""


class SmokeTestFailedError(PermanentError):
    """The tuned endpoint answered, and at least one answer did not hold up."""
