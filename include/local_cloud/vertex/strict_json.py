"""JSON as Google reads it: no NaN, no Infinity, no half of a surrogate pair.

What could not be answered must not be taken: one such text in a job would make every list of jobs fail.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def read_json(raw: bytes) -> Any:
    """Return the document.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested too deep, or holds what JSON can't say.
    """
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if rb"\u" in raw:
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
