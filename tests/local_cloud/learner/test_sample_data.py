"""The sample data is clean, and its suite passes because of tuning."""

from __future__ import annotations

import json
import re

import pytest
from tests.local_cloud.learner.conftest import DATASETS, lines, tune, user

from gemini_tuning.smoke.assertions import holds
from gemini_tuning.smoke.suite import SmokeSuite
from local_cloud.vertex.learner import GenerationSettings, Model

COUNTS = {"train": 300, "validation": 60, "held_out": 60}


@pytest.fixture(scope="module")
def suite() -> SmokeSuite:
    return SmokeSuite.load(DATASETS.parent / "smoke_tests" / "support_replies.yaml")


def failures(model: Model, suite: SmokeSuite) -> list[str]:
    instruction = user(suite.system_instruction or "")
    settings = GenerationSettings(max_output_tokens=200)
    answers = {test.description: model.answer([user(test.prompt)], instruction, settings).text for test in suite.tests}
    return [
        f"{test.description}: {answers[test.description]}"
        for test in suite.tests
        if not all(holds(assertion, answers[test.description]) for assertion in test.assertions)
    ]


def first_prompt(example) -> str:
    return " ".join(example["contents"][0]["parts"][0]["text"].lower().split())


def test_the_tuned_model_passes_the_suite(tuned, suite):
    assert failures(tuned.model, suite) == []


def test_the_base_fails_the_whole_suite(suite):
    assert len(failures(Model.base(), suite)) == len(suite.tests)


def test_a_badly_tuned_model_fails_the_suite(suite, training):
    model = tune(training, [], epochs=1, learning_rate_multiplier=0.01).model
    assert len(failures(model, suite)) > len(suite.tests) / 2


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_every_line_has_the_form_of_supervised_tuning(name, count):
    examples = lines(name)
    assert len(examples) == count
    for example in examples:
        assert example.keys() == {"systemInstruction", "contents"}
        assert [c["role"] for c in example["contents"]] in (["user", "model"], ["user", "model"] * 2)
        assert all(part["text"].strip() for content in example["contents"] for part in content["parts"])


def test_no_prompt_occurs_twice_anywhere(suite):
    prompts = [first_prompt(example) for name in COUNTS for example in lines(name)]
    prompts += [" ".join(test.prompt.lower().split()) for test in suite.tests]
    assert len(set(prompts)) == len(prompts)


def test_the_suite_and_the_held_out_lines_share_no_order_number_with_the_training_lines(suite):
    def orders(text: str) -> set[str]:
        return set(re.findall(r"HH-\d{5}", text.upper()))

    trained = orders(json.dumps(lines("train")))
    assert trained
    assert not trained & orders(json.dumps(lines("held_out")))
    assert not trained & orders(" ".join(test.prompt for test in suite.tests))


def test_triage_answers_are_json():
    triage = [e for e in lines("train") if e["contents"][-1]["parts"][0]["text"].startswith("{")]
    assert len(triage) > 30
    for example in triage:
        assert json.loads(example["contents"][-1]["parts"][0]["text"]).keys() == {"topic", "order", "product"}


def test_the_suite_uses_every_kind_of_assertion(suite):
    kinds = {assertion.type for test in suite.tests for assertion in test.assertions}
    plain = {"equals", "contains", "icontains", "regex", "is-json"}
    assert kinds == plain | {f"not-{kind}" for kind in plain}
