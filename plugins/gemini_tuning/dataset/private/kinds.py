"""What private data looks like, kind by kind, and where it stands in a text. Made to miss little and to cry wolf less.

A detector gets a text and the span to look at, and yields what it found from left to right, each place once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from gemini_tuning.dataset.private.checksums import IBAN_LENGTHS, iban, luhn


class Found(NamedTuple):
    """Where something private stands in a text, and how it may be shown."""

    start: int
    end: int
    masked: str

    @property
    def length(self) -> int:
        """Characters it takes."""
        return self.end - self.start


def ending(number: str) -> str:
    """Mask a number: its last four digits, and less than half of a short one."""
    shown = min(4, max(len(number) // 2 - 1, 0))
    return "…" + number[len(number) - shown :]


_AT = re.compile(r"[\[(] ?at ?[\])]", re.IGNORECASE)
_EMAIL = re.compile(
    r"(?<![\w.+%-])([\w+%-][\w.+%-]{0,63})(?:@|[ ]?[\[(][ ]?at[ ]?[\])][ ]?)"
    r"((?:[^\W_](?:[\w-]{0,61}[^\W_])?(?:\.|[ ]?[\[(][ ]?dot[ ]?[\])][ ]?)){1,8})"
    r"(?!(?:png|jpe?g|gif|svg|webp|js|css|html?)(?![\w-]))([^\W\d_]{2,24})(?![\w@-])(?!:[\w/])",
    re.IGNORECASE,
)


def emails(text: str, start: int, end: int) -> Iterator[Found]:
    """Yield e-mail addresses, also with (at) and [dot]. File names such as icon@2x.png are none."""
    if not may_hold_email(text):
        return
    for match in _EMAIL.finditer(text, start, end):
        local, domain, top = match.groups()
        yield Found(*match.span(), f"{_first(local)}@{_first(domain.rstrip('. '))}.{top}")


def may_hold_email(text: str) -> bool:
    """Whether to look closer; costs little."""
    return "@" in text or (("(" in text or "[" in text) and _AT.search(text) is not None)


def _first(name: str) -> str:
    return f"{name[0]}…" if len(name) > 2 else "…"


# ITU-T E.164: the assigned country codes.
_COUNTRY = (
    r"(?:1|7|2[07]|2[1-69]\d|3[0-469]|3[578]\d|4[013-9]|42\d|5[1-8]|5[09]\d|6[0-6]|6[789]\d|8[1246]|8[0578]\d|"
    r"9[0-58]|9[679]\d)"
)
_KEYWORD = (
    r"\b(?:tel(?:\.|efono?|ephone|éfono)?|phone|mobile|mobil|cell|handy|fax|fon|whatsapp|sms|ring|call|電話番?号?|携帯)"
)
_PHONES = (
    # with a plus sign; with 00 only where it is divided as people do
    re.compile(rf"(?<![\w+.,])\+ ?{_COUNTRY}(?:[ .\-/]?\(?\d{{1,5}}\)?){{2,6}}(?![\w]|[.,]\d)"),
    re.compile(rf"(?<![\w+.,\-/])(?<!\d )00 ?{_COUNTRY}(?:[ \-/]\(?\d{{2,8}}\)?){{2,5}}(?![\w]|[.,\-/]\d)"),
    # North America
    re.compile(
        r"(?<![\w.\-/])(?:1[ .\-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d([.\-]))[2-9]\d\d(?(1)\1|[ .\-])\d{4}(?![\w]|[.,\-]\d)"
    ),
    # Japan and others: 0 and groups by hyphens; France: 0 and pairs; a code in parentheses
    re.compile(r"(?<![\w.\-/])(?=(?:\d-?){10,11}(?![\d\-]))0[1-9]\d{0,3}-\d{1,4}-\d{4}(?![\w]|[.,/]\d)"),
    re.compile(r"(?<![\w.,\-/])0[1-9](?:([ .\-])\d\d)(?:\1\d\d){3}(?![\w]|[ .,\-/]\d)"),
    re.compile(r"(?<![\w.,\-/])\(0\d{1,5}\) ?\d{2,4}(?:[ \-/]?\d{2,6}){1,3}(?![\w]|[.,\-/]\d)"),
    # anything after a word such as phone
    re.compile(
        rf"{_KEYWORD}(?:[ .:#=]{{0,3}}(?:number|no|nr|nummer|num|is|me|us|at|on|under)\b){{0,3}}"
        r"[ .:#=]{0,3}(?P<number>\(?\d(?:[ .\-/()]{0,2}\d){6,14})(?![\w]|[.,]\d)",
        re.IGNORECASE,
    ),
)
_DATE = re.compile(r"(?:19|20)\d\d([-./])\d\d?\1\d\d?(?!\d)|\d\d?([-./])\d\d?\2(?:19|20)\d\d(?!\d)")
_NUMBER = re.compile(r"[0-9](?:[ .\-/()_]{0,2}[0-9]){6,}")
_FEWEST_DIGITS = 7
_NO_DIGITS = bytes(byte for byte in range(256) if not chr(byte).isdecimal() or byte > 127)
_KEYWORD_REACH = 40


def numbers(text: str) -> list[tuple[int, int]]:
    """Return the spans of seven digits and more that may belong together; costs little where there are none."""
    if len(text.encode("utf-8", "replace").translate(None, _NO_DIGITS)) < _FEWEST_DIGITS:
        return []
    spans = [match.span() for match in _NUMBER.finditer(text)]
    return [
        (start - (text[start - 1 : start] in ("+", "(")), end)
        for start, end in spans
        if not _DATE.fullmatch(text, start, end)
    ]


def phones(text: str, start: int, end: int) -> Iterator[Found]:
    """Yield phone numbers: international ones, those divided as people write them, and those called so."""
    found = sorted(
        match.span("number" if "number" in pattern.groupindex else 0)
        for pattern in _PHONES
        for match in pattern.finditer(text, max(start - _KEYWORD_REACH, 0), end + 2)
    )
    behind = start
    for first, last in found:
        digits = only_digits(text[first:last])
        enough = _FEWEST_DIGITS <= len(digits) <= 15 + 2 * digits.startswith("00")
        if enough and first >= behind and not _DATE.match(text, first, last):
            yield Found(first, last, ending(digits))
            behind = last


# ISO/IEC 7812 issuer prefixes, with the lengths their cards have.
_ISSUERS = (
    (re.compile(r"4"), {13, 16, 19}),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),
    (re.compile(r"3[47]"), {15}),
    (re.compile(r"6011|64[4-9]|65|62|35(?:2[89]|[3-8])"), {16, 17, 18, 19}),
    (re.compile(r"30[0-5]|309|36|3[89]"), {14, 16}),
    (re.compile(r"50(?:18|20|38)|5893|6304|67(?:59|6[123])"), set(range(12, 20))),
)
_SHAPES = {(4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 6, 5), (4, 6, 4), *((length,) for length in range(12, 20))}
_CARD_RUN = re.compile(r"(?<![\w.,/])\d(?:[ .\-_]{0,2}\d){11,}(?![\w/])")
_GROUP = re.compile(r"\d+")


def cards(text: str, start: int, end: int) -> Iterator[Found]:
    """Yield payment card numbers: an issuer's prefix, a length it uses, and the right check digit."""
    for run in _CARD_RUN.finditer(text, start, end + 1):
        groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
        place = 0
        while place < len(groups):
            count = next((count for count in _windows(groups, place) if _is_card(text, groups, place, count)), 0)
            if count:
                first, last = groups[place][0], groups[place + count - 1][1]
                yield Found(first, last, ending(only_digits(text[first:last])))
            place += count or 1


