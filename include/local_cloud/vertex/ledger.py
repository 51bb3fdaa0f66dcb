"""What only the local Vertex AI has, below ``/_local/``: a log of all requests, counters, and a health check.

A test asks here what the service really saw, and whether a job was ever paid for twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local_cloud.vertex.names import now

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from local_cloud.vertex.store import Store

_BODY_BYTES = 100_000
_NOT_LOGGED = ("/_local/", "/token")


class Ledger:
    """The routes below ``/_local/``; they need no token."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/_local/requests", self._requests, methods=["GET"]),
            Route("/_local/counters", self._counters, methods=["GET"]),
            Route("/_local/health", self._health, methods=["GET"]),
        ]

    async def _requests(self, _request: Request) -> JSONResponse:
        return JSONResponse(self._store.requests())

    async def _counters(self, _request: Request) -> JSONResponse:
        return JSONResponse({"tuning_jobs_created": self._store.counter("tuning_jobs_created")})

    async def _health(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})


class LogRequests:
    """ASGI middleware: writes each API request, with the status it got, to the request log."""

    def __init__(self, app: ASGIApp, store: Store) -> None:
        self._app = app
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log it once its status is known."""
        if scope["type"] != "http" or scope["path"].startswith(_NOT_LOGGED):
            await self._app(scope, receive, send)
            return
        entry: dict[str, Any] = {
            "time": now(),
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
        }
        body = bytearray()

        async def listen() -> Message:
            message = await receive()
            body.extend(message.get("body", b"")[: _BODY_BYTES - len(body)])
            return message

        def log(status: int) -> None:
            self._store.add_request({**entry, "status": status, "body": body.decode(errors="replace") or None})

        async def speak(message: Message) -> None:
            if message["type"] == "http.response.start":
                log(message["status"])  # before it is sent: whoever has the answer finds the request in the log
            await send(message)

        try:
            await self._app(scope, listen, speak)
        except Exception:
            log(500)  # the answer is made further out
            raise
