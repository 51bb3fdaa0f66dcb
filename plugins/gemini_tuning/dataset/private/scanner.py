"""Look for private data in a dataset, where somebody asked for that. What is found is never shown in full."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from gemini_tuning.dataset.codes import Fault, Severity
from gemini_tuning.dataset.private.checksums import CHECKSUMS
from gemini_tuning.dataset.private.kinds import (
    Found,
    api_keys,
    cards,
    emails,
    ending,
    ibans,
    may_hold_email,
    may_hold_key,
    numbers,
    phones,
)
from gemini_tuning.errors import ConfigError
from gemini_tuning.explain import did_you_mean


class Kind(StrEnum):
    """What can be looked for without configuration."""

    API_KEY = "api-key"
    IBAN = "iban"
    CARD = "card"
    EMAIL = "email"
    PHONE = "phone"

    @property
    def code(self) -> str:
        """The code of its findings."""
        return f"private-{self}"


PATTERN_CODE = "private-id"  # the code of what configured patterns find


class Pattern(NamedTuple):
    """A kind of number that an organisation or a country has.

    :param name: what findings call it, such as ``Dutch citizen number``.
    :param expression: a regular expression; its first group, if any, is the number.
    :param checksum: a name in ``checksums.CHECKSUMS``; spaces, dots, hyphens and slashes are left out before it.
    """

    name: str
    expression: str
    checksum: str | None = None


Detect = Callable[[str, int, int], Iterator[Found]]


class _Detector(NamedTuple):
    code: str
    name: str
    needs_digits: bool
    detect: Detect


# What an earlier one found is not offered to a later one; configured patterns come after the cards.
_BEFORE = (
    _Detector(Kind.API_KEY.code, "an API key or token", False, api_keys),
    _Detector(Kind.IBAN.code, "a bank account number (IBAN)", True, ibans),
    _Detector(Kind.CARD.code, "a payment card number", True, cards),
)
_AFTER = (
    _Detector(Kind.EMAIL.code, "an e-mail address", False, emails),
    _Detector(Kind.PHONE.code, "a phone number", True, phones),
)
_HINT = "Replace it by a made-up one: a tuned model may repeat what it has learned."
_KEY_HINT = "Revoke it, and write a placeholder: a tuned model may repeat what it has learned."
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_DASH = re.compile("[\u2010-\u2015\u2212]")
_SEPARATORS = re.compile(r"[\s./\-]")


class Scanner:
    """Finds private data in texts.

    :param kinds: what to look for.
    :param patterns: national ids and the like.
    :raises ConfigError: for an expression or a checksum that is none.
    """

    def __init__(self, kinds: Collection[Kind] = tuple(Kind), patterns: Iterable[Pattern] = ()) -> None:
        codes = {kind.code for kind in kinds}
        before, after = ([detector for detector in some if detector.code in codes] for some in (_BEFORE, _AFTER))
        self._configured = tuple(map(_configured, patterns))
        self._detectors = (*before, *self._configured, *after)

    def severities(self, *, block: bool) -> dict[str, Severity]:
        """Return the severity of each code it can give: ``error`` to block the dataset, ``warning`` to report."""
        severity: Severity = "error" if block else "warning"
        return dict.fromkeys((detector.code for detector in self._detectors), severity)

    def faults(self, document: Any) -> Iterator[Fault]:
        """Yield one fault for each kind found in a string of a parsed line: the first, masked, and how many more.

        Keys of objects are not looked at.
        """
        if self._worth_a_look(document):
            for path, text in _texts(document):
                yield from self._of_text(path, _plain(text))

    def _worth_a_look(self, document: Any) -> bool:
        """Whether any string can hold something; most lines are done with here."""
        if self._configured:
            return True
        text = _plain("\n".join(_strings(document)))
        return may_hold_email(text) or may_hold_key(text) or bool(numbers(text))

    def _of_text(self, path: str, text: str) -> Iterator[Fault]:
        whole, digits = [(0, len(text))], numbers(text)
        for code, name, needs_digits, detect in self._detectors:
            found = [here for span in (digits if needs_digits else whole) for here in detect(text, *span)]
            if found:
                yield _fault(code, name, found, path)
                text = _without(text, found)


def _strings(document: Any) -> list[str]:
    found, waiting = [], [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            found.append(node)
        elif isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return found


def _texts(document: Any) -> Iterator[tuple[str, str]]:
    """Yield the JSON path of every string in a parsed line, and the string, in the order of the line."""
    waiting = [("", document)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, str):
            yield path, node
        elif isinstance(node, dict):
            waiting += [(f"{path}.{key}" if path else key, value) for key, value in reversed(node.items())]
        elif isinstance(node, list):
            waiting += [(f"{path}[{place}]", node[place]) for place in reversed(range(len(node)))]


def _fault(code: str, name: str, found: list[Found], path: str) -> Fault:
    first = min(found).masked
    others = len({(here.length, here.masked) for here in found}) - 1
    more = f", and {others} more" if others else ""
    hint = _KEY_HINT if code == Kind.API_KEY.code else _HINT
    return Fault(code, f"what looks like {name}: {first}{more}", hint, path)


def _without(text: str, found: list[Found]) -> str:
    """Blank out what was found, so that nothing else finds a part of it."""
    pieces, behind = [], 0
    for here in sorted(found):
        pieces += [text[behind : here.start], "\n" * (here.end - max(here.start, behind))]
        behind = max(behind, here.end)
    return "".join([*pieces, text[behind:]])


def _configured(pattern: Pattern) -> _Detector:
    """Make a detector of a pattern; a wrong expression or checksum is the configuration's fault."""
    try:
        expression = re.compile(pattern.expression)
    except re.error as error:
        raise ConfigError(
            f"private data: the expression of {pattern.name!r} is no regular expression: {error}."
        ) from None
    if pattern.checksum is not None and pattern.checksum not in CHECKSUMS:
        raise ConfigError(
            f"private data: {pattern.name!r} has the checksum {pattern.checksum!r}"
            f"{did_you_mean(pattern.checksum, CHECKSUMS)}; known are {', '.join(CHECKSUMS)}."
        )
    holds = CHECKSUMS[pattern.checksum] if pattern.checksum else bool

    def detect(text: str, start: int, end: int) -> Iterator[Found]:
        for match in expression.finditer(text, start, end):
            first, last = match.span(1 if expression.groups and match[1] is not None else 0)
            number = _SEPARATORS.sub("", text[first:last])
            if number and holds(number):
                yield Found(first, last, ending(number))

    return _Detector(PATTERN_CODE, pattern.name, False, detect)


def _plain(text: str) -> str:
    """Return a text with full-width and other digits, odd spaces and dashes written plainly, invisible ones left out.

    Numbers are hidden so by accident and on purpose; places in the text differ from then on, and nobody asks for them.
    """
    if text.isascii():
        return text
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    text = _DASH.sub("-", _INVISIBLE.sub("", text))
    return _OTHER_DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), text)
