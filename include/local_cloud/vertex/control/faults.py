"""What goes wrong with requests, as scripted by the ``faults`` rules, and the latency of every call."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from local_cloud.vertex.api.errors import response_of
from local_cloud.vertex.api.http import target_of
from local_cloud.vertex.control.connections import cut
from local_cloud.vertex.control.script import Fault
from local_cloud.vertex.errors import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from local_cloud.vertex.control.rules import Rules
    from local_cloud.vertex.settings import Settings

STRUCK = "local_cloud.fault"
"""Key of a request's scope: the number of the fault that struck it."""

_MESSAGES = {
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
    403: "The caller does not have permission",
    429: "Resource exhausted. Please try again later.",
    500: "Internal error encountered.",
    503: "The service is currently unavailable.",
    504: "Deadline expired before operation could complete.",
}
_CUT_JSON = b'{"name": "projects/'
_OK: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}


class InjectFaults:
    """ASGI middleware: lets the scripted faults happen.

    The control API below ``/_local/`` is spared. The token endpoint is only struck by a fault whose ``path`` names it:
    one that means every call means the calls of the API.
    """

    def __init__(self, app: ASGIApp, rules: Rules, settings: Settings) -> None:
        self._app = app
        self._rules = rules
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or let it fail."""
        if scope["type"] != "http" or scope["path"].startswith("/_local/"):
            await self._app(scope, receive, send)
            return
        fault = self._take(scope)
        latency = self._settings.behaviour.latency_seconds
        if fault is None:
            await self._app(scope, receive, _late(send, latency))
            return
        fails = fault.status or fault.drop or fault.truncate or fault.invalid_json
        delay = latency + fault.delay_seconds
        if fault.work_is_done:
            answer: list[Message] = []
            await self._app(scope, receive, _into(answer))
            await asyncio.sleep(delay)
        elif fails:
            answer = [_OK, {"type": "http.response.body", "body": _CUT_JSON * 2}]
            await _rest_of(receive)
            await asyncio.sleep(delay)
        else:
            asked = await _rest_of(receive)
            await asyncio.sleep(delay)
            await self._app(scope, _from(asked, receive), send)
            return
        await _fail(fault, answer, scope, receive, send)

    def _take(self, scope: Scope) -> Fault | None:
        target = target_of(scope)
        everything_else = scope["path"] != "/token"

        def matches(fault: Fault) -> bool:
            named = bool(fault.path) or everything_else
            return named and fault.method in (None, scope["method"]) and re.search(fault.path, target) is not None

        taken = self._rules.take(Fault, matches)
        if taken is None:
            return None
        scope[STRUCK], fault = taken
        return fault


async def _fail(fault: Fault, answer: list[Message], scope: Scope, receive: Receive, send: Send) -> None:
    """Do to a whole ``answer`` what the fault says."""
    if fault.drop:
        await cut(scope, receive)
    elif fault.status:
        text = fault.message or _MESSAGES.get(fault.status) or _phrase(fault.status)
        response = response_of(ApiError(fault.status, text))
        if fault.retry_after is not None:
            response.headers["Retry-After"] = str(fault.retry_after)
        await response(scope, receive, send)
    elif fault.invalid_json:
        await send(_with_length(_OK, len(_CUT_JSON)))
        await send({"type": "http.response.body", "body": _CUT_JSON})
    elif fault.truncate:
        await send(answer[0])
        await send({"type": "http.response.body", "body": _beginning(answer), "more_body": True})
        await cut(scope, receive)
    else:
        for message in answer:
            await send(message)


def _beginning(answer: list[Message]) -> bytes:
    """Return half of an answer's body; of one that comes in pieces (a stream) at least the first piece."""
    pieces = [message["body"] for message in answer[1:] if message.get("body")]
    body = b"".join(pieces)
    is_stream = answer[1].get("more_body", False)
    return body[: max(len(body) // 2, len(pieces[0]) if is_stream and pieces else 0)]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


def _with_length(start: Message, length: int) -> Message:
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    return {**start, "headers": [*headers, (b"content-length", b"%d" % length)]}


def _late(send: Send, seconds: float) -> Send:
    """Return a ``send`` whose answer begins so much later."""
    if not seconds:
        return send

    async def speak(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return speak


def _into(answer: list[Message]) -> Send:
    async def speak(message: Message) -> None:
        answer.append(message)

    return speak


async def _rest_of(receive: Receive) -> list[Message]:
    """Return the messages of the request body: it is read first, as a client may be gone after a delay."""
    asked = [await receive()]
    while asked[-1].get("more_body"):
        asked.append(await receive())
    return asked


def _from(asked: list[Message], receive: Receive) -> Receive:
    waiting = iter(asked)

    async def listen() -> Message:
        return next(waiting, None) or await receive()

    return listen
