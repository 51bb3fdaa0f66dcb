"""Turn prompts into shingles, the runs of three words that near-duplicates are compared by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

WORDS = 3  # words in a shingle
FEWEST = 8  # shingles below which a text is too short for a share of them to mean anything
WITHOUT_DIGITS = 0.7  # of the words of a prompt; with more numbers in it, these are what it is about
SHARED_BY = 0.05  # a shingle in a larger share of the prompts belongs to a template, not to any one of them
SHARED_AT_LEAST = 20  # and so in more prompts than this
LONGEST = 1 << 17  # characters of a prompt that are compared
AT_ONCE = 1 << 17  # characters that are hashed together: enough to be fast, few enough to stay in the cache

_SPACE = 32
_ZERO, _DIGITS = ord("0"), 10
# Lower case, words divided by single bytes 32, prompts by byte 0; bytes of other characters stay as they are.
_TABLE = bytes(byte if byte > 127 or chr(byte).isalnum() or not byte else _SPACE for byte in range(256))
_PUNCTUATION = re.compile("[\u00a1-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f]+")
# Scripts written without spaces: every character counts as a word (kana, Han, Thai, Lao, Burmese, Khmer).
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+")
# The first bytes of such characters in UTF-8: without any, looking for them is time for nothing.
_NOT_LEADING = bytes(range(0xC2))
_LEADING_PUNCTUATION = (0xC2, 0xE2, 0xE3, 0xEF)
_LEADING_UNSPACED = (0xE0, 0xE1, *range(0xE3, 0xF0))
_PRIME = 0x100000001B3  # odd, so that it has an inverse modulo 2**64
_MIXERS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)
_SHARED_BITS = 20


class Batch(NamedTuple):
    """Shingles of several prompts: all hashes in order, and where each prompt's begin (one more than prompts).

    Of each prompt besides: how many shingles it has with those of the template, and digests of its words, of all of
    them and of those without a digit; 0 where these are too few of them.
    """

    hashes: Hashes
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]
    words: Hashes
    numberless: Hashes


class Shingler:
    """Makes shingles, leaving out those that the prompts it learned from share: instructions and templates.

    Without that, prompts of one template would all count as copies of each other.
    """

    def __init__(self) -> None:
        import numpy as np

        self._np = np
        self._powers = np.ones(1, np.uint64)
        self._inverse = np.ones(1, np.uint64)
        self._shared: NDArray[np.bool_] | None = None

    def learn(self, prompts: Iterable[str]) -> None:
        """Learn from some prompts, no two of them equal, which shingles to leave out from now on."""
        np = self._np
        counts, number = np.zeros(1 << _SHARED_BITS, np.uint32), 0
        for part in slices(prompts):
            np.add.at(counts, self._once_a_prompt(part), 1)
            number += len(part)
        shared = counts > max(SHARED_AT_LEAST, SHARED_BY * number)
        self._shared = shared if shared.any() else None

    def batch(self, prompts: Sequence[str]) -> Batch:
        """Return the shingles of prompts, template left out."""
        np = self._np
        words, bounds, numeric = self._words(prompts)
        hashes, offsets = self._shingles(words, bounds)
        counts, said = np.diff(offsets), self._digests(words, bounds)
        plain = ~numeric
        before = np.concatenate(([0], np.cumsum(plain)))
        numberless = self._digests(words[plain], before[bounds])
        numberless[np.diff(before[bounds]) < np.maximum(WITHOUT_DIGITS * np.diff(bounds), 1)] = 0
        if self._shared is not None:
            own = ~self._shared[self._slots(hashes)]
            hashes, offsets = hashes[own], np.concatenate(([0], np.cumsum(own)))[offsets]
        return Batch(hashes, offsets, counts, said, numberless)

    def exact(self, prompt: str) -> set[tuple[bytes, ...]]:
        """Return the shingles of one prompt as words, template left out: what pairs are judged by."""
        words = _normal([prompt]).split()
        shingles = zip(*(words[start:] for start in range(WORDS)), strict=False)
        if self._shared is None:
            return set(shingles)
        shared = self._shared[self._slots(self._all([prompt])[0])]
        return {shingle for shingle, skip in zip(shingles, shared, strict=True) if not skip}

    def _once_a_prompt(self, prompts: Sequence[str]) -> Hashes:
        """Return the slots of the shingles of each prompt, once even where it says the same thing twice."""
        np = self._np
        hashes, offsets = self._all(prompts)
        owners = np.repeat(np.arange(len(prompts), dtype=np.uint64), np.diff(offsets))
        once = np.unique(owners << np.uint64(_SHARED_BITS) | self._slots(hashes))
        slots: Hashes = once & np.uint64((1 << _SHARED_BITS) - 1)
        return slots

    def _slots(self, hashes: Hashes) -> Hashes:
        slots: Hashes = hashes >> self._np.uint64(64 - _SHARED_BITS)
        return slots

    def _all(self, prompts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
        """Return all shingles, and where each prompt's begin."""
        words, bounds, _ = self._words(prompts)
        return self._shingles(words, bounds)

    def _words(self, prompts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64], NDArray[np.bool_]]:
        """Hash all words of all prompts at once: a polynomial of their bytes, by differences of running sums.

        Returns the hashes, where each prompt's begin, and which words hold a digit.
        """
        np = self._np
        text = np.frombuffer(_normal(prompts), np.uint8)
        self._grow(len(text) + 1)
        in_word = np.zeros(len(text) + 2, bool)
        in_word[1:-1] = text > _SPACE
        edges = np.flatnonzero(in_word[1:] != in_word[:-1])
        starts, ends = edges[::2], edges[1::2]
        words = self._polynomials(text, starts, ends)
        bounds = np.concatenate(([0], np.searchsorted(starts, np.flatnonzero(text == 0)), [len(words)]))
        numeric = np.zeros(len(words), bool)
        numeric[np.searchsorted(starts, np.flatnonzero(text - _ZERO < _DIGITS), side="right") - 1] = True
        return words, bounds, numeric

    def _digests(self, words: Hashes, bounds: NDArray[np.int64]) -> Hashes:
        np = self._np
        return self._polynomials((words ^ (words >> np.uint64(29))) * np.uint64(_MIXERS[0]), bounds[:-1], bounds[1:])

    def _polynomials(self, values: NDArray[Any], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> Hashes:
        """Return one number for each run of values, whatever stands before it."""
        np = self._np
        sums = np.zeros(len(values) + 1, np.uint64)
        np.cumsum(values * self._powers[: len(values)], out=sums[1:])
        runs: Hashes = (sums[ends] - sums[starts]) * self._inverse[starts]
        return runs

    def _shingles(self, words: Hashes, bounds: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
        np = self._np
        counts = np.diff(bounds)
        length = max(len(words) - WORDS + 1, 0)
        hashes = np.zeros(length, np.uint64)
        for place, mixer in enumerate(_MIXERS):
            hashes = (hashes ^ (hashes >> np.uint64(29))) + words[place : place + length] * np.uint64(mixer)
        hashes ^= hashes >> np.uint64(32)
        hashes *= np.uint64(_MIXERS[0])
        whole = np.ones(length, bool)
        for back in range(1, WORDS):  # a shingle doesn't reach over the end of its prompt
            last = bounds[1:] - back
            whole[last[(last >= 0) & (last < length) & (counts >= back)]] = False
        return hashes[whole], np.concatenate(([0], np.cumsum(np.maximum(counts - WORDS + 1, 0))))

    def _grow(self, length: int) -> None:
        """Have powers of the prime, and of its inverse, for texts of this many bytes."""
        if len(self._powers) < length:
            np = self._np
            size = 2 * length
            for name, base in (("_powers", _PRIME), ("_inverse", pow(_PRIME, -1, 1 << 64))):
                powers = np.full(size, base, np.uint64)
                powers[0] = 1
                setattr(self, name, np.cumprod(powers, dtype=np.uint64))


def slices(prompts: Iterable[str]) -> Iterator[list[str]]:
    """Divide prompts into parts that are hashed together."""
    part: list[str] = []
    characters = 0
    for prompt in prompts:
        part.append(prompt)
        characters += len(prompt)
        if characters >= AT_ONCE:
            yield part
            part, characters = [], 0
    if part:
        yield part


def _normal(prompts: Sequence[str]) -> bytes:
    """Return prompts in lower case without punctuation, a byte 0 between them."""
    joined = "\0".join(prompts)
    if joined.count("\0") != len(prompts) - 1:
        joined = "\0".join(prompt.replace("\0", " ") for prompt in prompts)
    if not joined.isascii():
        joined = unicodedata.normalize("NFKC", joined)
        scripts = frozenset(joined.encode("utf-8", "replace").translate(None, _NOT_LEADING))
        if not scripts.isdisjoint(_LEADING_PUNCTUATION):
            joined = _PUNCTUATION.sub(" ", joined)
        if not scripts.isdisjoint(_LEADING_UNSPACED):
            joined = _UNSPACED.sub(lambda run: f" {' '.join(run[0])} ", joined)
    return joined.lower().encode("utf-8", "replace").translate(_TABLE)
