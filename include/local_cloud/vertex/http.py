"""Reading requests and writing answers, the same for every route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from local_cloud.vertex.errors import ApiError, invalid_argument
from local_cloud.vertex.names import location_name
from local_cloud.vertex.strict_json import read_json
from local_cloud.vertex.wire import snake

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from local_cloud.vertex.wire import Message

    Handler = Callable[[Request], Awaitable[Response]]

VERSIONS = ("v1", "v1beta1")
_BODY_BYTES = 20 * 2**20
_LOCATION = "/projects/{project}/locations/{location}"


def regional(method: str, path: str, handler: Handler) -> list[Route]:
    """Return the routes of a method below ``projects/*/locations/*``, one for each API version."""
    return [Route(f"/{version}{_LOCATION}/{path}", handler, methods=[method]) for version in VERSIONS]


def version_of(request: Request) -> str:
    """Return the API version in the path."""
    return request.url.path.split("/")[1]


def parent_of(request: Request) -> str:
    """Return ``projects/{number}/locations/{location}`` of the path."""
    return location_name(request.path_params["project"], request.path_params["location"])


async def body_of(request: Request, message: Message, path: str = "") -> dict[str, Any]:
    """Return the request body in canonical form; ``path`` is the proto name of the body's field, for errors.

    Raises:
        ApiError: 400 for a body that is not JSON or not of this message, 413 for one over 20 MiB.
    """
    raw = await request.body()
    if len(raw) > _BODY_BYTES:
        raise ApiError(413, f"Request payload size exceeds the limit: {_BODY_BYTES} bytes.")
    try:
        value = read_json(raw) if raw else {}
    except ValueError as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from error
    return message.read(value, path)


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
    try:
        number = int(raw)
    except ValueError:
        raise invalid_argument(f"Invalid value at '{snake(name)}' (TYPE_INT32), \"{raw[:100]}\"") from None
    return number or default


def text(request: Request, name: str) -> str:
    """Return a query parameter in either spelling, empty when it is not given."""
    return request.query_params.get(name) or request.query_params.get(snake(name)) or ""
