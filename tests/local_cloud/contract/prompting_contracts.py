"""What google-genai expects of prompts, to base models, tuned endpoints and checkpoints."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import errors, types
from tests.local_cloud.contract.service import BASE_MODEL, Genai, Service

QUESTION = "Which shelf holds the red paint?"
_GREEDY = types.GenerateContentConfig(temperature=0.0)


def genai_prompts(service: Service, client: Genai) -> None:
    """Everything that can be prompted answers with text, a reason to stop, and counted tokens."""
    likelihoods = []
    for model in _prompted(service):
        answer = client.call("models.generate_content", model=model, contents=QUESTION, config=_GREEDY)
        (candidate,) = answer.candidates
        assert candidate.finish_reason in (types.FinishReason.STOP, types.FinishReason.MAX_TOKENS)
        assert candidate.content.role == "model"
        assert answer.text
        assert answer.response_id
        assert answer.create_time
        assert answer.model_version
        usage = answer.usage_metadata
        counted = client.call("models.count_tokens", model=model, contents=QUESTION)
        assert counted.total_tokens == usage.prompt_token_count > 0
        assert usage.candidates_token_count > 0
        assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
        assert [(item.modality, item.token_count) for item in usage.prompt_tokens_details] == [
            (types.MediaModality.TEXT, usage.prompt_token_count)
        ]
        again = client.call("models.generate_content", model=model, contents=QUESTION, config=_GREEDY)
        assert again.text == answer.text
        assert candidate.avg_logprobs < 0
        likelihoods.append(candidate.avg_logprobs)
    assert len(set(likelihoods)) == len(likelihoods), "each has weights of its own"


def genai_streams(service: Service, client: Genai) -> None:
    """A stream's pieces are the whole answer, the last one with its reason to stop and its usage."""
    most = 0
    for model in _prompted(service):
        whole = client.call("models.generate_content", model=model, contents=QUESTION, config=_GREEDY)
        pieces = client.stream(model=model, contents=QUESTION, config=_GREEDY)
        most = max(most, len(pieces))
        assert "".join(piece.text or "" for piece in pieces) == whole.text
        assert {piece.response_id for piece in pieces} == {pieces[0].response_id}
        assert pieces[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason
        assert all(not piece.candidates[0].finish_reason for piece in pieces[:-1])
        assert pieces[-1].usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count
    assert most > 1


def genai_generation_settings(service: Service, client: Genai) -> None:
    """The settings and the system instruction of a request reach the model."""
    model = service.tuned["tunedModel"]["endpoint"]

    def ask(**config: Any) -> types.GenerateContentResponse:
        asked = types.GenerateContentConfig(temperature=0.0, **config)
        answer: types.GenerateContentResponse = client.call(
            "models.generate_content", model=model, contents=QUESTION, config=asked
        )
        return answer

    plain = ask()
    cut = ask(max_output_tokens=2)
    assert cut.candidates
    assert cut.usage_metadata
    assert cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert cut.usage_metadata.candidates_token_count == 2
    assert plain.text
    assert plain.text.startswith(cut.text or "?")
    word = plain.text.split()[1]
    stopped = ask(stop_sequences=[word])
    assert (stopped.text or "").rstrip() == plain.text.partition(word)[0].rstrip()
    assert [candidate.index or 0 for candidate in ask(candidate_count=2).candidates or []] == [0, 1]
    instructed = ask(system_instruction="Answer like a warehouse keeper.")
    assert instructed.usage_metadata
    assert plain.usage_metadata
    assert (instructed.usage_metadata.prompt_token_count or 0) > (plain.usage_metadata.prompt_token_count or 0)
    turns = [types.UserContent("Hello"), types.ModelContent("Good morning"), types.UserContent(QUESTION)]
    counted = client.call("models.count_tokens", model=model, contents=turns)
    assert counted.total_tokens > (plain.usage_metadata.prompt_token_count or 0)


def genai_prompt_errors(service: Service, client: Genai) -> None:
    """What can't be prompted is refused with Google's statuses."""
    tuned = service.tuned["tunedModel"]
    parent = tuned["endpoint"].rpartition("/")[0]
    for model, code, status, words in (
        (f"{parent}/1", 404, "NOT_FOUND", "not found"),
        ("gemini-9-ultra", 404, "NOT_FOUND", "gemini-9-ultra"),
        (tuned["model"].partition("@")[0], 400, "INVALID_ARGUMENT", "malformed"),
    ):
        with pytest.raises(errors.ClientError, match=words) as refused:
            client.call("models.generate_content", model=model, contents=QUESTION)
        assert (refused.value.code, refused.value.status) == (code, status)
    hot = types.GenerateContentConfig(temperature=9.0)
    with pytest.raises(errors.ClientError, match="temperature"):
        client.call("models.generate_content", model=BASE_MODEL, contents=QUESTION, config=hot)


def _prompted(service: Service) -> list[str]:
    checkpoints = service.tuned["tunedModel"]["checkpoints"]
    return [BASE_MODEL, *(item["endpoint"] for item in checkpoints)]
