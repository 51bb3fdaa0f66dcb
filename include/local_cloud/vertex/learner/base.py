"""The frozen base model: how often each token occurs in the text that ships with Python, and nothing more.

It knows words and no language, so its answers are nonsense: whatever sense a tuned answer makes comes from the
training examples.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass

from local_cloud.vertex.learner.text import (
    BYTES,
    CAPITAL,
    END_OF_TURN,
    GLUE,
    SPELL,
    SPELLED,
    UPPER,
    tokens_of,
)

BASE_TOKENS = 3_000
"""Size of the base vocabulary, before markers and bytes."""
_CHARACTERS = 400_000
_MARKER_COUNTS = {END_OF_TURN: 600, SPELL: 60, SPELLED: 60, CAPITAL: 1, UPPER: 1, GLUE: 1}
UNSEEN_LOGPROB = math.log(1e-6)
"""Natural-log probability that the base gives a token of the training data it doesn't know."""


@dataclass(frozen=True)
class FrozenBase:
    """Tokens with their natural-log probabilities."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Position of each token."""
        return {token: number for number, token in enumerate(self.tokens)}

    def logprob(self, token: str) -> float:
        """Natural-log probability of a token, known or not."""
        number = self.index.get(token)
        return UNSEEN_LOGPROB if number is None else self.logprobs[number]


@functools.lru_cache(maxsize=1)
def standard_base() -> FrozenBase:
    """The base counted from Python's own language reference (a fraction of a second, once per process)."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))[:_CHARACTERS]
    counts = Counter(tokens_of(text))
    kept = Counter(dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:BASE_TOKENS]))
    for token, count in (*_MARKER_COUNTS.items(), *((token, 1) for token in BYTES)):
        kept[token] += count
    total = sum(kept.values())
    return FrozenBase(tuple(kept), tuple(math.log(count / total) for count in kept.values()))
