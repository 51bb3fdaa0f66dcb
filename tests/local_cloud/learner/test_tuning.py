"""What tuning changes, and that each hyperparameter has its effect."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from tests.local_cloud.learner.conftest import SHORT, Tuning, ask, line, tune, user

from local_cloud.vertex.learner import Hyperparameters, Model

METRICS = ("total_loss", "fraction_of_correct_next_step_preds", "num_predictions")


def exact(model: Model, examples) -> float:
    """Share of last model turns that come back to the letter."""
    answers = [model.answer(e["contents"][:-1], e["systemInstruction"], SHORT).text for e in examples]
    right = [e["contents"][-1]["parts"][0]["text"] for e in examples]
    return sum(a == b for a, b in zip(answers, right, strict=True)) / len(examples)


class TestOnHeldOutParaphrases:
    def test_the_tuned_model_answers_and_the_base_does_not(self, tuned, held_out):
        assert exact(tuned.model, held_out) > 0.5
        assert exact(Model.base(), held_out[:20]) == 0.0

    def test_loss_and_accuracy_improve(self, tuned):
        losses = tuned.losses("eval_total_loss")
        assert losses[0] > 5.0
        assert losses[-1] < 0.15
        assert tuned.losses("eval_fraction_of_correct_next_step_preds")[-1] > 0.95

    def test_what_is_asked_decides_the_answer(self, tuned, held_out):
        instruction = held_out[0]["systemInstruction"]
        prompts = ("Hi, this is Zebedee. Please cancel my order. Order HH-10203.", "Hello! I forgot my password.")
        first, second = (tuned.model.answer([user(prompt)], instruction, SHORT).text for prompt in prompts)
        assert "[cancel] Hi Zebedee, order HH-10203 " in first
        assert second.startswith("[password] ")
        assert "Zebedee" not in second
        assert "HH-" not in second


def test_earlier_turns_are_read():
    """Only they say what is wanted."""

    def talk(wish: str) -> list[dict[str, Any]]:
        return [user(wish), {"role": "model", "parts": [{"text": "Which order?"}]}, user("It is HH-55443.")]

    answers = {"Please cancel my order.": "Cancelled.", "Please send my order again.": "On its way once more."}
    examples = [
        {"contents": [*talk(wish), {"role": "model", "parts": [{"text": answer}]}]} for wish, answer in answers.items()
    ]
    model = tune(examples * 10, [], epochs=5).model
    assert {wish: model.answer(talk(wish)).text for wish in answers} == answers


class TestMetrics:
    def test_every_step_has_train_values_and_some_have_eval_values(self, tuned):
        assert [step.step for step in tuned.steps] == list(range(1, 51))
        assert [step.epoch for step in tuned.steps] == [epoch for epoch in range(1, 6) for _ in range(10)]
        evaluated = []
        for step in tuned.steps:
            assert {f"train_{name}" for name in METRICS} <= step.values.keys()
            if "eval_total_loss" in step.values:
                assert {f"eval_{name}" for name in METRICS} <= step.values.keys()
                evaluated.append(step.step)
        assert evaluated == [1, 10, 20, 30, 40, 50]

    def test_the_training_loss_falls_from_that_of_the_untuned_model(self, tuned):
        losses = tuned.losses("train_total_loss")
        assert losses[0] > 3.0
        assert losses[-1] < 0.1 < losses[2]

    def test_all_training_tokens_are_predicted_once_an_epoch(self, tuned):
        counts = tuned.losses("train_num_predictions")
        assert sum(counts[:10]) == sum(counts[10:20])

    def test_without_validation_there_are_no_eval_values(self, training):
        tuning = tune(training[:20], [], epochs=1)
        assert not any(name.startswith("eval") for step in tuning.steps for name in step.values)


class TestHyperparameters:
    @pytest.fixture(scope="class")
    def runs(self, training, validation) -> dict[str, Tuning]:
        settings = {
            "plain": {},
            "one epoch": {"epochs": 1},
            "adapter size 1": {"adapter_size": 1},
            "adapter size 8": {"adapter_size": 8},
            "slow": {"learning_rate_multiplier": 0.05},
        }
        return {name: tune(training[:80], validation[:20], **{"epochs": 4, **s}) for name, s in settings.items()}

    def test_more_epochs_lower_the_loss(self, runs):
        for name in ("train_total_loss", "eval_total_loss"):
            assert runs["plain"].losses(name)[-1] < runs["one epoch"].losses(name)[-1]

    def test_the_adapter_size_changes_capacity_and_result(self, runs):
        small, large = runs["adapter size 1"], runs["adapter size 8"]
        assert large.model.adapter.rank == 8 * small.model.adapter.rank
        assert large.losses("train_total_loss")[10] < small.losses("train_total_loss")[10]
        assert abs(large.losses("eval_total_loss")[-1] - small.losses("eval_total_loss")[-1]) > 1e-3

    def test_the_learning_rate_multiplier_sets_the_pace(self, runs):
        assert runs["slow"].losses("train_total_loss")[9] > 2 * runs["plain"].losses("train_total_loss")[9]

    def test_a_checkpoint_keeps_the_weights_of_its_epoch(self, runs, validation):
        checkpoints = runs["plain"].checkpoints
        assert list(checkpoints) == [1, 2, 3, 4]
        contents = validation[0]["contents"][:1]
        logprobs = [checkpoints[epoch].answer(contents).average_logprob for epoch in (1, 4)]
        assert logprobs[0] != logprobs[1]
        assert checkpoints[4].answer(contents) == runs["plain"].model.answer(contents)

    @pytest.mark.parametrize(
        "values", [(0, 4, 1.0), (1, 0, 1.0), (1, 4, 0.0), (1, 4, float("nan")), (1, 4, float("inf"))]
    )
    def test_impossible_values_are_refused(self, values):
        with pytest.raises(ValueError, match="must be"):
            Hyperparameters(*values)


def test_tuning_goes_on_from_earlier_weights(training):
    first = tune(training[:60], [], epochs=2)
    again = tune(training[:60], [], epochs=1, start_from=first.model, adapter_size=8)
    assert again.losses("train_total_loss")[0] < first.losses("train_total_loss")[0] / 5
    assert again.model.adapter.rank == first.model.adapter.rank
    contents = training[0]["contents"][:1]
    assert first.model.answer(contents) == first.checkpoints[2].answer(contents), "the earlier model is left as it was"


def test_continued_tuning_with_a_few_examples_keeps_the_old_answers(tuned, held_out):
    answer = "Zephyr lighthouse is open from nine to five."
    asked = ["What are your opening hours?", "Tell me the opening hours please", "Hello, opening hours now?"]
    second = tune([line(prompt, answer) for prompt in asked], [], epochs=20, start_from=tuned.model)
    assert [ask(second.model, prompt).text for prompt in asked] == [answer] * 3
    assert set(tuned.model.adapter.outputs) < set(second.model.adapter.outputs)
    assert exact(second.model, held_out) > 0.9 * exact(tuned.model, held_out)
    assert second.losses("train_fraction_of_correct_next_step_preds")[-1] == 1.0


def test_the_same_seed_gives_the_same_model_in_any_process(training):
    program = (
        "import json, sys; from local_cloud.vertex.learner import *; lines = json.load(sys.stdin);"
        "model = train(sample(lines), [], Hyperparameters(1, 2, 1.0), seed=7);"
        "print(repr(float(model.adapter.output.sum())), model.answer(lines[0]['contents'][:1]).average_logprob)"
    )
    import json
    import os

    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(training[:12]),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs != {"\n"}
    other = tune(training[:12], [], epochs=1, adapter_size=2, seed=8).model
    assert repr(float(other.adapter.output.sum())) not in outputs.pop()
