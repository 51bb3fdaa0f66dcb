"""JSON as Google reads it: no NaN, no Infinity, no half of a surrogate pair, no endless nesting.

What could not be answered must not be taken: one such text in a job would make every list of jobs fail.
"""

from __future__ import annotations

import codecs
import json
import math
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEPTH = 100
"""Protocol buffers read messages nested this deep."""
_DIGITS = 4000
"""Of a whole number; Python reads a few more."""


def read_json(raw: bytes) -> Any:
    """Return the document.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested too deep, or holds what JSON can't say.
    """
    if raw.startswith(codecs.BOM_UTF8):
        raise ValueError("it begins with a byte order mark")
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if raw.count(b"{") + raw.count(b"[") > _DEPTH and _deeper_than(_DEPTH, value):
        raise ValueError("nested too deep")
    if rb"\u" in raw:
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:50]} is too large a number")
    return number


def _whole(text: str) -> int:
    if len(text) > _DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return int(text)


def _deeper_than(limit: int, value: Any) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
    return any(isinstance(item, (dict, list)) for item in level)


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
