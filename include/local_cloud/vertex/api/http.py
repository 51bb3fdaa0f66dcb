"""Reading requests and writing answers, the same for every route."""

from __future__ import annotations

import codecs
import zlib
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local_cloud.vertex.errors import ApiError, invalid_argument
from local_cloud.vertex.names import location_name
from local_cloud.vertex.wire.kinds import INT32, snake
from local_cloud.vertex.wire.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Scope

    from local_cloud.vertex.wire.kinds import Message

    Handler = Callable[[Request], Awaitable[Response]]

VERSIONS = ("v1", "v1beta1")
_BODY_BYTES = 20 * 2**20
_GZIP = 16 + zlib.MAX_WBITS
_LOCATION = "/projects/{project}/locations/{location}"


def regional(method: str, path: str, handler: Handler) -> list[Route]:
    """Return the routes of a method below ``projects/*/locations/*``, one for each API version."""
    return [Route(f"/{version}{_LOCATION}/{path}", handler, methods=[method]) for version in VERSIONS]


def version_of(request: Request) -> str:
    """Return the API version in the path."""
    return str(request.scope["path"].split("/")[1])


def target_of(scope: Scope) -> str:
    """Return the path with its query, percent signs of the path resolved."""
    query = scope["query_string"].decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


def parent_of(request: Request) -> str:
    """Return ``projects/{number}/locations/{location}`` of the path."""
    return location_name(request.path_params["project"], request.path_params["location"])


async def body_of(request: Request, message: Message, path: str = "") -> dict[str, Any]:
    """Return the request body in canonical form; ``path`` is the proto name of the body's field, for errors.

    Raises:
        ApiError: 400 for a body that is not JSON or not of this message, 413 for one over 20 MiB.
    """
    raw = await raw_body(request)
    try:
        raw = uncompressed(request.scope, raw, _BODY_BYTES + 1).removeprefix(codecs.BOM_UTF8)
        _check_size(raw)
        value = read_json(raw) if raw else {}
    except ValueError as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from error
    return message.read(value, path)


async def raw_body(request: Request) -> bytes:
    """Return the request body as it was sent.

    Raises:
        ApiError: 413 for one over 20 MiB.
    """
    body = bytearray()
    async for piece in request.stream():
        body += piece
        _check_size(body)  # before the rest has come: it is never kept
    return bytes(body)


def _check_size(body: bytes | bytearray) -> None:
    if len(body) > _BODY_BYTES:
        raise ApiError(413, f"Request payload size exceeds the limit: {_BODY_BYTES} bytes.")


def uncompressed(scope: Scope, body: bytes, limit: int) -> bytes:
    """Return the body, or as much of it as ``limit``, without its ``Content-Encoding: gzip``.

    Raises:
        ValueError: it has another encoding, or not the one it says.
    """
    encoding = b",".join(value for name, value in scope["headers"] if name == b"content-encoding").strip().lower()
    if not body or encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise ValueError(f"Unsupported Content-Encoding: {encoding.decode('latin-1')}")
    unpacking = zlib.decompressobj(_GZIP)
    try:
        plain = unpacking.decompress(body, limit)
    except zlib.error as error:
        raise ValueError(f"The body is not gzip: {error}") from error
    if len(plain) < limit and not unpacking.eof:
        raise ValueError("The gzip body ends too soon.")
    return plain


def enum_numbers(request: Request) -> bool:
    """Whether the client asked for enums as numbers, as Google's generated clients do."""
    return any("enum-encoding=int" in request.query_params.get(name, "") for name in ("$alt", "alt"))


def answer(request: Request, message: Message, value: dict[str, Any]) -> JSONResponse:
    """Return a canonical ``value`` as the answer."""
    return JSONResponse(message.write(value, enum_numbers=enum_numbers(request)))


def whole_number(request: Request, name: str, default: int) -> int:
    """Return a query parameter as a number, ``default`` when it is not given or 0.

    Raises:
        ApiError: 400 when it is something else.
    """
    raw = request.query_params.get(name) or request.query_params.get(snake(name)) or "0"
    return INT32.read(raw, snake(name)) or default


def text(request: Request, name: str) -> str:
    """Return a query parameter in either spelling, empty when it is not given."""
    return request.query_params.get(name) or request.query_params.get(snake(name)) or ""
