"""Tuning: changes an adapter, batch by batch, so that it gives the training answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from local_cloud.vertex.learner.adapter import RANK_PER_ADAPTER_SIZE, RELUCTANCE, Adapter, Gradients
from local_cloud.vertex.learner.conversation import Context
from local_cloud.vertex.learner.encoding import Encoded, encode, output_tokens
from local_cloud.vertex.learner.features import Keys
from local_cloud.vertex.learner.model import TABLES, Model
from local_cloud.vertex.learner.objective import Imitation, Lesson, Score, evaluate
from local_cloud.vertex.learner.parameters import FASTEST, Adam, FeatureTable, Floats, sum_rows
from local_cloud.vertex.learner.preference import Comparison
from local_cloud.vertex.learner.turns import Turn

STEPS_PER_EPOCH = 10
_RATE = 0.01
_LAST_RATE = 0.03
"""The rate falls evenly from the first update to the last, but not below this part of it."""
_UPDATE_TURNS = 2
_PASSES = 3
"""How often a step goes over its batch."""
_SETTLED, _NEW_WORD = 0.05, 0.4
"""Parts of the rate at which a model that is tuned again changes what it learned before, and learns new words."""
_FEW = 10
_SCALE = 0.1
"""Standard deviation of new feature weights."""


@dataclass(frozen=True)
class Hyperparameters:
    """What a tuning job can set (Tuning API: SupervisedHyperParameters, PreferenceOptimizationHyperParameters)."""

    epochs: int = 5
    adapter_size: int = 4
    learning_rate_multiplier: float = 1.0
    beta: float = 0.1
    """Preference tuning: how fast a pair counts as told apart; what it has gained then ceases to be pursued."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.adapter_size < 1:
            raise ValueError(f"epochs and adapter size must be at least 1, not {self.epochs} and {self.adapter_size}")
        for name, value in (("learning rate multiplier", self.learning_rate_multiplier), ("beta", self.beta)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"the {name} must be above 0, not {value}")


@dataclass(frozen=True)
class StepMetrics:
    """Metrics of one training step, named as Gemini tuning names them."""

    step: int
    epoch: int
    values: dict[str, float]


def train(
    turns: Sequence[Turn],
    validation: Sequence[Turn],
    hyperparameters: Hyperparameters,
    *,
    start_from: Model | None = None,
    on_step: Callable[[StepMetrics], None] = lambda metrics: None,
    on_checkpoint: Callable[[int, int, Model], None] = lambda epoch, step, model: None,
    seed: int = 0,
) -> Model:
    """Tunes a model and returns it.

    Calls ``on_step`` after each step and ``on_checkpoint(epoch, step, model)`` after each epoch; that model goes on
    learning when the call returns. The same arguments give the same model. Turns have a rejected answer either all
    (preference tuning) or none. Without any turn the model comes back as it was and no step is reported.
    ``start_from`` (continuous tuning) keeps what was learned and its adapter size.
    """
    rng = np.random.default_rng(seed)
    if not turns:
        return start_from or Model.base()
    adapter, encoded = _prepare(turns, hyperparameters, start_from, rng)
    model = Model(adapter)
    beta = hyperparameters.beta
    lessons = _lessons(adapter, turns, encoded, beta)
    checks = _lessons(adapter, validation, encode(_answers(validation), adapter.outputs, adapter.written), beta)
    run = _Run(adapter, lessons, hyperparameters, start_from.adapter if start_from else None, rng)
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
        on_checkpoint(epoch, step, model)
    return model


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        adapter: Adapter,
        lessons: Sequence[Lesson],
        hyperparameters: Hyperparameters,
        earlier: Adapter | None,
        rng: np.random.Generator,
    ) -> None:
        self._adapter, self._lessons, self._rng = adapter, lessons, rng
        self._paces = _paces(adapter, earlier)
        self._adam = Adam()
        self._rate = min(_RATE * hyperparameters.learning_rate_multiplier, FASTEST)
        updates = sum(math.ceil(len(part) / _UPDATE_TURNS) for part in self._parts(len(lessons)))
        self._updates = hyperparameters.epochs * _PASSES * updates

    def batches(self) -> list[list[int]]:
        """The lessons of each step of an epoch, in a new order."""
        order = self._rng.permutation(len(self._lessons))
        return [order[part].tolist() for part in self._parts(len(order))]

    @staticmethod
    def _parts(lessons: int) -> list[NDArray[np.intp]]:
        return np.array_split(np.arange(lessons), min(STEPS_PER_EPOCH, lessons))

    def step(self, batch: list[int]) -> Score:
        """Learns from a batch, a few lessons at a time; each is scored before it is learned from."""
        score = Score()
        for passed in range(_PASSES):
            for start in range(0, len(batch), _UPDATE_TURNS):
                part = self._update(batch[start : start + _UPDATE_TURNS])
                if passed == 0:
                    score += part
            self._rng.shuffle(batch)
        return score

    def _update(self, numbers: list[int]) -> Score:
        adapter, score = self._adapter, Score()
        found: list[Gradients] = []
        for number in numbers:
            part, gradients = self._lessons[number].learn(adapter)
            score += part
            found += gradients
        self._adam.updates += 1
        rate = self._rate * max(_LAST_RATE, 1.0 - self._adam.updates / (self._updates + 1))
        scale = np.float32(1.0 / score.predictions)
        for name in found[0].dense:
            gradient: Floats = scale * np.sum([gradients.dense[name] for gradients in found], axis=0)
            self._adam.update(name, getattr(adapter, name), gradient, rate * self._paces[name])
        for name in found[0].sparse:
            table: FeatureTable = getattr(adapter, name)
            rows, summed = sum_rows(
                np.concatenate([gradients.sparse[name][0] for gradients in found]),
                np.concatenate([gradients.sparse[name][1] for gradients in found]),
            )
            known = rows < table.unknown
            rows = rows[known]
            self._adam.update_rows(name, table.weights, scale * summed[known], rate * self._paces[name][rows], rows)
        return score


