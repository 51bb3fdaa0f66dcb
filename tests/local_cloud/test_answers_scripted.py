"""Answers that a rehearsal scripts: finish reasons, blocked prompts, texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.genai import types
from tests.local_cloud.conftest import TRAINING
from tests.local_cloud.services import LocalCloud, running_local_cloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from google import genai

    Ask = Callable[..., types.GenerateContentResponse]

QUESTION = TRAINING[0]["contents"][0]["parts"][0]["text"]
ANSWER = TRAINING[0]["contents"][1]["parts"][0]["text"]


@pytest.fixture
def script(local_cloud: LocalCloud) -> Iterator[Callable[..., None]]:
    """Adds an answer; what is left of them is dropped after the test."""
    yield lambda **answer: local_cloud.control("POST", "answers", answer)
    local_cloud.control("DELETE", "answers")


def whole(client: genai.Client, **request: Any) -> types.GenerateContentResponse:
    return client.models.generate_content(**request)


def streamed(client: genai.Client, **request: Any) -> types.GenerateContentResponse:
    """The last event of a stream, with the text of all of them."""
    pieces = list(client.models.generate_content_stream(**request))
    last = pieces[-1]
    text = "".join(piece.text or "" for piece in pieces)
    if text and last.candidates:
        last.candidates[0].content = types.ModelContent(text)
    return last


@pytest.fixture(params=[whole, streamed])
def ask(request: pytest.FixtureRequest, genai_client: genai.Client, tuned_job: dict[str, Any]) -> Ask:
    def call(prompt: str = QUESTION, model: str = "", **config: Any) -> types.GenerateContentResponse:
        settings = types.GenerateContentConfig(temperature=0, **config)
        answer: types.GenerateContentResponse = request.param(
            genai_client, model=model or tuned_job["tunedModel"]["endpoint"], contents=prompt, config=settings
        )
        return answer

    return call


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "OTHER"])
def test_an_answer_that_is_withheld(ask: Ask, script: Callable[..., None], reason: str) -> None:
    script(finish_reason=reason, finish_message="We can't say that.")
    answer = ask()
    assert answer.candidates
    candidate = answer.candidates[0]
    assert (candidate.finish_reason, candidate.finish_message) == (types.FinishReason[reason], "We can't say that.")
    assert candidate.content is None
    assert any(rating.blocked for rating in candidate.safety_ratings or []) == (reason == "SAFETY")
    usage = answer.usage_metadata
    assert usage
    assert not usage.candidates_token_count
    assert usage.total_token_count == usage.prompt_token_count
    assert ask().text == ANSWER, "the scripted answer is used up"


def test_an_answer_that_ends_early_keeps_its_text(ask: Ask, script: Callable[..., None]) -> None:
    script(finish_reason="MAX_TOKENS")
    answer = ask()
    assert answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert answer.text == ANSWER


def test_a_scripted_text_is_counted(ask: Ask, script: Callable[..., None], genai_client: genai.Client) -> None:
    text = "Quite another answer, with nine or ten words."
    script(text=text, finish_reason="RECITATION")
    answer = ask()
    assert answer.candidates
    assert answer.candidates[0].finish_reason == types.FinishReason.RECITATION
    assert answer.text == text
    counted = genai_client.models.count_tokens(model="gemini-2.5-flash", contents=text)
    assert answer.usage_metadata
    assert answer.usage_metadata.candidates_token_count == counted.total_tokens


def test_a_scripted_text_is_every_candidate(ask: Ask, script: Callable[..., None]) -> None:
    script(text="Yes.")
    answer = ask(candidate_count=2)
    assert answer.candidates
    assert answer.candidates[-1].index == 1
    assert answer.candidates[-1].finish_reason == types.FinishReason.STOP


@pytest.mark.parametrize("reason", ["SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "OTHER", "JAILBREAK", "MODEL_ARMOR"])
def test_a_blocked_prompt_has_no_candidates(ask: Ask, script: Callable[..., None], reason: str) -> None:
    script(block_reason=reason, block_message="Not this one.")
    answer = ask()
    assert not answer.candidates
    feedback = answer.prompt_feedback
    assert feedback
    assert feedback.block_reason == types.BlockedReason[reason]
    assert feedback.block_reason_message == "Not this one."
    assert len(feedback.safety_ratings or []) == 4
    assert answer.usage_metadata
    assert (answer.usage_metadata.prompt_token_count or 0) > 0
    assert answer.usage_metadata.total_token_count == answer.usage_metadata.prompt_token_count
    assert answer.model_version == "gemini-2.5-flash"


def test_an_answer_is_scripted_for_some_prompts_of_one_model(
    ask: Ask, script: Callable[..., None], tuned_job: dict[str, Any]
) -> None:
    endpoint = tuned_job["tunedModel"]["endpoint"].rpartition("/")[2]
    script(model=f"endpoints/{endpoint}$", prompt="^Tell", text="Told.", skip=1, times=2)
    assert ask(model="gemini-2.5-flash", prompt="Tell me").text != "Told."
    assert [ask().text, ask("Tell me").text != "Told."] == [ANSWER, True]
    assert [ask("Tell me").text, ask("Tell me").text] == ["Told.", "Told."]
    assert ask("Tell me").text != "Told."


def test_a_refused_prompt_uses_nothing_up(
    vertex: httpx.Client, ask: Ask, script: Callable[..., None], tuned_job: dict[str, Any]
) -> None:
    script(text="Scripted.")
    path = f"/v1/{tuned_job['tunedModel']['endpoint']}:generateContent"
    assert vertex.post(path, json={"contents": []}).status_code == 400
    assert vertex.post(path, json={"contents": {"parts": {"text": "x"}}, "tools": [{"a": {}}]}).status_code == 501
    assert ask().text == "Scripted."


def test_a_script_file_has_answers_too(tmp_path: Path) -> None:
    file = tmp_path / "script.yaml"
    file.write_text("answers: [{model: gemini-2.5-pro, block_reason: OTHER, times: null}]")
    with running_local_cloud(tmp_path / "state", script=file) as cloud:
        client = cloud.genai()
        for _ in range(2):
            assert not client.models.generate_content(model="gemini-2.5-pro", contents="Hello").candidates
        assert client.models.generate_content(model="gemini-2.5-flash", contents="Hello").candidates
