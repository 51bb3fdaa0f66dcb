"""A server between Google's clients and the local cloud: it records what they say to each other, and can spoil it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

_DROPPED = {"content-length", "transfer-encoding", "connection", "host", "date", "server", "accept-encoding"}
_START_SECONDS = 30


@dataclass
class Exchange:
    """A request and its answer.

    Attributes:
        sent: the body that the client sent.
        official: whether one of Google's client libraries sent it.
        status: of the answer.
        answered: the body that the client got.
    """

    method: str
    path: str
    query: str
    sent: bytes
    official: bool = False
    status: int = 0
    content_type: str = ""
    answered: bytes = b""

    def __str__(self) -> str:
        return f"{self.method} {self.path}?{self.query} -> {self.status}"

    @property
    def request(self) -> Any:
        """The JSON document that was sent; an empty body means an empty one."""
        return json.loads(self.sent) if self.sent else {}

    @property
    def answers(self) -> list[Any]:
        """The JSON documents that were answered: one, or those of a stream, which is events or an array."""
        if self.content_type.startswith("text/event-stream"):
            events = self.answered.decode().split("\r\n\r\n")
            return [json.loads(event.removeprefix("data: ")) for event in events if event]
        document = json.loads(self.answered)
        return document if isinstance(document, list) else [document]

    @property
    def answer(self) -> Any:
        """The JSON document that was answered."""
        (document,) = self.answers
        return document

    @property
    def meaning(self) -> tuple[Any, ...]:
        """All that is said, however it is written."""
        query = sorted(parse_qsl(self.query, keep_blank_values=True))
        answers = self.answers if self.answered else []
        return self.method, self.path, query, self.request, self.status, self.content_type, answers


class Honest:
    """A server that changes nothing. Those derived from it each break one thing."""

    def spoil_request(self, exchange: Exchange) -> None:
        """Change what is passed on to the local cloud."""

    def spoil_answer(self, exchange: Exchange) -> None:
        """Change what the client gets."""


@dataclass
class Proxy:
    """A running proxy.

    Attributes:
        url: where clients find it.
        exchanges: what was said, in order of the answers.
        server: what it does to each exchange.
        spoiled: how many requests and answers were changed by it.
        failures: what went wrong in the proxy itself, or in the server.
    """

    url: str = ""
    exchanges: list[Exchange] = field(default_factory=list)
    server: Honest = field(default_factory=Honest)
    spoiled: int = 0
    failures: list[Exception] = field(default_factory=list)

    @contextlib.contextmanager
    def broken(self, server: Honest) -> Iterator[None]:
        """Let the server be another one for a while, and see what comes of it."""
        self.server, honest = server, self.server
        self.spoiled, self.failures = 0, []
        try:
            yield
        finally:
            self.server = honest

    def spoil(self, change: Callable[[Exchange], None], exchange: Exchange) -> None:
        """Let the server change an exchange."""
        before = exchange.meaning
        change(exchange)
        self.spoiled += exchange.meaning != before


@contextlib.contextmanager
def running_proxy(target: str) -> Iterator[Proxy]:
    """Start a proxy in front of the server ``target``, on a free port."""
    proxy = Proxy()
    client = httpx.AsyncClient(base_url=target, timeout=60, trust_env=False)

    async def answer_to(request: Request) -> Response:
        sent = await request.body()
        exchange = Exchange(request.method, request.url.path, request.url.query, sent)
        exchange.official = "x-goog-api-client" in request.headers
        server = proxy.server
        proxy.spoil(server.spoil_request, exchange)
        headers = [(name, value) for name, value in request.headers.items() if name not in _DROPPED]
        url = f"{exchange.path}?{exchange.query}" if exchange.query else exchange.path
        answer = await client.request(exchange.method, url, content=exchange.sent, headers=headers)
        exchange.sent, exchange.method, exchange.path = sent, request.method, request.url.path
        exchange.query = request.url.query
        exchange.status, exchange.answered = answer.status_code, answer.content
        exchange.content_type = answer.headers.get("content-type", "")
        proxy.spoil(server.spoil_answer, exchange)
        proxy.exchanges.append(exchange)
        kept = {name: value for name, value in answer.headers.items() if name not in _DROPPED | {"content-type"}}
        return Response(exchange.answered, exchange.status, kept, exchange.content_type)

    async def pass_on(request: Request) -> Response:
        try:
            return await answer_to(request)
        except Exception as error:
            proxy.failures.append(error)
            raise

    routes = [Route("/{path:path}", pass_on, methods=["GET", "POST", "PATCH", "DELETE"])]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if time.monotonic() > deadline:
                raise TimeoutError("the proxy did not start")
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy
    finally:
        server.should_exit = True
        thread.join(timeout=_START_SECONDS)