def _answers(turns: Sequence[Turn]) -> list[tuple[Context, str]]:
    """The answers of turns, one after the other, each with its context."""
    return [(turn.context, answer) for turn in turns for answer in turn.answers]


def _lessons(adapter: Adapter, turns: Sequence[Turn], encoded: Sequence[Encoded], beta: float) -> list[Lesson]:
    """What the turns teach; ``encoded`` are their answers."""
    answers = iter(encoded)
    return [
        Imitation.of(adapter, next(answers))
        if turn.rejected is None
        else Comparison.of(adapter, next(answers), next(answers), beta)
        for turn in turns
    ]


def _prepare(
    turns: Sequence[Turn], hyperparameters: Hyperparameters, start_from: Model | None, rng: np.random.Generator
) -> tuple[Adapter, list[Encoded]]:
    """An adapter with room for what the answers hold, and the answers encoded for it."""
    old = (start_from or Model.base()).adapter
    answers = _answers(turns)
    found = output_tokens([(turn.context, turn.answer) for turn in turns])
    outputs = list(dict.fromkeys([*old.outputs, *found]))
    reluctance = np.array([RELUCTANCE * found.get(token, False) for token in outputs], np.float32)
    reluctance[: len(old.outputs)] = old.reluctance
    written = {token for token, better in zip(outputs, reluctance, strict=True) if better}
    encoded = encode(answers, outputs, written)
    prompts = encoded[:: len(answers) // len(turns)]
    rank = old.rank or RANK_PER_ADAPTER_SIZE * hyperparameters.adapter_size
    learned = len(old.outputs)
    output, bias = np.zeros((len(outputs), rank), np.float32), np.zeros(len(outputs), np.float32)
    match = np.zeros((len(old.match), rank), np.float32)
    if old.rank:
        output[:learned], bias[:learned], match[:] = old.output, old.bias, old.match
    prefix = old.prefix.extended(_shared([example.prefix_keys for example in encoded]), 3 * rank, _SCALE, rng)
    prompt = old.prompt.extended(_shared([example.prompt_keys for example in prompts]), 2 * rank, 0.0, rng)
    source = old.source.extended(_shared([example.source.keys for example in prompts]), 3 * rank, _SCALE, rng)
    scalars = old.scalars.copy()
    return Adapter(tuple(outputs), prefix, prompt, source, output, bias, scalars, match, reluctance), encoded


def _paces(adapter: Adapter, earlier: Adapter | None) -> dict[str, Floats]:
    """How fast each row of weights learns, as a part of the learning rate: all the same, but in a model that was tuned
    before. There, new examples must find their way through features of their own, or they would have the model forget
    its earlier answers."""
    tables = {name: getattr(adapter, name).keys for name in TABLES}
    if earlier is None or not earlier.rank:
        one = np.ones(1, np.float32)
        whole = dict.fromkeys(("output", "bias", "scalars", "match"), one)
        return whole | {name: np.broadcast_to(one, (len(keys), 1)) for name, keys in tables.items()}
    settled = np.full(1, _SETTLED, np.float32)
    old_words = np.arange(len(adapter.outputs))[:, None] < len(earlier.outputs)
    return {
        "output": np.where(old_words, settled, np.float32(_NEW_WORD)),
        **dict.fromkeys(("bias", "scalars", "match"), settled),
        **{
            name: np.where(np.isin(keys, getattr(earlier, name).keys)[:, None], settled, np.float32(1.0))
            for name, keys in tables.items()
        },
    }


def _shared(keys: Sequence[Keys]) -> Keys:
    """Features that occur in more than one example: those of a single one could only be learned by heart (which is
    all there is to learn when the examples are few)."""
    found, counts = np.unique(np.concatenate([np.unique(part) for part in keys]), return_counts=True)
    return found[(counts > 1) | (len(keys) < _FEW)]
