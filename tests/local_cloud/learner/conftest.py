"""The sample datasets and a model tuned on them."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local_cloud.vertex.learner import (
    Answer,
    GenerationSettings,
    Hyperparameters,
    Model,
    StepMetrics,
    answers_of,
    preferences_of,
    sample,
    train,
)
from local_cloud.vertex.learner.turns import VALIDATION_TURNS

DATASETS = Path(__file__).parents[3] / "include" / "datasets"
SHORT = GenerationSettings(max_output_tokens=200)


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATASETS / "support_replies" / f"{name}.jsonl").read_text().splitlines()]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}


def line(*texts: str) -> dict[str, Any]:
    """A dataset line of alternating user and model turns."""
    return {"contents": [{"role": ("user", "model")[n % 2], "parts": [{"text": t}]} for n, t in enumerate(texts)]}


def ask(model: Model, text: str, **settings: Any) -> Answer:
    return model.answer([user(text)], None, GenerationSettings(**{"max_output_tokens": 60, **settings}))


@dataclass
class Tuning:
    """What one tuning produced."""

    model: Model
    steps: list[StepMetrics]
    checkpoints: dict[int, Model]

    def losses(self, name: str) -> list[float]:
        return [step.values[name] for step in self.steps if name in step.values]


def tune(
    examples: list[dict[str, Any]], validation: list[dict[str, Any]], *, seed: int = 0, start_from: Model | None = None,
    epochs: int = 5, adapter_size: int = 4, learning_rate_multiplier: float = 1.0, beta: float = 0.1,
    preference: bool = False,
) -> Tuning:  # fmt: skip
    find = preferences_of if preference else answers_of
    steps: list[StepMetrics] = []
    checkpoints: dict[int, Model] = {}
    model = train(
        sample(examples, find),
        sample(validation, find, VALIDATION_TURNS),
        Hyperparameters(epochs, adapter_size, learning_rate_multiplier, beta),
        start_from=start_from,
        on_step=steps.append,
        on_checkpoint=lambda epoch, step, model: checkpoints.update({epoch: copy.deepcopy(model)}),
        seed=seed,
    )
    return Tuning(model, steps, checkpoints)


@pytest.fixture(scope="session")
def training() -> list[dict[str, Any]]:
    return lines("train")


@pytest.fixture(scope="session")
def validation() -> list[dict[str, Any]]:
    return lines("validation")


@pytest.fixture(scope="session")
def held_out() -> list[dict[str, Any]]:
    return lines("held_out")


@pytest.fixture(scope="session")
def tuned(training: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> Tuning:
    """The sample pipeline's hyperparameters; measured on the held-out paraphrases."""
    return tune(training, held_out)
