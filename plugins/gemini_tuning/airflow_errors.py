"""Say this package's errors the way Airflow understands them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from pydantic import ValidationError

from gemini_tuning.errors import CredentialsRefusedError, PermanentError, TransientError


class TransientFault(AirflowException):
    """A task's try failed for a reason that may pass.

    :param code: the HTTP status, if there was one.
    :param retry_after: seconds for which the service asked to be left alone, where it did.
    """

    def __init__(self, message: str, code: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after


@contextmanager
def airflow_errors(log: Any) -> Iterator[None]:
    """Log an error's sentence, then fail the task: for good if it is permanent, else with its retries."""
    try:
        yield
    except CredentialsRefusedError as error:  # a token may have been withdrawn; the next try loads a new one
        log.error("%s", error)
        raise TransientFault(str(error)) from None
    except PermanentError as error:
        log.error("%s", error)
        raise AirflowFailException(str(error)) from None
    except ValidationError as error:
        sentence = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        log.error("%s", sentence)
        raise AirflowFailException(f"{error.title}: {sentence}") from None
    except TransientError as error:
        log.error("%s", error)
        raise TransientFault(str(error), error.code, error.retry_after) from None
