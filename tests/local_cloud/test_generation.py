"""What a prompt may ask for: settings that act, settings that are refused, thinking."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.genai import types
from tests.local_cloud.test_prompting import endpoint_of

if TYPE_CHECKING:
    import httpx
    from google import genai
    from tests.local_cloud.services import LocalCloud


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"contents": []},
        {"contents": [{"role": "user"}]},
        {"contents": [{"role": "robot", "parts": [{"text": "x"}]}]},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"temperature": 3}},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 0}},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"topP": "NaN"}},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"candidateCount": 9}},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"topK": 0.5}},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 2**40}},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"stopSequences": [""]}},
        {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": {"stopSequences": list("abcdef")}},
        {"contents": [{"parts": [{"text": "x"}]}], "systemInstruction": {"parts": []}},
        {"contents": [{"parts": [{"text": "x"}]}], "surprise": 1},
        {"contents": [{"parts": [{"text": ""}]}]},
        {"contents": [{"parts": [{"thought": True}]}]},
        {"contents": [{"role": "model", "parts": [{"text": "x"}]}]},
    ],
    ids=json.dumps,
)
def test_a_bad_prompt_is_refused(vertex: httpx.Client, tuned_job: dict[str, Any], body: dict[str, Any]) -> None:
    response = vertex.post(f"/v1/{endpoint_of(tuned_job)}:generateContent", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "config",
    [
        {"seed": -1},
        {"service_tier": "flex"},
        {"seed": 2**31 - 1, "temperature": 2.0},
        {"labels": {"team": "x"}},
        {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
        {"response_modalities": ["TEXT"]},
        {"response_mime_type": "text/plain"},
        {"max_output_tokens": 65_536},
        {"top_k": 1_000_000, "top_p": 0.0},
        {"presence_penalty": 0.0, "response_logprobs": False},
        {"thinking_config": {"thinking_budget": 0}},
        {"thinking_config": {"thinking_budget": -1, "include_thoughts": True}},
    ],
    ids=json.dumps,
)
def test_settings_the_client_may_send_are_taken(
    genai_client: genai.Client, tuned_job: dict[str, Any], config: dict[str, Any]
) -> None:
    endpoint = endpoint_of(tuned_job)
    assert genai_client.models.generate_content(model=endpoint, contents="Red?", config=config).candidates  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [{"functionDeclarations": [{"name": "f"}]}]}, "tools"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "toolConfig"),
        ({"cachedContent": "projects/p/locations/l/cachedContents/1"}, "cachedContent"),
        ({"generationConfig": {"responseMimeType": "application/json"}}, "generation_config.responseMimeType"),
        ({"generation_config": {"response_schema": {"type": "STRING"}}}, "generation_config.responseSchema"),
        ({"generationConfig": {"responseJsonSchema": {"type": "string"}}}, "generation_config.responseJsonSchema"),
        ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "generation_config.responseModalities"),
        ({"generationConfig": {"responseLogprobs": True, "logprobs": 2}}, "generation_config.responseLogprobs"),
        ({"generationConfig": {"frequencyPenalty": 0.5}}, "generation_config.frequencyPenalty"),
        ({"generationConfig": {"speechConfig": {"languageCode": "en-US"}}}, "generation_config.speechConfig"),
        ({"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}, "generation_config.mediaResolution"),
        ({"generationConfig": {"audioTimestamp": True}}, "generation_config.audioTimestamp"),
        ({"contents": {"parts": {"inlineData": {"mimeType": "image/png", "data": "AA=="}}}}, "inlineData"),
        ({"contents": {"parts": {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/o"}}}}, "fileData"),
        ({"contents": {"parts": {"functionResponse": {"name": "f", "response": {}}}}}, "functionResponse"),
    ],
    ids=json.dumps,
)
def test_what_would_be_ignored_is_refused_by_name(
    vertex: httpx.Client, tuned_job: dict[str, Any], body: dict[str, Any], field: str
) -> None:
    whole = {"contents": [{"parts": [{"text": "x"}]}], **body}
    for method in ("generateContent", "streamGenerateContent?alt=sse"):
        response = vertex.post(f"/v1beta1/{endpoint_of(tuned_job)}:{method}", json=whole)
        error = response.json()["error"]
        assert (response.status_code, error["status"]) == (501, "UNIMPLEMENTED")
        assert f"{field}`" in error["message"]


def thinking(budget: int | None = None, level: str | None = None, *, thoughts: bool = False) -> dict[str, Any]:
    """A thinkingConfig in mixed spelling, as google-genai sends it."""
    config = {"thinking_budget": budget, "thinkingLevel": level, "include_thoughts": thoughts or None}
    return {"thinkingConfig": {name: value for name, value in config.items() if value is not None}}


OFF = "Thinking can't be disabled for this model"
NO_LEVEL = "Thinking level is not supported for this model"
ONLY_ONE = "only one of thinking budget and thinking level"


@pytest.mark.parametrize(
    ("model", "config", "refusal"),
    [
        ("gemini-2.5-flash", thinking(0), None),
        ("gemini-2.5-flash", thinking(1), None),
        ("gemini-2.5-flash", thinking(24_576), None),
        ("gemini-2.5-flash", thinking(-1), None),
        ("gemini-2.5-flash", thinking(24_577), "The thinking budget 24577 is invalid"),
        ("gemini-2.5-flash", thinking(-2), "The thinking budget -2 is invalid"),
        ("gemini-2.5-flash", thinking(level="LOW"), NO_LEVEL),
        ("gemini-2.5-flash", thinking(0, "LOW"), ONLY_ONE),
        ("gemini-2.5-flash", thinking(0, thoughts=True), "include_thoughts is only enabled when thinking is enabled"),
        ("gemini-2.5-flash-lite", thinking(0), None),
        ("gemini-2.5-flash-lite", thinking(512), None),
        ("gemini-2.5-flash-lite", thinking(511), "choose a value between 512 and 24576"),
        ("gemini-2.5-pro", thinking(128), None),
        ("gemini-2.5-pro", thinking(32_768), None),
        ("gemini-2.5-pro", thinking(-1), None),
        ("gemini-2.5-pro", thinking(0), OFF),
        ("gemini-2.5-pro", thinking(127), "choose a value between 128 and 32768"),
        ("gemini-2.5-pro", thinking(32_769), "The thinking budget 32769 is invalid"),
        *(("gemini-3.5-flash", thinking(level=level), None) for level in ("MINIMAL", "LOW", "MEDIUM", "HIGH")),
        ("gemini-3.5-flash", thinking(1_000), None),
        ("gemini-3.1-flash-lite", thinking(-2), "The thinking budget -2 is invalid"),
        ("gemini-3.1-flash-lite", thinking(0, "MINIMAL"), ONLY_ONE),
        ("gemini-3.5-flash", thinking(level="IMMENSE"), "thinking_level"),
    ],
)
def test_thinking_follows_the_model_family(
    local_cloud: LocalCloud, vertex: httpx.Client, model: str, config: dict[str, Any], refusal: str | None
) -> None:
    """On the base model, on a model tuned from it, and on one that was tuned from that."""
    parent = "projects/640000000000/locations/europe-west4"
    tuned = {"baseModel": model}
    continued = {"preTunedModel": {"tunedModelName": f"{parent}/models/1", "baseModel": model}}
    endpoints = [
        local_cloud.control("POST", "jobs", {"name": f"{parent}/tuningJobs/t{number}", **source})["tunedModel"][
            "endpoint"
        ]
        for number, source in enumerate((tuned, continued))
    ]
    for name in (f"{local_cloud.parent}/publishers/google/models/{model}", *endpoints):
        body = {"contents": {"parts": {"text": "Red?"}}, "generationConfig": {"maxOutputTokens": 2, **config}}
        response = vertex.post(f"/v1beta1/{name}:generateContent", json=body)
        if refusal is None:
            assert "thoughtsTokenCount" not in response.raise_for_status().json()["usageMetadata"]
        else:
            assert response.status_code == 400
            assert refusal in response.json()["error"]["message"]


def test_a_model_that_cannot_think_is_not_asked_to(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    job = {"name": "projects/640000000000/locations/us-central1/tuningJobs/t9", "baseModel": "gemini-2.0-flash-001"}
    endpoint = local_cloud.control("POST", "jobs", job)["tunedModel"]["endpoint"]
    body: dict[str, Any] = {"contents": {"parts": {"text": "Red?"}}, "generationConfig": {"maxOutputTokens": 2}}
    assert vertex.post(f"/v1/{endpoint}:generateContent", json=body).status_code == 200
    body["generationConfig"].update(thinking(1))
    response = vertex.post(f"/v1/{endpoint}:generateContent", json=body)
    assert response.status_code == 400
    assert "thinking is not supported by this model" in response.json()["error"]["message"]


def test_settings_act_alike_on_base_models_endpoints_and_checkpoints(
    genai_client: genai.Client, tuned_job: dict[str, Any]
) -> None:
    checkpoint = tuned_job["tunedModel"]["checkpoints"][0]["endpoint"]
    for model in ("gemini-2.5-flash", endpoint_of(tuned_job), checkpoint):

        def ask(model: str = model, **settings: Any) -> types.GenerateContentResponse:
            config = types.GenerateContentConfig(**{"max_output_tokens": 12, **settings})
            return genai_client.models.generate_content(model=model, contents="Paint?", config=config)

        def texts(answer: types.GenerateContentResponse) -> list[str]:
            return [
                "".join(part.text or "" for part in (candidate.content and candidate.content.parts) or [])
                for candidate in answer.candidates or []
            ]

        plain = texts(ask(temperature=0))
        assert (
            plain == texts(ask(temperature=0)) == texts(ask(temperature=0, seed=1)) == texts(ask(temperature=0, seed=2))
        )
        assert texts(ask(temperature=2, seed=7, candidate_count=3)) == texts(
            ask(temperature=2, seed=7, candidate_count=3)
        )
        assert len(texts(ask(temperature=2, seed=7, candidate_count=3))) == 3
        cut = ask(temperature=0, max_output_tokens=1)
        assert cut.candidates
        assert cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
        assert cut.usage_metadata
        assert cut.usage_metadata.candidates_token_count == 1
        stop = plain[0].strip()[:1]
        stopped = ask(temperature=0, stop_sequences=[stop])
        assert stopped.candidates
        assert stopped.candidates[0].finish_reason == types.FinishReason.STOP
        assert stop not in (stopped.text or "")
