"""The adapter: a gated log-bilinear language model of low rank over the frozen base, with a pointer into the prompt.

    read    = sum_j softmax(look(answer_so_far) . seen_j) value_j              over nothing and each word of the prompt
    hidden  = answer_so_far * (1 + gate(prompt)) + shift(prompt) + read        rank numbers
    logit_w = base_w + bias_w + hidden . output_w                              for each word it learned to write
    copy_j  = query(answer_so_far) . source_j + match_j + bias                 for each word of the prompt

One softmax over both; a word's probability is the sum over the ways of producing it. Words of the base that training
never saw keep their base probabilities and share one learned shift, which keeps the softmax exact and cheap. The
output weights start at zero and the pointer all but closed, so an untrained adapter is the base. The rank, eight for
each unit of adapter size, plays the part that it plays in LoRA; the name is an analogy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from local_cloud.vertex.learner.base import standard_base
from local_cloud.vertex.learner.features import MATCHES, PREFIX_WEIGHTS
from local_cloud.vertex.learner.parameters import FeatureTable, Floats, Rows

if TYPE_CHECKING:
    from local_cloud.vertex.learner.features import Keys, Source

Matches = NDArray[np.uint8]

RANK_PER_ADAPTER_SIZE = 8
CLOSED = -9.0
"""Pointer bias of an untrained adapter."""
RELUCTANCE = -6.0
"""Added to the pointer for words that the adapter had better write itself."""
_LIMIT = 40.0


@dataclass(eq=False)
class Adapter:
    """Weights and what they compute."""

    outputs: tuple[str, ...]
    """The words that it learned to write."""
    prefix: FeatureTable
    prompt: FeatureTable
    source: FeatureTable
    output: Floats
    bias: Floats
    scalars: Floats
    """Shift of the other words of the base, bias of the pointer, and the weight of each of its matches."""
    match: Floats
    reluctance: Floats
    """Added to the pointer for each word of ``outputs``; not learned."""

    @property
    def rank(self) -> int:
        """Width of the hidden layer."""
        return int(self.output.shape[1])

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Column of each word that the adapter learned to write."""
        return {token: number for number, token in enumerate(self.outputs)}

    @functools.cached_property
    def written(self) -> frozenset[str]:
        """Those that are better written than copied."""
        return frozenset(token for token, reluctance in zip(self.outputs, self.reluctance, strict=True) if reluctance)

    @functools.cached_property
    def base_logits(self) -> Floats:
        """What the base says of those words."""
        return np.array([standard_base().logprob(token) for token in self.outputs], np.float32)

    @functools.cached_property
    def rest(self) -> dict[str, float]:
        """The other words of the base, with the share of each in their sum."""
        base = standard_base()
        rest = {token: np.exp(base.logprob(token)) for token in base.tokens if token not in self.index}
        total = sum(rest.values())
        return {token: float(probability / total) for token, probability in rest.items()}

    @functools.cached_property
    def rest_logit(self) -> float:
        """Logarithm of that sum."""
        base = standard_base()
        return float(np.log(sum(np.exp(base.logprob(token)) for token in self.rest) or 1e-9))

    def ask(self, prompt_keys: Keys, prompt_weights: Floats, source: Source) -> Question:
        """Reads a prompt, once for all steps of its answer."""
        prompt_rows, source_rows = self.prompt.rows(prompt_keys), self.source.rows(source.keys)
        prompt = prompt_weights @ self.prompt.weights[prompt_rows]
        words = self.source.weights[source_rows].sum(axis=1)
        return Question(
            source, prompt_rows, prompt_weights, source_rows, prompt, *_thirds(words), self._reluctance(source)
        )

    def probabilities(self, question: Question, prefix_keys: Keys, matches: Matches) -> Steps:
        """One row of probabilities per step over [words to write, all other base words, source words to copy]."""
        rank = self.rank
        rows = self.prefix.rows(prefix_keys)
        prefix = PREFIX_WEIGHTS @ self.prefix.weights[rows]
        written, query, look = _thirds(prefix)
        attention = np.exp(np.clip(look @ question.seen.T, -_LIMIT, _LIMIT))
        attention /= 1.0 + attention.sum(axis=1, keepdims=True)
        gate, shift = 1.0 + question.prompt[:rank], question.prompt[rank:]
        hidden = written * gate + shift + attention @ question.values
        logits = np.concatenate([
            self.base_logits + self.bias + hidden @ self.output.T,
            np.full((len(rows), 1), self.rest_logit + self.scalars[0], np.float32),
            query @ question.keys.T + self._follow(query, matches) + question.reluctance + (self.scalars[1] + CLOSED),
        ], axis=1)  # fmt: skip
        logits -= logits.max(axis=1, keepdims=True)
        probabilities = np.exp(np.maximum(logits, -_LIMIT))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return Steps(rows, prefix, attention, hidden, probabilities)

    def _reluctance(self, source: Source) -> Floats:
        return np.array([RELUCTANCE if token in self.written else 0.0 for token in source.tokens], np.float32)

    def _follow(self, query: Floats, matches: Matches) -> Floats:
        weights = query @ self.match.T + self.scalars[2:]
        follow: Floats = np.einsum("tm,tjm->tj", weights, matches.astype(np.float32))
        return follow

    def gradients(self, question: Question, steps: Steps, matches: Matches, error: Floats) -> Gradients:
        """Gradients of the loss, given its gradient by the logits."""
        rank, words = self.rank, len(self.outputs)
        written, copied = error[:, :words], error[:, words + 1 :]
        before, query, look = _thirds(steps.prefix)
        hidden = written @ self.output
        # Not np.einsum: where the prompt has no word to copy, its sum over nothing is now and then not zero.
        together = (copied[:, :, None] * matches).sum(axis=1)
        attended = steps.attention * (hidden @ question.values.T)
        attended -= steps.attention * attended.sum(axis=1, keepdims=True)
        prefix = np.concatenate(
            [
                hidden * (1.0 + question.prompt[:rank]),
                copied @ question.keys + together @ self.match,
                attended @ question.seen,
            ],
            axis=1,
        )
        prompt = np.concatenate([(hidden * before).sum(axis=0), hidden.sum(axis=0)])
        source = np.concatenate([copied.T @ query, attended.T @ look, steps.attention.T @ hidden], axis=1)
        scalars = np.array([error[:, words].sum(), copied.sum(), *together.sum(axis=0)], np.float32)
        sparse = {
            "prefix": _spread(steps.rows, PREFIX_WEIGHTS[None, :, None] * prefix[:, None, :]),
            "prompt": _spread(question.prompt_rows, question.prompt_weights[:, None] * prompt),
            "source": _spread(question.source_rows, np.repeat(source[:, None, :], question.source_rows.shape[1], 1)),
        }
        dense = {
            "output": written.T @ steps.hidden,
            "bias": written.sum(axis=0),
            "scalars": scalars,
            "match": together.T @ query,
        }
        return Gradients(dense, sparse)


