"""Pages of lists: filter, order, page size and page token, the same for everything but tuning jobs.

The lists are as long as what tuning made, so each page is cut from the whole. A page token says how many items were
seen; items that are made meanwhile show up in front of them.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.api.filters import parse_filter
from local_cloud.vertex.api.http import text, whole_number
from local_cloud.vertex.errors import invalid_argument
from local_cloud.vertex.wire.kinds import camel

if TYPE_CHECKING:
    from starlette.requests import Request

_PAGE, _PAGE_LIMIT = 100, 1000
_TOKEN_DIGITS = 19
"""A number of so many might be more than the store can compare with."""
_ORDER = re.compile(r"\s*(\w+)(?:\s+(asc|desc))?\s*", re.IGNORECASE)
ORDERS = ("displayName", "createTime", "updateTime")


def page_of(request: Request, items: list[Any], default: int = _PAGE) -> tuple[list[Any], dict[str, str]]:
    """Return the page that a request asks for, and ``{"nextPageToken": …}`` when there is more.

    Raises:
        ApiError: 400 for a page size or token that can't be.
    """
    return cut(items, whole_number(request, "pageSize", default), text(request, "pageToken"), _PAGE_LIMIT)


def cut(items: list[Any], size: int, token: str, most: int) -> tuple[list[Any], dict[str, str]]:
    """Return the page that begins at a token, ``most`` items at the most; see ``page_of``."""
    if size < 0:
        raise invalid_argument("`page_size` must not be negative.")
    start = read_token("seen", token)
    end = start + min(size, most)
    return items[start:end], {"nextPageToken": write_token("seen", end)} if end < len(items) else {}


def chosen(
    request: Request, documents: list[dict[str, Any]], searched: list[dict[str, Any]], fields: dict[str, str]
) -> list[dict[str, Any]]:
    """Return the documents that pass ``filter``, in the order of ``orderBy``.

    Args:
        request: the request.
        documents: everything there is.
        searched: for each document, the one that the filter looks into.
        fields: what a filter may name, and how ``searched`` spells it.

    Raises:
        ApiError: 400 for a filter or an order that is not supported.
    """
    # google-genai sends its own condition as a second parameter beside the one it was given.
    matches = parse_filter(" AND ".join(filter(None, request.query_params.getlist("filter"))), fields)
    found = [document for document, sought in zip(documents, searched, strict=True) if matches(sought)]
    order = text(request, "orderBy")
    for term in reversed(order.split(",") if order else []):
        match = _ORDER.fullmatch(term)
        if match is None or camel(match[1]) not in ORDERS:
            raise invalid_argument(f"Invalid order: {order[:200]}")
        name = camel(match[1])
        found.sort(key=lambda document: str(document.get(name, "")), reverse=(match[2] or "").lower() == "desc")
    return found


def write_token(mark: str, number: int) -> str:
    """Return a page token: a number, marked with what it counts, so that no list takes the token of another kind."""
    return base64.urlsafe_b64encode(f"{mark}:{number}".encode()).decode()


def read_token(mark: str, token: str) -> int:
    """Return the number in a page token, 0 when there is none.

    Raises:
        ApiError: 400 for what is no token of this mark.
    """
    if not token:
        return 0
    try:
        found, _, number = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        plain = number.isascii() and number.isdecimal() and len(number) < _TOKEN_DIGITS
        if found == mark and plain and int(number):
            return int(number)
    except ValueError:
        pass
    raise invalid_argument("Invalid page token.")
