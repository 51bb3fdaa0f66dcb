"""What the model sees: a context, a source word or an answer so far as small sets of hashed features.

A feature is a string hashed to 32 bits. Which features matter is learned; only features met in training have weights.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from local_cloud.vertex.learner.base import standard_base
from local_cloud.vertex.learner.conversation import Context
from local_cloud.vertex.learner.text import CAPITAL, GLUE, MARKERS, UPPER, is_word, tokens_of

Keys = NDArray[np.uint32]

SOURCE_TOKENS = 256
"""Words and symbols of the context that an answer can copy: the last ones."""

BLOCK_FEATURES = 3_000
"""Features of each kind that are seen of a prompt: those that weigh most."""

_RECENT = 14
_HEAD = 4
_START = "<start>"
PREFIX_WEIGHTS = np.array([1.0] * 6 + [0.5] * _HEAD + [0.5 * 0.88**age for age in range(_RECENT)], np.float32)
"""Weight of each feature of :func:`prefix_keys`: n-grams and single recent tokens, then a fading bag."""
SOURCE_FEATURES = 9
MATCHES = 4
"""Numbers that say how a source word relates to the answer so far; see :meth:`Source.matches`."""


@functools.lru_cache(maxsize=262_144)
def key(feature: str) -> int:
    """Hash of a feature, the same in every process."""
    return zlib.crc32(feature.encode())


@functools.lru_cache(maxsize=65_536)
def shape(token: str) -> str:
    """The token, or its kind where the token itself is one of endlessly many: a number or a word nobody knows."""
    if token.isdigit() and len(token) > 1:
        return f"<{len(token)} digits>"
    if is_word(token) and token not in standard_base().index:
        return "<word>"
    return token


def prompt_features(context: Context) -> tuple[Keys, NDArray[np.float32]]:
    """Features of the whole context with their weights: words, pieces of words and, for the last turn, in what
    surroundings they stand. Rarer words weigh more; the system instruction and earlier turns weigh less."""
    turns = [text for _, text in context.turns]
    last, earlier = tokens_of(" ".join(turns[-1:])), tokens_of("\n".join(turns[:-1]))
    blocks = [
        (2.0, _words("u", last)), (1.0, _words("e", earlier)), (1.0, _words("s", tokens_of(context.system))),
        (1.0, _surroundings("u", last)), (1.0, _surroundings("e", earlier)), (0.7, _opening(last)),
    ]  # fmt: skip
    keys, weights = [key("always")], [1.0]
    for scale, block in blocks:
        if len(block) > BLOCK_FEATURES:
            block = dict(sorted(block.items(), key=lambda item: -item[1])[:BLOCK_FEATURES])
        norm = sum(weight * weight for weight in block.values()) ** 0.5 or 1.0
        keys += [key(feature) for feature in block]
        weights += [scale * weight / norm for weight in block.values()]
    return np.array(keys, np.uint32), np.array(weights, np.float32)


def _words(name: str, tokens: list[str]) -> dict[str, float]:
    block: dict[str, float] = {}
    before = ""
    for token in tokens:
        if token in MARKERS or not token.strip():
            continue
        word = is_word(token)
        token = shape(token) if token.isdigit() else token
        weight = min(1.0, -standard_base().logprob(token) / 9.0) ** 2
        pieces = [token]
        if word:
            pieces += [f"<{token}>"[at : at + 4] for at in range(max(1, len(token) - 1))]
        elif before:
            pieces.append(before + token)
        for piece in pieces:
            feature = f"{name} {piece}"
            block[feature] = max(weight * (1.0 if piece == token else 0.5), block.get(feature, 0.0))
        before = "" if word else token
    return block


def _surroundings(name: str, tokens: list[str]) -> dict[str, float]:
    """Where names, numbers and other unusual words stand, whatever they are: is there something to copy?"""
    block: dict[str, float] = {}
    for _, features in _source_features(tokens, ""):
        kind = features[2]
        if not kind.startswith("plain known"):
            for feature in (features[5], features[3], kind.split()[0]):
                block[f"{name} {feature} {kind.split()[1][:1]}"] = 1.0
    return block


def _opening(tokens: list[str]) -> dict[str, float]:
    """The first words, which often say what to do."""
    plain = [token for token in tokens[:12] if token.strip() and token not in MARKERS][:2]
    return {f"opening {' '.join(plain[:number])}": 1.0 for number in range(1, len(plain) + 1)}


@dataclass(frozen=True)
class Source:
    """The words of a context that an answer can copy."""

    tokens: tuple[str, ...]
    keys: Keys
    """(tokens, SOURCE_FEATURES) what each word is and what stands around it."""
    written: Set[str] = frozenset()
    """Words that answers write rather than copy, wherever they stand."""

    @classmethod
    def of(cls, context: Context, written: Set[str] = frozenset()) -> Source:
        """The copyable words of the last turns."""
        tokens: list[str] = []
        rows: list[list[int]] = []
        for number, (role, text) in enumerate(context.turns):
            place = f"{role} {'now' if number == len(context.turns) - 1 else 'before'}"
            for token, features in _source_features(tokens_of(text), place):
                tokens.append(token)
                rows.append([key(feature) for feature in features])
        keys = np.array(rows[-SOURCE_TOKENS:], np.uint32).reshape(-1, SOURCE_FEATURES)
        return cls(tuple(tokens[-SOURCE_TOKENS:]), keys, written)

    @functools.cached_property
    def _unusual(self) -> frozenset[str]:
        """Words to copy that the base doesn't know: a name, a product."""
        return frozenset(self.tokens) - self.written - standard_base().index.keys()

    def prefix_keys(self, answer: list[str]) -> list[int]:
        """Features of an answer so far, in the order of :data:`PREFIX_WEIGHTS`; which unusual word was copied from
        the context makes no difference to what follows."""
        recent = [self._kind(token) for token in answer[-_RECENT:]]
        head = [f"head {place} {self._kind(token)}" for place, token in enumerate(answer[:_HEAD])]
        a, b, c, d = [*[_START] * 4, *recent][-4:]
        features = [f"1 {d}", f"2 {c} {d}", f"3 {b} {c} {d}", f"4 {a} {b} {c} {d}", f"-2 {c}", f"-3 {b}"]
        bag = [f"bag {token}" for token in reversed(recent)]
        head += ["head <none>"] * (_HEAD - len(head))
        bag += ["bag <start>"] * (_RECENT - len(bag))
        return [key(feature) for feature in (*features, *head, *bag)]

    def _kind(self, token: str) -> str:
        if token.isdigit() and len(token) > 1:
            return f"<{len(token)} digits>"
        return "<copied>" if token in self._unusual else token

    def matches(self, answer: list[str]) -> NDArray[np.uint8]:
        """(tokens, MATCHES): follows the word just written; follows the last two; already used; first of its kind."""
        plain = [token for token in answer if token not in MARKERS]
        last, second = [_START, _START, *plain][-1:-3:-1]
        used = set(plain)
        before, earlier = _START, ""
        rows = []
        seen: set[str] = set()
        for token in self.tokens:
            follows = before == last
            rows.append((follows, follows and earlier == second, token in used, token not in seen))
            before, earlier = token, before
            seen.add(token)
        return np.array(rows, np.uint8).reshape(-1, MATCHES)


def _source_features(tokens: list[str], place: str) -> list[tuple[str, list[str]]]:
    found = []
    case = "plain"
    plain: list[tuple[str, str]] = []
    for token in tokens:
        if token in MARKERS:
            case = token if token in (CAPITAL, UPPER) else case
            continue
        plain.append((token, case))
        case = "plain"
    shapes = [_START, _START, *(shape(token) for token, _ in plain), "<end>"]
    for number, (token, case) in enumerate(plain):
        if not token.strip() or token == GLUE:
            continue
        second, before, own, after = shapes[number : number + 4]
        known = "known" if own == token else own
        features = [
            f"is {token}", f"shape {own}", f"{case} {known}", f"after {before}", f"before {after}",
            f"between {before} {after}", f"after two {second} {before}", f"place {place}", f"tail {token[-3:]} {case}",
        ]  # fmt: skip
        found.append((token, features))
    return found
