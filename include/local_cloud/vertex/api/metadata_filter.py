"""Filters of the metadata service: comparisons and functions, joined by AND and OR, in parentheses.

Supported: ``name``, ``display_name``, ``schema_title`` and ``uri`` with ``=`` or ``!=``; ``parent_contexts:"…"`` and
``child_contexts:"…"`` with one name or more; ``in_context("…")``. Names may have the project's id or its number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import ApiError, invalid_argument
from local_cloud.vertex.names import numbered

if TYPE_CHECKING:
    from collections.abc import Callable

    Filter = Callable[[dict[str, Any]], bool]

_DEPTH = 5
_TOKEN = re.compile(r'\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<sign>!=|[=:(),])|(?P<word>[\w.-]+))')
_FIELDS = {"name": "name", "display_name": "displayName", "schema_title": "schemaTitle", "uri": "uri"}
_LISTS = {"parent_contexts": "parentContexts", "child_contexts": "childContexts"}


def parse_metadata_filter(text: str) -> Filter:
    """Return a test of documents with the fields above, ``parentContexts``, ``childContexts`` and ``contexts``.

    Raises:
        ApiError: 400, the text is outside the supported part of the language.
    """
    if not text.strip():
        return lambda _: True
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = []
        position = 0
        while position < len(text.rstrip()):
            token = _TOKEN.match(text, position)
            if token is None:
                raise self._unsupported()
            self._tokens.append(token[0].strip())
            position = token.end()
        self._tokens.reverse()

    def parse(self) -> Filter:
        found = self._all(0)
        if self._tokens:
            raise self._unsupported()
        return found

    def _all(self, depth: int) -> Filter:
        tests = [self._any(depth)]
        while self._next_is("AND"):
            tests.append(self._any(depth))
        return lambda document: all(test(document) for test in tests)

    def _any(self, depth: int) -> Filter:
        """``a OR b``, which binds tighter than AND: AIP-160 has it so."""
        tests = [self._term(depth)]
        while self._next_is("OR"):
            tests.append(self._term(depth))
        return lambda document: any(test(document) for test in tests)

    def _term(self, depth: int) -> Filter:
        if self._next_is("("):
            if depth == _DEPTH:
                raise self._unsupported()
            inner = self._all(depth + 1)
            self._expect(")")
            return inner
        field = self._take()
        if field == "in_context":
            self._expect("(")
            context = numbered(self._value())
            self._expect(")")
            return lambda document: context in document.get("contexts", ())
        if field in _LISTS:
            self._expect(":")
            wanted = {numbered(self._value())}
            while self._next_is(","):
                wanted.add(numbered(self._value()))
            return lambda document: wanted <= set(document.get(_LISTS[field], ()))
        if field not in _FIELDS:
            raise self._unsupported()
        operator, value = self._take(), self._value()
        if operator not in ("=", "!="):
            raise self._unsupported()
        value = numbered(value)
        return lambda document: (document.get(_FIELDS[field]) == value) == (operator == "=")

    def _next_is(self, token: str) -> bool:
        if self._tokens and self._tokens[-1] == token:
            self._tokens.pop()
            return True
        return False

    def _take(self) -> str:
        if not self._tokens:
            raise self._unsupported()
        return str(self._tokens.pop())

    def _expect(self, token: str) -> None:
        if self._take() != token:
            raise self._unsupported()

    def _value(self) -> str:
        token = self._take()
        if not token.startswith('"'):
            raise self._unsupported()
        return re.sub(r"\\(.)", r"\1", token[1:-1])

    def _unsupported(self) -> ApiError:
        return invalid_argument(f"Invalid list filter: {self._text[:500]}")
