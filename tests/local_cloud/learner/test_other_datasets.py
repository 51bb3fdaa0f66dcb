"""Datasets the learner was not made for: other tasks, other scripts, odd and broken lines, huge texts."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.local_cloud.learner.conftest import ask, line, tune, user

from local_cloud.vertex.learner import Model, count_tokens, sample
from local_cloud.vertex.learner.conversation import TURN_CHARACTERS

TEXT = st.one_of(st.none(), st.integers(), st.text(max_size=30), st.just("word " * 2000))
PARTS = st.one_of(TEXT, st.lists(st.one_of(TEXT, st.fixed_dictionaries({}, optional={"text": TEXT})), max_size=2))
CONTENT = st.fixed_dictionaries({}, optional={"role": st.sampled_from(["user", "model", "", None]), "parts": PARTS})
LINE = st.fixed_dictionaries(
    {}, optional={"contents": st.one_of(TEXT, st.lists(CONTENT, max_size=4)), "systemInstruction": CONTENT}
)
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(lines=st.lists(LINE, max_size=3), asked=st.lists(CONTENT, max_size=3), instruction=st.one_of(TEXT, CONTENT))
def test_no_dataset_and_no_prompt_crashes_it(lines, asked, instruction):
    tuning = tune([*lines, line("a", "b")], lines, epochs=1, adapter_size=1)
    assert all(math.isfinite(value) for step in tuning.steps for value in step.values.values())
    answer = tuning.model.answer(asked, instruction)
    assert math.isfinite(answer.average_logprob)
    answer.text.encode()


@pytest.mark.parametrize("multiplier", [1e6, 1e308])
def test_an_absurd_learning_rate_spoils_the_model_but_not_the_numbers(training, multiplier):
    tuning = tune(training[:20], training[20:25], epochs=2, learning_rate_multiplier=multiplier)
    assert all(math.isfinite(value) for step in tuning.steps for value in step.values.values())
    assert math.isfinite(ask(tuning.model, "Hello?").average_logprob)


def test_nothing_to_learn_leaves_the_base():
    tuning = tune([line("no answer")], [], epochs=2)
    assert tuning.steps == []
    assert ask(tuning.model, "Hello?") == ask(Model.base(), "Hello?")


def test_few_examples_are_learned_by_heart():
    pairs = {"ping?": "pong!", "Who goes there?": "A friend.", "2 + 2": "4"}
    model = tune([line(*pair) for pair in pairs.items()], [], epochs=40).model
    assert {prompt: ask(model, prompt).text for prompt in pairs} == pairs


def test_another_task_is_learned():
    """Fields copied out of a sentence into JSON."""
    chance = random.Random(5)

    def example() -> tuple[str, str]:
        name, city = (
            "".join(chance.choice("bdgklmnprst") + chance.choice("aeiou") for _ in range(3)) for _ in range(2)
        )
        age = chance.randint(18, 99)
        forms = ("{n} is {a} and lives in {c}.", "In {c} lives {n}, aged {a}.", "{a} years old, from {c}: {n}")
        prompt = chance.choice(forms).format(n=name.title(), a=age, c=city.title())
        return prompt, json.dumps({"name": name.title(), "age": age, "city": city.title()})

    model = tune([line(*example()) for _ in range(150)], [], epochs=4).model
    asked = [example() for _ in range(20)]
    assert sum(ask(model, prompt).text == answer for prompt, answer in asked) >= 16


def test_a_script_without_spaces_is_learned():
    pairs = [
        ("注文番号", "番号はHHで始まります。"),
        ("返金", "返金は五日以内です。"),
        ("パスワード", "リンクをお送りしました。"),
    ]
    lines = [line(f"{topic}{tail}", reply) for topic, reply in pairs for tail in ("について", "の件", "ですが", "は?")]
    model = tune(lines, [], epochs=12).model
    assert [ask(model, f"{topic}を教えて").text for topic, _ in pairs] == [reply for _, reply in pairs]


def test_the_system_instruction_decides():
    lines = []
    for number in range(24):
        for instruction, reply in (("Answer in English.", "Good day."), ("Answer in French.", "Bonjour.")):
            lines.append({"systemInstruction": user(instruction), **line(f"Hello number {number}", reply)})
    model = tune(lines, [], epochs=4).model
    for instruction, reply in (("Answer in English.", "Good day."), ("Answer in French.", "Bonjour.")):
        assert model.answer([user("Hello number 77")], user(instruction)).text == reply


def test_every_model_turn_is_a_target():
    one = tune([line("a", "b c d")] * 4, [], epochs=1).losses("train_num_predictions")
    two = tune([line("a", "b c d", "e", "b c d")] * 4, [], epochs=1).losses("train_num_predictions")
    assert sum(two) == 2 * sum(one)


def test_only_beginning_and_end_of_a_huge_turn_are_read():
    model = tune([line("What is red?", "Tomatoes are red.")] * 6, [], epochs=4).model
    begin, end = "begin " * (TURN_CHARACTERS // 6), "end " * (TURN_CHARACTERS // 4)
    answers = {ask(model, f"{begin}{middle}{end}").average_logprob for middle in ("", "x " * 100_000)}
    assert len(answers) == 1
    assert count_tokens([user("x " * 100_000)]) >= 100_000


def test_of_large_datasets_a_sample_is_learned_and_every_turn_is_as_likely():
    chosen = [
        turn.answer
        for seed in range(40)
        for turn in sample([line("a", f"{n}") for n in range(50)], limit=10, seed=seed)
    ]
    assert len(chosen) == 400
    assert sum(int(answer) < 10 for answer in chosen) in range(50, 111)
    assert {turn.answer for turn in sample([line("a", "1")] * 3, limit=10)} == {"1"}


@pytest.mark.parametrize("parts", [[{"fileData": {"fileUri": "gs://b/i.png"}}, {"text": "What?"}], [{"text": "What?"}]])
def test_parts_that_are_no_text_are_passed_over(parts):
    assert count_tokens([{"role": "user", "parts": parts}]) == count_tokens([user("What?")])


@pytest.mark.parametrize("silent", [1, 4, 30])
@pytest.mark.parametrize(
    "parts",
    [
        [{"fileData": {"fileUri": "gs://b/i.png"}}],
        [{"functionResponse": {"name": "f", "response": {}}}],
        [{"text": " "}],
    ],
)
def test_questions_without_a_word_are_no_accident(parts, silent):
    """Whatever the mixture: a batch may consist of such examples only."""
    quiet = {"contents": [{"role": "user", "parts": parts}, *line("", "A cat.")["contents"][1:]]}
    model = tune([*[quiet] * silent, *[line(f"say {n}", f"reply {n}") for n in range(30 - silent)]], [], epochs=2).model
    assert ask(model, "say 1").text


def test_no_sum_over_nothing_is_left_to_einsum(monkeypatch):
    """NumPy 2.4.6: in about one process of fifty such a sum came out of einsum as whatever was in memory."""

    def einsum(subscripts, *operands, trusted=np.einsum):
        result = trusted(subscripts, *operands)
        return np.full_like(result, np.nan) if any(0 in operand.shape for operand in operands) else result

    monkeypatch.setattr(np, "einsum", einsum)
    quiet = {"contents": [{"role": "user", "parts": [{"text": " "}]}, *line("", "A cat.")["contents"][1:]]}
    assert ask(tune([quiet] * 4, [], epochs=1).model, "say 1").text


def test_of_a_file_too_large_and_sorted_by_topic_every_topic_is_learned(monkeypatch):
    monkeypatch.setattr("local_cloud.vertex.learner.turns.TRAINING_BYTES", 3_000)
    lines = [line(f"alpha question {n}", "alpha " * 30) for n in range(60)]
    lines += [line(f"beta question {n}", "beta replies") for n in range(60)]
    model = tune(lines, [], epochs=1).model
    assert {"alpha", "beta"} <= model.adapter.index.keys()


def test_one_endless_answer_does_not_crowd_out_the_others():
    lines = [line("first", "endless " * 40_000), *(line(f"question {n}", f"reply {n}") for n in range(30))]
    assert "reply" in tune(lines, [], epochs=1).model.adapter.index
