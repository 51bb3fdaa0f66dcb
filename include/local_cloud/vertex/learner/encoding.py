"""Training examples as arrays, ready for the adapter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from local_cloud.vertex.learner.base import standard_base
from local_cloud.vertex.learner.conversation import Context
from local_cloud.vertex.learner.features import Keys, Source, prompt_features
from local_cloud.vertex.learner.text import END_OF_TURN, MARKERS, spell, tokens_of

TARGET_TOKENS = 400
"""A longer model turn is learned up to here; the model then never sees it end."""
OUTPUT_TOKENS = 4_000
"""Words of the training answers, beyond the base vocabulary, that the adapter learns as such; others are spelled."""

_FEW = 2
_SELDOM = 0.1


@dataclass(frozen=True)
class Encoded:
    """One model turn and its context."""

    prompt_keys: Keys
    prompt_weights: NDArray[np.float32]
    source: Source
    prefix_keys: Keys
    """(steps, features)"""
    matches: NDArray[np.uint8]
    """(steps, source tokens, MATCHES)"""
    targets: tuple[str, ...]


def output_tokens(turns: Sequence[tuple[Context, str]]) -> dict[str, bool]:
    """Tokens that the adapter learns to write: all that the answers hold, except the few-time copies from the context
    such as names and numbers. The value says whether the answers often have the token where the context doesn't: then
    it had better be written than copied, else the adapter would learn to write it only where the prompt says it."""
    counts: Counter[str] = Counter()
    written: Counter[str] = Counter()
    for context, text in turns:
        source = set(Source.of(context).tokens)
        tokens = set(tokens_of(text)[:TARGET_TOKENS])
        counts.update(tokens)
        written.update(tokens - source)
    kept = {END_OF_TURN: True}
    # Sorted through and through: a set's own order changes from process to process.
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for token, count in frequent[:OUTPUT_TOKENS]:
        if written[token] or count > _FEW:
            kept[token] = written[token] > count * _SELDOM
    return kept


def encode(turns: Iterable[tuple[Context, str]], outputs: Iterable[str], written: Set[str]) -> list[Encoded]:
    """Encodes answers for an adapter that can write the given tokens beside those of the base; ``written`` are
    those that it had better write than copy."""
    known = {*outputs, *standard_base().tokens}
    return [_encode(context, text, known, written) for context, text in turns]


def _encode(context: Context, text: str, known: Set[str], written: Set[str]) -> Encoded:
    source = Source.of(context, written)
    copyable = set(source.tokens)
    targets: list[str] = []
    for token in tokens_of(text)[:TARGET_TOKENS]:
        targets += [token] if token in known or token in copyable or token in MARKERS else spell(token)
    targets = targets[:TARGET_TOKENS]
    if len(targets) < TARGET_TOKENS:
        targets.append(END_OF_TURN)
    keys, weights = prompt_features(context)
    prefixes = [targets[:step] for step in range(len(targets))]
    return Encoded(
        keys, weights, source,
        np.array([source.prefix_keys(prefix) for prefix in prefixes], np.uint32),
        np.array([source.matches(prefix) for prefix in prefixes], np.uint8),
        tuple(targets),
    )  # fmt: skip
