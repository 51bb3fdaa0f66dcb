"""Text to tokens and back, exactly.

A token is a case-folded word or number, one symbol with the single spaces around it, a run of other white space, or
a marker. A single space between two words is implied; everything else is spelled out, so that joining the tokens of
any valid Unicode text gives the same text back, JSON documents included. (A lone surrogate, which is no character,
becomes U+FFFD.) Folding case into markers lets the learner answer ``Hi Farid`` to a customer who wrote ``farid``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator

CAPITAL, UPPER, GLUE, END_OF_TURN = "<capital>", "<upper>", "<glue>", "<end-of-turn>"
SPELL, SPELLED = "<spell>", "<spelled>"
BYTES = tuple(f"<byte-{value:02x}>" for value in range(256))
MARKERS = frozenset((CAPITAL, UPPER, GLUE, END_OF_TURN, SPELL, SPELLED, *BYTES))
"""Tokens that no text contains: the tokeniser never yields a token of several symbols."""

_BYTE_VALUE = {token: value for value, token in enumerate(BYTES)}
# Scripts written without spaces are taken character by character, as symbols are.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_PATTERN = re.compile(
    rf"(?P<word>(?:(?![{_UNSPACED}])[^\W\d_]){{1,40}}|\d{{1,16}})"
    rf"|[{_UNSPACED}]"
    r"|\ ?(?:[^\w\s]|_)\ ?"
    r"|\ {1,8}|[^\S ]{1,8}|.",
    re.DOTALL,
)
_WORD = re.compile(rf"(?:(?![{_UNSPACED}])[^\W\d_])+|\d+")
_SURROGATE = re.compile("[\ud800-\udfff]")


@functools.lru_cache(maxsize=65_536)
def is_word(token: str) -> bool:
    """Whether two such tokens in a row are written with a space between them."""
    return token == SPELL or _WORD.fullmatch(token) is not None


def tokens_of(text: str) -> list[str]:
    """The tokens of a text; :func:`text_of` is the inverse."""
    tokens: list[str] = []
    after_word, space = False, False
    for match in _PATTERN.finditer(_SURROGATE.sub("\ufffd", text)):
        piece = match.group()
        if match.group("word") is None:
            if piece == " " and after_word and not space:
                space = True
                continue
            if space:
                tokens.append(" ")
            tokens.append(piece)
            after_word, space = False, False
            continue
        if after_word and not space:
            tokens.append(GLUE)
        tokens.extend(_fold(piece))
        after_word, space = True, False
    if space:
        tokens.append(" ")
    return tokens


def text_of(tokens: Iterable[str]) -> str:
    """The text that the tokens stand for. Any sequence is accepted; markers without a word are dropped."""
    decoder = Decoder()
    return "".join([*map(decoder.push, tokens), decoder.finish()])


def spell(token: str) -> Iterator[str]:
    """A token that no vocabulary knows, written as its UTF-8 bytes."""
    word = is_word(token)
    if word:
        yield SPELL
    for value in token.encode():
        yield BYTES[value]
    if word:
        yield SPELLED


@functools.lru_cache(maxsize=65_536)
def _fold(word: str) -> tuple[str, ...]:
    """Case folded away into a marker, where unfolding gives the same letters back."""
    lower = word.lower()
    if word == lower:
        return (word,)
    if len(lower) == len(word):
        if lower[0].upper() + lower[1:] == word:
            return (CAPITAL, lower)
        if lower.upper() == word:
            return (UPPER, lower)
    for cut in range(1, len(word)):
        before, after = word[cut - 1], word[cut]
        if before.isupper() != after.isupper() and (cut > 1 or after.isupper()):
            return (*_fold(word[:cut]), GLUE, *_fold(word[cut:]))
    return (word,)


class Decoder:
    """Turns tokens into text one at a time."""

    def __init__(self) -> None:
        self._after_word = self._glued = self._spelling = False
        self._case = ""
        self._bytes = bytearray()

    def push(self, token: str) -> str:
        """The text that this token adds."""
        value = _BYTE_VALUE.get(token)
        if value is not None:
            self._bytes.append(value)
            return ""
        text = self.finish()
        if token == SPELL:
            self._spelling = True
        elif token in (CAPITAL, UPPER):
            self._case = token
        elif token == GLUE:
            self._glued = True
        elif token not in MARKERS:
            text += self._write(token, is_word(token))
        return text

    def finish(self) -> str:
        """The text of bytes still held back; invalid ones become U+FFFD."""
        if not self._bytes and not self._spelling:
            return ""
        text, word = self._bytes.decode(errors="replace"), self._spelling
        self._bytes.clear()
        self._spelling = False
        return self._write(text, word)

    def _write(self, token: str, word: bool) -> str:
        if not token:
            return ""
        if word and self._case:
            token = token.upper() if self._case == UPPER else token[0].upper() + token[1:]
        space = " " if word and self._after_word and not self._glued else ""
        self._after_word, self._glued, self._case = word, False, ""
        return space + token
