"""Tuning: changes an adapter, batch by batch, so that it gives the training answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from local_cloud.vertex.learner.adapter import RANK_PER_ADAPTER_SIZE, RELUCTANCE, Adapter
from local_cloud.vertex.learner.conversation import Context, targets_of
from local_cloud.vertex.learner.encoding import TARGET_TOKENS, Encoded, encode, output_tokens
from local_cloud.vertex.learner.features import Keys
from local_cloud.vertex.learner.model import Model
from local_cloud.vertex.learner.objective import Goal, Score, assess, evaluate
from local_cloud.vertex.learner.parameters import Adam, FeatureTable, Floats, sum_rows

TRAINING_TURNS = 1_000
"""Model turns of a dataset that are learned from, sampled evenly when there are more."""
TRAINING_CHARACTERS = 300_000
"""Characters of those answers altogether, as far as they are learned; turns beyond it are left out at random."""
_LEARNED_CHARACTERS = 4 * TARGET_TOKENS
VALIDATION_TURNS = 100
STEPS_PER_EPOCH = 10
_RATE = 0.01
_LAST_RATE = 0.03
"""The rate falls evenly from the first update to the last, but not below this part of it."""
_UPDATE_TURNS = 2
_PASSES = 3
"""How often a step goes over its batch."""
_FEW = 10
_SCALE = 0.1
"""Standard deviation of new feature weights."""


@dataclass(frozen=True)
class Hyperparameters:
    """What a tuning job can set (Tuning API: SupervisedHyperParameters)."""

    epochs: int = 5
    adapter_size: int = 4
    learning_rate_multiplier: float = 1.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.adapter_size < 1:
            raise ValueError(f"epochs and adapter size must be at least 1, not {self.epochs} and {self.adapter_size}")
        if not (math.isfinite(self.learning_rate_multiplier) and self.learning_rate_multiplier > 0):
            raise ValueError(f"the learning rate multiplier must be above 0, not {self.learning_rate_multiplier}")


@dataclass(frozen=True)
class StepMetrics:
    """Metrics of one training step, named as Gemini tuning names them."""

    step: int
    epoch: int
    values: dict[str, float]


def train(
    examples: Iterable[Mapping[str, Any]],
    validation: Iterable[Mapping[str, Any]],
    hyperparameters: Hyperparameters,
    *,
    start_from: Model | None = None,
    on_step: Callable[[StepMetrics], None] = lambda metrics: None,
    on_checkpoint: Callable[[int, int, Model], None] = lambda epoch, step, model: None,
    seed: int = 0,
) -> Model:
    """Tunes a model on dataset lines and returns it.

    Calls ``on_step`` after each step and ``on_checkpoint(epoch, step, model)`` after each epoch. The same arguments
    give the same model. Lines without a model turn to learn are passed over; with none at all the model comes back
    as it was and no step is reported. ``start_from`` (continuous tuning) keeps what was learned and its adapter size.
    """
    rng = np.random.default_rng(seed)
    turns = _sample(examples, TRAINING_TURNS, rng)
    if not turns:
        return start_from or Model.base()
    adapter, encoded = _prepare(turns, hyperparameters, start_from, rng)
    checks = encode(_sample(validation, VALIDATION_TURNS, rng), adapter.outputs, adapter.written)
    run = _Run(adapter, encoded, hyperparameters, rng)
    step = 0
    for epoch in range(1, hyperparameters.epochs + 1):
        batches = run.batches()
        for number, batch in enumerate(batches, start=1):
            step += 1
            values = evaluate(adapter, checks).values("eval") if checks and step == 1 else {}
            values |= run.step(batch).values("train")
            if checks and number == len(batches):
                values |= evaluate(adapter, checks).values("eval")
            on_step(StepMetrics(step, epoch, values))
        on_checkpoint(epoch, step, Model(copy.deepcopy(adapter)))
    return Model(adapter)


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        adapter: Adapter,
        examples: Sequence[Encoded],
        hyperparameters: Hyperparameters,
        rng: np.random.Generator,
    ) -> None:
        self._adapter, self._examples, self._rng = adapter, examples, rng
        self._goals = [Goal.of(adapter, example) for example in examples]
        self._adam = Adam()
        self._rate = _RATE * hyperparameters.learning_rate_multiplier
        updates = sum(math.ceil(len(part) / _UPDATE_TURNS) for part in self._parts(len(examples)))
        self._updates = hyperparameters.epochs * _PASSES * updates

    def batches(self) -> list[list[int]]:
        """The examples of each step of an epoch, in a new order."""
        order = self._rng.permutation(len(self._examples))
        return [order[part].tolist() for part in self._parts(len(order))]

    @staticmethod
    def _parts(examples: int) -> list[NDArray[np.intp]]:
        return np.array_split(np.arange(examples), min(STEPS_PER_EPOCH, examples)) if examples else []

    def step(self, batch: list[int]) -> Score:
        """Learns from a batch, a few examples at a time; each is scored before it is learned from."""
        score = Score()
        for passed in range(_PASSES):
            for start in range(0, len(batch), _UPDATE_TURNS):
                part = self._update(batch[start : start + _UPDATE_TURNS])
                if passed == 0:
                    score += part
            self._rng.shuffle(batch)
        return score

    def _update(self, numbers: list[int]) -> Score:
        adapter, score, found = self._adapter, Score(), []
        for number in numbers:
            example = self._examples[number]
            question = adapter.ask(example.prompt_keys, example.prompt_weights, example.source)
            steps = adapter.probabilities(question, example.prefix_keys, example.matches)
            part, error = assess(adapter, steps, self._goals[number])
            score += part
            found.append(adapter.gradients(question, steps, example.matches, error))
        self._adam.updates += 1
        rate = self._rate * max(_LAST_RATE, 1.0 - self._adam.updates / (self._updates + 1))
        scale = np.float32(1.0 / score.predictions)
        for name in found[0].dense:
            gradient: Floats = scale * np.sum([gradients.dense[name] for gradients in found], axis=0)
            self._adam.update(name, getattr(adapter, name), gradient, rate)
        for name in found[0].sparse:
            table: FeatureTable = getattr(adapter, name)
            rows, summed = sum_rows(
                np.concatenate([gradients.sparse[name][0] for gradients in found]),
                np.concatenate([gradients.sparse[name][1] for gradients in found]),
            )
            known = rows < table.unknown
            self._adam.update_rows(name, table.weights, scale * summed[known], rate, rows[known])
        return score


def _sample(examples: Iterable[Mapping[str, Any]], limit: int, rng: np.random.Generator) -> list[tuple[Context, str]]:
    """Model turns with their contexts, at most so many, every turn being as likely (reservoir sampling)."""
    kept: list[tuple[Context, str]] = []
    number = 0
    for example in examples:
        for turn in targets_of(example):
            number += 1
            if len(kept) < limit:
                kept.append(turn)
            elif (place := int(rng.integers(number))) < limit:
                kept[place] = turn
    lengths = np.array([min(len(text), _LEARNED_CHARACTERS) for _, text in kept], int)
    if lengths.sum() <= TRAINING_CHARACTERS:
        return kept
    order = rng.permutation(len(kept))  # files are often sorted by topic: what is left out must not be one of them
    room = int(np.searchsorted(np.cumsum(lengths[order]), TRAINING_CHARACTERS, side="right"))
    return [kept[place] for place in sorted(order[:room])]


def _prepare(
    turns: Sequence[tuple[Context, str]], hyperparameters: Hyperparameters, start_from: Model | None,
    rng: np.random.Generator,
) -> tuple[Adapter, list[Encoded]]:  # fmt: skip
    """An adapter with room for what the examples hold, and the examples encoded for it."""
    old = (start_from or Model.base()).adapter
    found = output_tokens(turns)
    outputs = list(dict.fromkeys([*old.outputs, *found]))
    reluctance = np.array([RELUCTANCE * found.get(token, False) for token in outputs], np.float32)
    reluctance[: len(old.outputs)] = np.minimum(reluctance[: len(old.outputs)], old.reluctance)
    written = {token for token, better in zip(outputs, reluctance, strict=True) if better}
    encoded = encode(turns, outputs, written)
    rank = old.rank or RANK_PER_ADAPTER_SIZE * hyperparameters.adapter_size
    learned = len(old.outputs)
    output, bias = np.zeros((len(outputs), rank), np.float32), np.zeros(len(outputs), np.float32)
    match = np.zeros((len(old.match), rank), np.float32)
    if old.rank:
        output[:learned], bias[:learned], match[:] = old.output, old.bias, old.match
    prefix = old.prefix.extended(_shared([example.prefix_keys for example in encoded]), 3 * rank, _SCALE, rng)
    prompt = old.prompt.extended(_shared([example.prompt_keys for example in encoded]), 2 * rank, 0.0, rng)
    source = old.source.extended(_shared([example.source.keys for example in encoded]), 3 * rank, _SCALE, rng)
    scalars = old.scalars.copy()
    return Adapter(tuple(outputs), prefix, prompt, source, output, bias, scalars, match, reluctance), encoded


def _shared(keys: Sequence[Keys]) -> Keys:
    """Features that occur in more than one example: those of a single one could only be learned by heart (which is
    all there is to learn when the examples are few)."""
    found, counts = np.unique(np.concatenate([np.unique(part) for part in keys]), return_counts=True)
    return found[(counts > 1) | (len(keys) < _FEW)]
