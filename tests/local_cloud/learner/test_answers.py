"""Answers: settings, finish reasons, counts, and models on disk."""

from __future__ import annotations

import pytest
from tests.local_cloud.learner.conftest import ask, line, tune, user

from local_cloud.vertex.learner import GenerationSettings, Model, count_tokens

PROMPT = "Hello, this is Zebedee. Please cancel my order. Order HH-10203."


@pytest.fixture(scope="module")
def model(tuned):
    return tuned.model


class TestSettings:
    def test_temperature_zero_always_gives_the_same_answer(self, model):
        assert len({ask(model, PROMPT, seed=seed) for seed in range(4)}) == 1

    def test_a_seed_repeats_a_sampled_answer_and_another_changes_it(self, model):
        hot = {"temperature": 2.0, "max_output_tokens": 40}
        assert ask(model, PROMPT, seed=1, **hot) == ask(model, PROMPT, seed=1, **hot)
        assert len({ask(model, "Which way to the sea?", seed=seed, **hot).text for seed in range(5)}) > 1

    @pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
    def test_a_narrow_choice_is_the_greedy_one(self, model, narrow):
        unsure, wide = "Which way to the sea?", {"temperature": 2.0, "seed": 3}
        greedy = ask(model, unsure).text
        assert ask(model, unsure, **(wide | narrow)).text == greedy
        assert ask(model, unsure, **wide).text != greedy

    def test_max_output_tokens_cuts_the_answer(self, model):
        full, cut = ask(model, PROMPT, max_output_tokens=200), ask(model, PROMPT, max_output_tokens=7)
        assert (full.finish_reason, cut.finish_reason) == ("STOP", "MAX_TOKENS")
        assert cut.output_tokens == 7
        assert full.text.startswith(cut.text)
        assert len(cut.text) < len(full.text)

    def test_a_stop_sequence_ends_the_answer_before_it(self, model):
        full = ask(model, PROMPT, max_output_tokens=200).text
        stopped = ask(model, PROMPT, max_output_tokens=200, stop_sequences=("never", "\nNext"))
        assert stopped.finish_reason == "STOP"
        assert stopped.text == full.split("\nNext")[0]


class TestCounts:
    def test_prompt_and_output_tokens_are_counted(self, model):
        answer = ask(model, PROMPT, max_output_tokens=200)
        assert answer.prompt_tokens == count_tokens([user(PROMPT)])
        assert answer.output_tokens == count_tokens([user(answer.text)])

    def test_the_system_instruction_and_every_turn_count(self):
        once = count_tokens([user("Please cancel my order.")])
        assert count_tokens([user("Please cancel my order.")] * 2) == 2 * once
        assert count_tokens([], user("Please cancel my order.")) == once

    def test_the_logprob_tells_sure_answers_from_nonsense(self, model):
        assert 0 >= ask(model, PROMPT).average_logprob > ask(Model.base(), PROMPT).average_logprob


class TestOnDisk:
    def test_a_saved_model_answers_the_same(self, model, tmp_path):
        model.save(tmp_path / "model.bin")
        assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]
        loaded = Model.load(tmp_path / "model.bin")
        for seed in range(3):
            hot = {"temperature": 1.0, "seed": seed}
            assert ask(loaded, PROMPT, **hot) == ask(model, PROMPT, **hot)

    def test_the_base_can_be_saved_too(self, tmp_path):
        Model.base().save(tmp_path / "base.npz")
        assert ask(Model.load(tmp_path / "base.npz"), PROMPT) == ask(Model.base(), PROMPT)

    def test_a_saved_model_can_be_tuned_further(self, tmp_path):
        lines = [line("ping?", "pong!")] * 4
        tune(lines, [], epochs=2).model.save(tmp_path / "m")
        assert tune(lines, [], epochs=1, start_from=Model.load(tmp_path / "m")).steps

    def test_a_model_over_another_base_is_refused(self, model, tmp_path, monkeypatch):
        model.save(tmp_path / "m")
        monkeypatch.setattr("local_cloud.vertex.learner.model._fingerprint", lambda: 1)
        with pytest.raises(ValueError, match="tune it again"):
            Model.load(tmp_path / "m")


def test_an_answer_needs_no_settings(model):
    assert model.answer([user(PROMPT)]) == model.answer([user(PROMPT)], None, GenerationSettings())
