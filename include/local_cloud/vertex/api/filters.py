"""List filters: the part of Google's filter language (AIP-160) that finds tuning jobs, models and endpoints.

Comparisons joined by ``AND``: ``labels.KEY="value"``, ``labels.KEY:*`` (has the label), ``labels.KEY``,
``state="JOB_STATE_SUCCEEDED"``, ``tuned_model_display_name="x"`` and the like, with ``=``, ``!=`` or ``:``. What could
never match is refused rather than answered with nothing: a state that there isn't (the short ``SUCCEEDED`` too, since
Google documents only the whole name), and ``*`` as part of a value.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import ApiError, invalid_argument
from local_cloud.vertex.wire.kinds import camel
from local_cloud.vertex.wire.tuning import JOB_STATE

if TYPE_CHECKING:
    from collections.abc import Callable

    Filter = Callable[[dict[str, Any]], bool]

_TERM = re.compile(
    r"""\s*(?P<field>[A-Za-z_][\w-]*(?:\.(?:[\w-]+|"[^"]*"))?)\s*
        (?:(?P<operator>!=|=|:)\s*(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'()]+))?\s*""",
    re.VERBOSE,
)
_AND = re.compile(r"AND\b")
JOB_FIELDS = {
    "name": "name",
    "state": "state",
    "baseModel": "baseModel",
    "displayName": "tunedModelDisplayName",
    "tunedModelDisplayName": "tunedModelDisplayName",
    "description": "description",
    "experiment": "experiment",
}


def parse_filter(text: str, fields: dict[str, str] = JOB_FIELDS) -> Filter:
    """Return a test of canonical documents; ``fields`` says which ones a filter may name, and how they are spelt there.

    Raises:
        ApiError: 400, the text is outside the supported part of the language.
    """
    tests: list[Filter] = []
    position = 0
    while position < len(text.rstrip()):
        if tests:
            joint = _AND.match(text, position)
            if joint is None:
                raise _unsupported(text)
            position = joint.end()
        term = _TERM.match(text, position)
        if term is None or term["field"] in ("NOT", "OR", "AND"):
            raise _unsupported(text)
        tests.append(_test(term["field"], term["operator"], _unquoted(term["value"]), fields, text))
        position = term.end()
    return lambda document: all(test(document) for test in tests)


def _test(field: str, operator: str | None, value: str, fields: dict[str, str], text: str) -> Filter:
    root, _, key = field.partition(".")
    key = key.strip('"')

    def found(document: dict[str, Any]) -> str | None:
        if root == "labels":
            label: str | None = document.get("labels", {}).get(key)
            return label
        current: str | None = document.get(fields[camel(root)])
        return current

    if (root == "labels") != bool(key) or (root != "labels" and camel(root) not in fields):
        raise _unsupported(text)
    if operator is None or (operator == ":" and value == "*"):
        return lambda document: found(document) is not None
    if "*" in value or (root == "state" and value not in JOB_STATE.names):
        raise _unsupported(text)
    if operator == "!=":
        return lambda document: found(document) != value
    return lambda document: found(document) == value


def _unquoted(value: str | None) -> str:
    if value is None or value[0] not in "\"'":
        return value or ""
    if value[0] == "'":
        return value[1:-1]
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]


def _unsupported(text: str) -> ApiError:
    return invalid_argument(f"Invalid list filter: {text[:500]}")
