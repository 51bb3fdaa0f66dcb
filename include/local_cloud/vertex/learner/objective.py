"""Per-token cross-entropy of an adapter on encoded answers, its gradient, and the share of right predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from local_cloud.vertex.learner.adapter import Adapter, Gradients, Question, Steps
    from local_cloud.vertex.learner.encoding import Encoded
    from local_cloud.vertex.learner.parameters import Floats


@dataclass(frozen=True)
class Goal:
    """Where the target of each step stands among an adapter's probabilities."""

    columns: NDArray[np.intp]
    shares: Floats
    """Part of that column which belongs to the target: one, or less for a word in the column of the rest."""
    copies: NDArray[np.bool_]
    """(steps, source tokens) true where the source word is the target."""
    merge: NDArray[np.intp]
    """Column of each source word among the words to write, or one of its own."""

    @classmethod
    def of(cls, adapter: Adapter, example: Encoded) -> Goal:
        """The goal of an example for this adapter."""
        words = len(adapter.outputs)
        columns = [adapter.index.get(token, words) for token in example.targets]
        shares = [1.0 if token in adapter.index else adapter.rest.get(token, 0.0) for token in example.targets]
        source = np.array(example.source.tokens, dtype=object)
        copies = np.array(example.targets, dtype=object)[:, None] == source[None, :]
        own: dict[str, int] = {}
        merge = [
            adapter.index.get(token, words + 1 + own.setdefault(token, len(own))) for token in example.source.tokens
        ]
        return cls(
            np.array(columns, np.intp), np.array(shares, np.float32),
            copies.astype(bool).reshape(len(columns), len(source)), np.array(merge, np.intp),
        )  # fmt: skip


@dataclass
class Score:
    """Sums over predictions."""

    loss: float = 0.0
    """Natural-log cross-entropy, summed over tokens."""
    correct: int = 0
    predictions: int = 0

    def __iadd__(self, other: Score) -> Score:
        self.loss += other.loss
        self.correct += other.correct
        self.predictions += other.predictions
        return self

    def values(self, prefix: str) -> dict[str, float]:
        """The three metrics of Gemini tuning, under ``train`` or ``eval``."""
        number = max(1, self.predictions)
        return {
            f"{prefix}_total_loss": self.loss / number,
            f"{prefix}_fraction_of_correct_next_step_preds": self.correct / number,
            f"{prefix}_num_predictions": float(self.predictions),
        }


class Lesson(Protocol):
    """Something to learn."""

    def score(self, adapter: Adapter) -> Score:
        """How well the adapter does."""

    def learn(self, adapter: Adapter) -> tuple[Score, list[Gradients]]:
        """The same, and the gradients of the summed loss, which are to be added up."""


@dataclass(frozen=True)
class Imitation:
    """An answer to be given."""

    example: Encoded
    goal: Goal

    @classmethod
    def of(cls, adapter: Adapter, example: Encoded) -> Imitation:
        """The lesson of an example for this adapter."""
        return cls(example, Goal.of(adapter, example))

    def score(self, adapter: Adapter) -> Score:
        """See Lesson."""
        return self.attempt(adapter).score

    def learn(self, adapter: Adapter) -> tuple[Score, list[Gradients]]:
        """See Lesson."""
        attempt = self.attempt(adapter)
        return attempt.score, [attempt.gradients(1.0)]

    def attempt(self, adapter: Adapter) -> Attempt:
        """What the adapter makes of it."""
        example = self.example
        question = adapter.ask(example.prompt_keys, example.prompt_weights, example.source)
        steps = adapter.probabilities(question, example.prefix_keys, example.matches)
        score, error = _assess(adapter, steps, self.goal)
        return Attempt(score, adapter, question, steps, example, error)


@dataclass(frozen=True)
class Attempt:
    """An answer as an adapter would give it."""

    score: Score
    adapter: Adapter
    question: Question
    steps: Steps
    example: Encoded
    error: Floats
    """Gradient of the summed loss by the logits."""

    def gradients(self, factor: float) -> Gradients:
        """Gradients of so many times the summed loss; below zero: to answer this less often."""
        error = np.float32(factor) * self.error
        return self.adapter.gradients(self.question, self.steps, self.example.matches, error)


def evaluate(adapter: Adapter, lessons: Sequence[Lesson]) -> Score:
    """The score of an adapter on lessons."""
    score = Score()
    for lesson in lessons:
        score += lesson.score(adapter)
    return score


def _assess(adapter: Adapter, steps: Steps, goal: Goal) -> tuple[Score, Floats]:
    words, numbers = len(adapter.outputs), np.arange(len(goal.columns))
    error = steps.probabilities.copy()
    written = error[numbers, goal.columns] * goal.shares
    copied = error[:, words + 1 :] * goal.copies
    total = np.maximum(written + copied.sum(axis=1), np.float32(1e-30))
    score = Score(float(-np.log(total).sum()), int(_correct(steps, goal, words, total).sum()), len(total))
    error[numbers, goal.columns] -= written / total
    error[:, words + 1 :] -= copied / total[:, None]
    return score, error


def _correct(steps: Steps, goal: Goal, words: int, total: Floats) -> NDArray[np.bool_]:
    """Whether the target is the most probable word, the ways of producing a word taken together."""
    width = max(words + 1, int(goal.merge.max(initial=0)) + 1)
    merged = np.zeros((width, len(total)), np.float32)
    merged[:words] = steps.probabilities[:, :words].T
    np.add.at(merged, goal.merge, steps.probabilities[:, words + 1 :].T)
    right: NDArray[np.bool_] = total >= merged.max(axis=0) * np.float32(0.9999)
    return right