@dataclass(frozen=True)
class Question:
    """A prompt as the adapter sees it."""

    source: Source
    prompt_rows: Rows
    prompt_weights: Floats
    source_rows: Rows
    prompt: Floats
    keys: Floats
    seen: Floats
    values: Floats
    reluctance: Floats


@dataclass(frozen=True)
class Steps:
    """What was computed for consecutive steps of an answer."""

    rows: Rows
    prefix: Floats
    attention: Floats
    hidden: Floats
    probabilities: Floats


@dataclass(frozen=True)
class Gradients:
    """Of whole arrays, and of rows of the feature tables."""

    dense: dict[str, Floats]
    sparse: dict[str, tuple[Rows, Floats]]


def _thirds(values: Floats) -> tuple[Floats, Floats, Floats]:
    width = values.shape[1] // 3
    return values[:, :width], values[:, width : 2 * width], values[:, 2 * width :]


def _spread(rows: Rows, values: Floats) -> tuple[Rows, Floats]:
    return rows.reshape(-1), values.reshape(-1, values.shape[-1])


def fresh_adapter() -> Adapter:
    """An adapter that learned nothing: rank zero, nothing to write, pointer closed."""
    nothing = np.zeros(0, np.float32)
    return Adapter(
        (), FeatureTable.empty(0), FeatureTable.empty(0), FeatureTable.empty(0), output=np.zeros((0, 0), np.float32),
        bias=nothing, scalars=np.zeros(2 + MATCHES, np.float32), match=np.zeros((MATCHES, 0), np.float32),
        reluctance=nothing,
    )  # fmt: skip
