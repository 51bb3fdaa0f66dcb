"""Say this package's errors the way Airflow understands them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from pydantic import ValidationError

from gemini_tuning.errors import GeminiTuningError, PermanentError


@contextmanager
def airflow_errors(log: Any) -> Iterator[None]:
    """Log an error's sentence, then fail the task: for good if it is permanent, else with its retries."""
    try:
        yield
    except PermanentError as error:
        log.error("%s", error)
        raise AirflowFailException(str(error)) from None
    except ValidationError as error:
        sentence = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        log.error("%s", sentence)
        raise AirflowFailException(f"{error.title}: {sentence}") from None
    except GeminiTuningError as error:
        log.error("%s", error)
        raise AirflowException(str(error)) from None