def _windows(groups: list[tuple[int, int]], place: int) -> Iterator[int]:
    """Yield how many groups from one on may be a card: divided as on a card, or all there are."""
    if place == 0 and len(groups) <= 19:
        yield len(groups)
    for count in (5, 4, 3, 1):
        window = groups[place : place + count]
        if len(window) == count and tuple(end - start for start, end in window) in _SHAPES:
            yield count


def _is_card(text: str, groups: list[tuple[int, int]], place: int, count: int) -> bool:
    start, end = groups[place][0], groups[place + count - 1][1]
    if count == 1 and ("." in text[max(start - 1, 0) : start] or re.match(r"\.\d", text[end : end + 2])):
        return False  # a decimal fraction
    number = only_digits(text[start:end])
    issued = any(len(number) in lengths and prefix.match(number) for prefix, lengths in _ISSUERS)
    return issued and luhn(number)


_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}[ \-]?\d\d(?=(?:[ \-]{0,2}[A-Z0-9]){11})", re.IGNORECASE)
_BANK_REACH = 20  # letters, such as a bank's, may stand before the first digits
_NEXT = re.compile(r"[ \-]{0,2}([A-Z0-9])", re.IGNORECASE)


def ibans(text: str, start: int, end: int) -> Iterator[Found]:
    """Yield bank account numbers: the length of their country and right check digits."""
    for head in _IBAN.finditer(text, max(start - _BANK_REACH, 0), end + _BANK_REACH):
        number = "".join(filter(str.isalnum, head[0])).upper()
        length, last = IBAN_LENGTHS.get(number[:2], 0), head.end()
        while len(number) < length and (more := _NEXT.match(text, last)):
            number, last = number + more[1].upper(), more.end()
        if iban(number) and not text[last : last + 1].isalnum():
            yield Found(head.start(), last, f"{number[:2]}{ending(number)}")


# What each begins with may be shown: it is the same for everyone.
_KEYS = {
    prefix: re.compile(rf"(?<![A-Za-z0-9_\-]){expression}")
    for prefix, expression in {
        "AIza": r"AIza[\w-]{35}",
        "ya29.": r"ya29\.[\w-]{20,}",
        "GOCSPX-": r"GOCSPX-[\w-]{20,}",
        "AKIA": r"AKIA[0-9A-Z]{16}(?!\w)",
        "ASIA": r"ASIA[0-9A-Z]{16}(?!\w)",
        "gh": r"gh[pousr]_[A-Za-z0-9]{30,}",
        "github_pat_": r"github_pat_\w{22,}",
        "glpat-": r"glpat-[\w-]{20,}",
        "xox": r"xox[abeoprs]-[A-Za-z0-9-]{10,}",
        "sk_live_": r"sk_live_[A-Za-z0-9]{16,}",
        "rk_live_": r"rk_live_[A-Za-z0-9]{16,}",
        "sk-": r"sk-(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{20,}",
        "hf_": r"hf_[A-Za-z]{30,}",
        "eyJ": r"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    }.items()
}
_PEM = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")


def api_keys(text: str, start: int, end: int) -> Iterator[Found]:
    """Yield keys and tokens by the prefixes their issuers gave them, and private keys in PEM."""
    found = [
        Found(*match.span(), f"{prefix}…")
        for prefix, pattern in _KEYS.items()
        if prefix in text
        for match in pattern.finditer(text, start, end)
    ]
    if "PRIVATE KEY" in text:
        found += [Found(*match.span(), "PEM…") for match in _PEM.finditer(text, start, end)]
    yield from sorted(found)


def may_hold_key(text: str) -> bool:
    """Whether to look closer; costs little."""
    return any(map(text.__contains__, _KEYS)) or "PRIVATE KEY" in text


def only_digits(text: str) -> str:
    """Return the digits of a text."""
    return "".join(filter(str.isdigit, text))
