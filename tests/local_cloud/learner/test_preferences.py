"""Preference tuning: the preferred answer is given, the rejected one is not, and beta says how far that goes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.local_cloud.learner.conftest import Tuning, ask, line, tune, user

from local_cloud.vertex.learner import Model, preferences_of, sample
from local_cloud.vertex.learner.encoding import encode
from local_cloud.vertex.learner.objective import Imitation

THINGS = [f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("chair", "table", "lamp", "door")]


def polite(thing: str) -> str:
    return f"Gladly! The {thing} is in stock."


def rude(thing: str) -> str:
    return f"The {thing} is over there, look for yourself."


def pair(prompt: str, better: str, worse: str) -> dict[str, Any]:
    completions = [
        {"score": score, "completion": {"parts": [{"text": text}]}} for score, text in ((0, worse), (1, better))
    ]
    return {"contents": [user(prompt)], "completions": completions}


def question(thing: str) -> str:
    return f"Do you have the {thing}?"


def likelihood(model: Model, prompt: str, answer: str) -> float:
    """Log-probability of an answer."""
    turns = [(turn.context, turn.answer) for turn in sample([line(prompt, answer)])]
    lesson = Imitation.of(model.adapter, encode(turns, model.adapter.outputs, model.adapter.written)[0])
    return -lesson.score(model.adapter).loss


PAIRS = [pair(question(thing), polite(thing), rude(thing)) for thing in THINGS]


@pytest.fixture(scope="module")
def undecided() -> Model:
    """A model that has learned to answer either way."""
    lines = [line(question(thing), answer(thing)) for thing in THINGS for answer in (polite, rude)]
    return tune(lines, [], epochs=5).model


@pytest.fixture(scope="module")
def tunings(undecided: Model) -> dict[float, Tuning]:
    return {
        beta: tune(PAIRS, PAIRS[:2], epochs=6, beta=beta, preference=True, start_from=undecided) for beta in (0.1, 2.0)
    }


def test_an_untuned_model_comes_to_give_the_preferred_answer():
    model = tune(PAIRS, [], epochs=8, preference=True).model
    assert [ask(model, question(thing)).text for thing in THINGS] == [polite(thing) for thing in THINGS]


def test_the_likelihood_of_the_rejected_answer_falls(undecided, tunings):
    prompt, better, worse = question("red chair"), polite("red chair"), rude("red chair")
    for tuning in tunings.values():
        assert likelihood(tuning.model, prompt, better) > likelihood(undecided, prompt, better)
        assert likelihood(tuning.model, prompt, worse) < likelihood(undecided, prompt, worse) - 3
        assert ask(tuning.model, prompt).text == better


def test_a_smaller_beta_moves_further_away_from_where_training_started(tunings):
    rejected = {
        beta: sum(likelihood(tuning.model, question(thing), rude(thing)) for thing in THINGS)
        for beta, tuning in tunings.items()
    }
    assert rejected[0.1] < 2 * rejected[2.0] < 0


def test_the_six_metrics_are_those_of_the_preferred_answer(tunings):
    for tuning in tunings.values():
        first, last = tuning.steps[0].values, tuning.steps[-1].values
        assert len(first) == 6
        assert all(math.isfinite(value) for step in tuning.steps for value in step.values.values())
        assert last["eval_fraction_of_correct_next_step_preds"] == 1.0
        assert last["eval_total_loss"] < first["eval_total_loss"]
        alone = tune([line(question(thing), polite(thing)) for thing in THINGS[:2]], [], epochs=1)
        assert first["eval_num_predictions"] == sum(alone.losses("train_num_predictions"))


def test_two_equal_answers_and_empty_ones_teach_without_trouble():
    rows = [pair("a", "same", "same"), pair("b", "something", ""), pair("c", "", "nothing is better")]
    assert len(sample(rows, preferences_of)) == 2
    tuning = tune(rows, rows, epochs=3, beta=100.0, preference=True)
    assert all(math.isfinite(value) for step in tuning.steps for value in step.values.values())
