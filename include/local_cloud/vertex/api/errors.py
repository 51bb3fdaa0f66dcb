"""Errors in the shape that every Google API answers: ``{"error": {"code", "message", "status", "details"?}}``."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

log = logging.getLogger(__name__)

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ALREADY_EXISTS",
    413: "OUT_OF_RANGE",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_HINTS = {
    "/": ". A google-genai client with a base URL forgets the project and location of its environment: "
    "give it both as arguments."
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

    def response(self) -> JSONResponse:
        """Return the whole answer."""
        headers = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'} if self.code == 401 else None
        return JSONResponse(self.body(), self.code, headers)


def invalid_argument(message: str, details: list[dict[str, Any]] | None = None) -> ApiError:
    """Return a 400 INVALID_ARGUMENT."""
    return ApiError(400, message, details=details)


def failed_precondition(message: str) -> ApiError:
    """Return a 400 FAILED_PRECONDITION."""
    return ApiError(400, message, "FAILED_PRECONDITION")


def not_found(message: str) -> ApiError:
    """Return a 404 NOT_FOUND."""
    return ApiError(404, message)


def install(app: Starlette) -> None:
    """Give every failure of ``app`` Google's shape: ours, the router's and the unforeseen."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _router_error)
    app.add_exception_handler(ClientDisconnect, _hung_up)
    app.add_exception_handler(Exception, _unforeseen)


async def _api_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ApiError):
        raise error
    return error.response()


async def _router_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    path = request.scope["path"]
    message = f"{HTTPStatus(error.status_code).phrase}: {request.method} {path}{_HINTS.get(path, '')}"
    return ApiError(error.status_code, message).response()


async def _hung_up(_request: Request, _error: Exception) -> JSONResponse:
    """Nobody reads this answer; its status goes into the request log."""
    return ApiError(499, "The client closed the connection before its request was complete.").response()


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return ApiError(500, "Internal error encountered.").response()
