"""Tell a text of which nothing can be seen: to the parser it is more than white space, to a reader it is empty."""

from __future__ import annotations

import unicodedata

# White space, control and format characters are known by their category; these are letters and marks that show nothing:
# combining grapheme joiner, Hangul fillers, Khmer inherent vowels, variation selectors, blank braille.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})


def nothing_to_see(text: str) -> bool:
    """Whether a text is of characters, none of which shows."""
    if not text or (text[0].isascii() and text[0].isalnum()):  # as nearly all begin
        return False
    return all(character in _BLANK or unicodedata.category(character) in _UNSEEN for character in text)
