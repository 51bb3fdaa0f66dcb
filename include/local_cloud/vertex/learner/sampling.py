"""Generation settings and the choice of the next token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DEFAULT_OUTPUT_TOKENS = 1_024


@dataclass(frozen=True)
class GenerationSettings:
    """What a caller can set (Gemini API: GenerationConfig)."""

    temperature: float = 0.0
    """0 takes the most probable token each time; higher values flatten the distribution."""
    top_p: float = 1.0
    """Keep the most probable tokens up to this total probability."""
    top_k: int | None = None
    """Keep at most so many of the most probable tokens."""
    max_output_tokens: int | None = None
    """Tokens, not characters; :data:`DEFAULT_OUTPUT_TOKENS` when unset."""
    stop_sequences: tuple[str, ...] = ()
    candidate_count: int = 1
    """For the server, which asks once per candidate; one answer is one candidate."""
    seed: int | None = None
    """Makes sampling repeatable."""


def choose(probabilities: NDArray[np.float64], settings: GenerationSettings, rng: np.random.Generator) -> int:
    """The position of the next token."""
    if settings.temperature <= 0 or settings.top_k == 1:
        return int(probabilities.argmax())
    order = np.argsort(-probabilities, kind="stable")[: settings.top_k or None]
    with np.errstate(divide="ignore"):
        logits = np.log(probabilities[order]) / max(settings.temperature, 1e-3)
    weights = np.exp(logits - logits[0])
    weights /= weights.sum()
    kept = int(np.searchsorted(np.cumsum(weights), settings.top_p)) + 1
    weights = weights[:kept] / weights[:kept].sum()
    return int(order[rng.choice(len(weights), p=weights)])
