"""What the service saw, below ``/_local/``: a log of the API's requests, counters, and a health check.

A test asks here what a client really sent, and whether a job was ever paid for twice.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from local_cloud.vertex.api.http import uncompressed, whole_number
from local_cloud.vertex.control.faults import STRUCK
from local_cloud.vertex.errors import invalid_argument
from local_cloud.vertex.names import now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from local_cloud.vertex.jobs.store import Store

KEPT_REQUESTS = 100_000
_SPARE_REQUESTS = 1_000
_BODY_BYTES = 100_000
_PAGE = 500
_NOT_LOGGED = ("/_local/", "/token")
_SECRET = re.compile(r"(?<![^&])((?:access_token|key)=)[^&]*")
_COLUMNS = ("id", "time", "method", "path", "query", "status", "milliseconds", "fault", "body")
_TABLE = """
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL,
    query TEXT NOT NULL, status INTEGER, milliseconds REAL NOT NULL, fault INTEGER, body TEXT NOT NULL)
"""


class RequestLog:
    """The table of requests. It keeps the last 100,000, and up to 1,000 more."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute(_TABLE)
        db.create_function("regexp", 2, lambda pattern, text: re.search(pattern, text) is not None, deterministic=True)

    def add(self, entry: dict[str, Any]) -> None:
        """Append a request; ``entry`` has all columns but the id."""
        marks = ", ".join(f":{name}" for name in _COLUMNS[1:])
        added = self._db.execute(f"INSERT INTO requests VALUES (NULL, {marks})", entry).lastrowid or 0  # noqa: S608
        if added % _SPARE_REQUESTS == 0:
            self._db.execute("DELETE FROM requests WHERE id <= ?", (added - KEPT_REQUESTS,))

    def page(self, after: int, limit: int, conditions: dict[str, Any]) -> list[dict[str, Any]]:
        """Return at most ``limit`` requests later than ``after``, oldest first, that meet the SQL ``conditions``."""
        where = " AND ".join(("id > ?", *conditions))
        query = f"SELECT {', '.join(_COLUMNS)} FROM requests WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608
        rows = self._db.execute(query, (after, *conditions.values(), limit))
        return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]

    def clear(self) -> None:
        """Forget all requests; their ids are not used again."""
        self._db.execute("DELETE FROM requests")


class Ledger:
    """The routes; they need no token.

    ``GET /_local/requests`` takes the filters ``method``, ``path`` (a regular expression that is searched for in the
    path with its query, as in a fault), ``status`` (``null`` for a request that got no answer), ``after`` (an id) and
    ``limit``. The answer is a list, oldest first, with every field in each entry: ``id``, ``time`` of arrival,
    ``method``, ``path``, ``query``, ``status``, ``milliseconds`` until the answer began, ``fault`` (the number of the
    fault that struck, or null) and ``body``: the text as it was sent, cut at 100 kB. DELETE clears the log.
    """

    def __init__(self, store: Store, log: RequestLog) -> None:
        self._store = store
        self._log = log

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/_local/requests", self._requests, methods=["GET"]),
            Route("/_local/requests", self._clear, methods=["DELETE"]),
            Route("/_local/counters", self._counters, methods=["GET"]),
            Route("/_local/health", self._health, methods=["GET"]),
        ]

    async def _requests(self, request: Request) -> StreamingResponse:
        conditions = _conditions(request)
        limit = whole_number(request, "limit", 2**31)
        after = whole_number(request, "after", 0)
        if after < 0 or limit < 0:
            raise invalid_argument("`after` and `limit` must not be negative.")
        return StreamingResponse(self._pages(after, limit, conditions), media_type="application/json")

    async def _pages(self, after: int, left: int, conditions: dict[str, Any]) -> AsyncIterator[str]:
        """Yield the answer in pieces: 100,000 requests must not stop the service while they are read."""
        opening = "["
        while page := self._log.page(after, min(left, _PAGE), conditions):
            yield opening + ",\n".join(map(json.dumps, page))
            opening = ",\n"
            after, left = page[-1]["id"], left - len(page)
        yield "[]" if opening == "[" else "]"

    async def _clear(self, _request: Request) -> JSONResponse:
        self._log.clear()
        return JSONResponse({})

    async def _counters(self, _request: Request) -> JSONResponse:
        """The jobs ever created, the trainings ever started (more than jobs after a restart), the tokens issued."""
        names = ("tuning_jobs_created", "trainings_started", "tokens_issued")
        return JSONResponse({name: self._store.counter(name) for name in names})

    async def _health(self, _request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})


def _conditions(request: Request) -> dict[str, Any]:
    """Return the SQL conditions that the filters mean, with their values."""
    conditions: dict[str, Any] = {}
    if method := request.query_params.get("method"):
        conditions["method = ?"] = method.upper()
    if pattern := request.query_params.get("path"):
        try:
            re.compile(pattern)
        except re.error as error:
            raise invalid_argument(f"`path` is not a regular expression: {error}.") from error
        conditions["iif(query = '', path, path || '?' || query) REGEXP ?"] = pattern
    if status := request.query_params.get("status"):
        conditions["status IS ?"] = None if status == "null" else whole_number(request, "status", 0)
    return conditions


class LogRequests:
    """ASGI middleware: writes each API request, with the status it got, to the request log."""

    def __init__(self, app: ASGIApp, log: RequestLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and log it once its status is known."""
        if scope["type"] != "http" or scope["path"].startswith(_NOT_LOGGED):
            await self._app(scope, receive, send)
            return
        arrival, began = now(), time.perf_counter()
        body = bytearray()
        logged = False

        async def listen() -> Message:
            message = await receive()
            body.extend(message.get("body", b"")[: max(0, _BODY_BYTES - len(body))])
            return message

        def log(status: int | None) -> None:
            nonlocal logged
            logged = True
            self._log.add({
                "time": arrival,
                "method": scope["method"],
                "path": scope["path"],
                "query": _SECRET.sub(r"\1…", scope["query_string"].decode("latin-1")),
                "status": status,
                "milliseconds": round(1000 * (time.perf_counter() - began), 3),
                "fault": scope.get(STRUCK),
                "body": _text(scope, bytes(body)),
            })

        async def speak(message: Message) -> None:
            if message["type"] == "http.response.start":
                log(message["status"])  # before it is sent: whoever has the answer finds the request in the log
            await send(message)

        try:
            await self._app(scope, listen, speak)
        except Exception:
            if not logged:
                log(500)  # the answer is made further out
            raise
        if not logged:
            log(None)


def _text(scope: Scope, body: bytes) -> str:
    with contextlib.suppress(ValueError):  # then it is logged as it came
        body = uncompressed(scope, body, _BODY_BYTES)
    return body.decode(errors="replace")
