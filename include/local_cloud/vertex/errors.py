"""Errors in the shape that every Google API answers: ``{"error": {"code", "message", "status", "details"?}}``."""

from __future__ import annotations

from typing import Any

CANCELLED_CODE, INVALID_ARGUMENT_CODE, FAILED_PRECONDITION_CODE, INTERNAL_CODE = 1, 3, 9, 13
"""Values of ``google.rpc.Code``, as the ``error`` of a job carries them."""

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ALREADY_EXISTS",
    413: "INVALID_ARGUMENT",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ApiError(Exception):
    """An answer other than 200.

    Args:
        code: HTTP status code.
        message: what the caller reads.
        status: canonical ``google.rpc.Code`` name; the usual one for ``code`` when left out.
        details: typed ``google.rpc`` details.
    """

    def __init__(
        self, code: int, message: str, status: str | None = None, details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS.get(code, "UNKNOWN")
        self.details = details or []

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid_argument(message: str, details: list[dict[str, Any]] | None = None) -> ApiError:
    """Return a 400 INVALID_ARGUMENT."""
    return ApiError(400, message, details=details)


def failed_precondition(message: str) -> ApiError:
    """Return a 400 FAILED_PRECONDITION."""
    return ApiError(400, message, "FAILED_PRECONDITION")


def not_found(message: str) -> ApiError:
    """Return a 404 NOT_FOUND."""
    return ApiError(404, message)
