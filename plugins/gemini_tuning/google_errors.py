"""Translate what Google's clients raise into this package's errors: permanent or transient, always a sentence."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

from gemini_tuning.errors import CredentialsRefusedError, GeminiTuningError, ServiceRefusedError, TransientError

_TRANSIENT_CODES = frozenset({408, 429, 499, 500, 502, 503, 504})
_ADVICE = {
    400: "Correct the request; a retry can't help.",
    401: "The credentials were not accepted: check the Google connection's key or its expiry.",
    403: "The connection's account lacks a role for this (README, 'Point it at a real project').",
    404: "Check project, location and name; a missing role can also look like this.",
    429: "The project's quota is used up for now.",
}


@contextmanager
def google_errors(doing: str, also_transient: frozenset[int] = frozenset()) -> Iterator[None]:
    """Raise ``ServiceRefusedError`` or ``TransientError`` for anything Google's clients raise inside.

    :param doing: what was attempted, for the start of the sentence, such as ``"Creating the tuning job"``.
    :param also_transient: HTTP codes that may pass here, besides 408, 429, 499 and 5xx.
    """
    try:
        yield
    except GeminiTuningError:
        raise
    except Exception as error:
        translated = _translate(doing, error, _TRANSIENT_CODES | also_transient)
        if translated is None:
            raise
        raise translated from error


def _translate(doing: str, error: Exception, transient: frozenset[int]) -> GeminiTuningError | None:
    if (code := _http_code(error)) is not None:
        return _from_code(doing, code, error, transient)
    if _is_credentials_problem(error):
        reason = innermost_reason(error)
        return CredentialsRefusedError(f"{doing} failed: no usable credentials ({reason}). {_ADVICE[401]}")
    if _is_transport_problem(error):
        return TransientError(
            f"{doing} failed: no connection to Google's API ({innermost_reason(error)}). "
            "Check the network, and the base URL where one is configured."
        )
    if _is_unreadable_answer(error):
        return TransientError(f"{doing} failed: the answer could not be read ({type(error).__name__}). Try again.")
    return None


def _from_code(doing: str, code: int, error: Exception, transient: frozenset[int]) -> GeminiTuningError:
    sentence = f"{doing} failed: HTTP {code}, {_message(error).strip().rstrip('.')}. {_ADVICE.get(code, '')}".rstrip()
    if code in transient:
        return TransientError(sentence, code, _retry_after(error))
    refused = CredentialsRefusedError if code == 401 else ServiceRefusedError
    return refused(sentence, code)


def _retry_after(error: Exception) -> float | None:
    """Return the seconds of a ``Retry-After`` header: a number, or a date (RFC 9110, 10.2.3)."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = headers.get("Retry-After", "")
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - dt.datetime.now(dt.UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _http_code(error: Exception) -> int | None:
    """Return the status of google.genai's ``APIError`` and of google.api_core's ``GoogleAPICallError``."""
    code = getattr(error, "code", None)
    try:
        return int(code) if code is not None and not callable(code) else None
    except (TypeError, ValueError):
        return None


def _message(error: Exception) -> str:
    return str(getattr(error, "message", None) or error)


def _is_credentials_problem(error: Exception) -> bool:
    from google.auth import exceptions

    return isinstance(
        error, (exceptions.RefreshError, exceptions.DefaultCredentialsError, exceptions.MalformedError)
    ) and not getattr(error, "retryable", False)


def _is_transport_problem(error: Exception) -> bool:
    import httpx
    import requests
    from google.api_core.exceptions import RetryError
    from google.auth import exceptions

    transport: tuple[type[BaseException], ...] = (
        ConnectionError,
        TimeoutError,
        httpx.TransportError,
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        RetryError,
        exceptions.TransportError,
        exceptions.RefreshError,
    )
    return isinstance(error, transport)


def never_accepted(error: BaseException | None) -> bool:
    """Whether it is certain that the service did nothing: no connection came about, or it had no quota left.

    Even then an earlier copy of the request, repeated by a gateway on the way, may have had its effect.
    """
    import httpx
    from google.auth import exceptions

    if isinstance(error, Exception) and _http_code(error) == 429:
        return True
    # credentials are fetched before the request is sent
    return isinstance(
        error,
        (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            exceptions.TransportError,
            exceptions.RefreshError,
        ),
    )


def _is_unreadable_answer(error: Exception) -> bool:
    import httpx
    import requests
    from google.cloud.storage.exceptions import DataCorruption

    return isinstance(
        error, (json.JSONDecodeError, httpx.DecodingError, requests.exceptions.RequestException, DataCorruption)
    )


def innermost_reason(error: Exception) -> str:
    """Return the innermost reason, without object addresses and nested representations."""
    innermost: BaseException = error
    while (cause := innermost.__cause__ or innermost.__context__) is not None:
        innermost = cause
    return " ".join(str(innermost).split())[:200] or type(innermost).__name__
