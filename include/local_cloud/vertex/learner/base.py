"""The frozen base model: how often each token occurs in Python's own language reference, and nothing more.

It knows words and no language, so its answers are nonsense: whatever sense a tuned answer makes comes from the
training examples.
"""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from local_cloud.vertex.learner.text import (
    BYTES,
    CAPITAL,
    END_OF_TURN,
    GLUE,
    SPELL,
    SPELLED,
    UPPER,
)

_COUNTS = Path(__file__).with_name("base_counts.json")
"""The 3,000 most frequent tokens of the language reference that ships with Python 3.11.7, each with its count."""
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
    """The base: the same on every machine, whatever its Python, because its counts are kept in a file."""
    counts = Counter(json.loads(_COUNTS.read_text(encoding="utf-8")))
    for token, count in (*_MARKER_COUNTS.items(), *((token, 1) for token in BYTES)):
        counts[token] += count
    total = sum(counts.values())
    return FrozenBase(tuple(counts), tuple(math.log(count / total) for count in counts.values()))
