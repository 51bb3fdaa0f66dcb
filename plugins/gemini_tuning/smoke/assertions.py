"""Hold an answer against an assertion."""

from __future__ import annotations

import json
import re

from gemini_tuning.smoke.suite import Assertion


def holds(assertion: Assertion, answer: str) -> bool:
    """Return whether the answer satisfies the assertion. Surrounding white space of the answer never counts."""
    kind = assertion.type.removeprefix("not-")
    return _matches(kind, assertion.value or "", answer.strip()) != assertion.type.startswith("not-")


def _matches(kind: str, value: str, answer: str) -> bool:
    match kind:
        case "equals":
            return answer == value.strip()
        case "contains":
            return value in answer
        case "icontains":
            return value.casefold() in answer.casefold()
        case "regex":
            return re.search(value, answer) is not None
        case "is-json":
            return _is_json(answer)
    raise AssertionError(kind)


def _is_json(answer: str) -> bool:
    try:
        json.loads(answer)
    except ValueError:
        return False
    return True
