"""Every failure of the service as an answer of Google's: ours, the router's and the unforeseen."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from local_cloud.vertex.errors import ApiError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

log = logging.getLogger(__name__)

_HINTS = {
    "/": ". A google-genai client with a base URL forgets the project and location of its environment: "
    "give it both as arguments."
}


def install(app: Starlette) -> None:
    """Give every failure of ``app`` Google's shape."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _router_error)
    app.add_exception_handler(ClientDisconnect, _hung_up)
    app.add_exception_handler(Exception, _unforeseen)


def response_of(error: ApiError) -> JSONResponse:
    """Return the whole answer that an error is."""
    headers = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'} if error.code == 401 else None
    return JSONResponse(error.body(), error.code, headers)


async def _api_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, ApiError):
        raise error
    return response_of(error)


async def _router_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    path = request.scope["path"]
    message = f"{HTTPStatus(error.status_code).phrase}: {request.method} {path}{_HINTS.get(path, '')}"
    return response_of(ApiError(error.status_code, message))


async def _hung_up(_request: Request, _error: Exception) -> JSONResponse:
    """Nobody reads this answer; its status goes into the request log."""
    return response_of(ApiError(499, "The client closed the connection before its request was complete."))


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    return response_of(ApiError(500, "Internal error encountered."))
