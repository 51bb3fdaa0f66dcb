"""Prompts to tuned endpoints, checkpoints and base models."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from google.genai import errors, types
from tests.local_cloud.conftest import COLOURS, EPOCHS_BY_HEART, TRAINING
from tests.local_cloud.services import LocalCloud, example, wait_for_job

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from google import genai

QUESTION = TRAINING[0]["contents"][0]["parts"][0]["text"]
ANSWER = TRAINING[0]["contents"][1]["parts"][0]["text"]
EXACT = types.GenerateContentConfig(temperature=0)


def endpoint_of(job: dict[str, Any]) -> str:
    return str(job["tunedModel"]["endpoint"])


def test_the_tuned_endpoint_answers_from_training_and_the_base_model_cannot(
    genai_client: genai.Client, tuned_job: dict[str, Any]
) -> None:
    tuned = genai_client.models.generate_content(model=endpoint_of(tuned_job), contents=QUESTION, config=EXACT)
    base = genai_client.models.generate_content(
        model="gemini-2.5-flash", contents=QUESTION, config=types.GenerateContentConfig(temperature=0, seed=1)
    )
    assert tuned.text == ANSWER
    assert base.text != ANSWER
    assert (tuned.model_version, base.model_version) == ("gemini-2.5-flash", "gemini-2.5-flash")


def test_the_answer_follows_the_training_data_of_the_job(
    genai_client: genai.Client,
    vertex: httpx.Client,
    local_cloud: LocalCloud,
    job_body: Callable[..., dict[str, Any]],
    tuned_job: dict[str, Any],
) -> None:
    """The same questions with other answers must give another model: nothing is looked up by prompt."""
    other = [example(f"Which shelf holds the {c} paint?", f"We sold the last {c} tin.") for c in COLOURS]
    body = job_body(epochCount=EPOCHS_BY_HEART)
    body["supervisedTuningSpec"]["trainingDatasetUri"] = local_cloud.upload("sold/train.jsonl", other)
    job = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).json()
    job = wait_for_job(vertex, job["name"])
    texts = [
        genai_client.models.generate_content(model=endpoint_of(j), contents=QUESTION, config=EXACT).text
        for j in (tuned_job, job)
    ]
    assert texts == [ANSWER, f"We sold the last {COLOURS[0]} tin."]


def test_each_checkpoint_serves_its_own_weights(genai_client: genai.Client, tuned_job: dict[str, Any]) -> None:
    def confidence(endpoint: str) -> float:
        answer = genai_client.models.generate_content(model=endpoint, contents=QUESTION, config=EXACT)
        assert answer.candidates is not None
        assert answer.candidates[0].avg_logprobs is not None
        return float(answer.candidates[0].avg_logprobs)

    checkpoints = tuned_job["tunedModel"]["checkpoints"]
    first, last = confidence(checkpoints[0]["endpoint"]), confidence(checkpoints[-1]["endpoint"])
    assert first != last
    assert confidence(endpoint_of(tuned_job)) == last


def test_temperature_zero_is_deterministic_and_a_seed_repeats(
    genai_client: genai.Client, tuned_job: dict[str, Any]
) -> None:
    def ask(endpoint: str, **settings: Any) -> str:
        config = types.GenerateContentConfig(max_output_tokens=20, **settings)
        return str(genai_client.models.generate_content(model=endpoint, contents="Paint?", config=config).text)

    endpoint = endpoint_of(tuned_job)
    assert ask(endpoint, temperature=0) == ask(endpoint, temperature=0)
    early = tuned_job["tunedModel"]["checkpoints"][0]["endpoint"]
    assert ask(early, temperature=2, seed=5) == ask(early, temperature=2, seed=5)
    assert len({ask(early, temperature=2, seed=seed) for seed in range(5)}) > 1


def test_generation_settings_have_their_effect(genai_client: genai.Client, tuned_job: dict[str, Any]) -> None:
    def ask(**settings: Any) -> types.GenerateContentResponse:
        config = types.GenerateContentConfig(temperature=0, **settings)
        return genai_client.models.generate_content(model=endpoint_of(tuned_job), contents=QUESTION, config=config)

    short = ask(max_output_tokens=3)
    assert short.candidates is not None
    assert short.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert short.text is not None
    assert ANSWER.startswith(short.text)
    assert short.text != ANSWER
    stopped = ask(stop_sequences=["stands"])
    assert stopped.candidates is not None
    assert stopped.candidates[0].finish_reason == types.FinishReason.STOP
    assert stopped.text == ANSWER.partition("stands")[0]
    several = ask(candidate_count=2)
    assert [candidate.index for candidate in several.candidates or []] == [0, 1]


def test_usage_is_counted_and_agrees_with_count_tokens(genai_client: genai.Client, tuned_job: dict[str, Any]) -> None:
    endpoint = endpoint_of(tuned_job)
    usage = genai_client.models.generate_content(model=endpoint, contents=QUESTION, config=EXACT).usage_metadata
    counted = genai_client.models.count_tokens(model=endpoint, contents=QUESTION)
    longer = genai_client.models.count_tokens(model="gemini-2.5-flash", contents=QUESTION + " Thank you.")
    assert usage is not None
    assert usage.candidates_token_count is not None
    assert usage.prompt_token_count == counted.total_tokens
    assert usage.candidates_token_count > 0
    assert usage.total_token_count == usage.prompt_token_count + usage.candidates_token_count
    assert longer.total_tokens is not None
    assert counted.total_tokens is not None
    assert longer.total_tokens > counted.total_tokens


def test_a_stream_adds_up_to_the_whole_answer(genai_client: genai.Client, tuned_job: dict[str, Any]) -> None:
    endpoint = endpoint_of(tuned_job)
    pieces = list(genai_client.models.generate_content_stream(model=endpoint, contents=QUESTION, config=EXACT))
    assert len(pieces) > 1
    assert "".join(piece.text or "" for piece in pieces) == ANSWER
    assert [piece.usage_metadata is not None for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_a_stream_without_sse_is_one_json_list(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    body = {"contents": {"role": "USER", "parts": {"text": QUESTION}}, "generation_config": {"temperature": 0}}
    response = vertex.post(f"/v1/{endpoint_of(tuned_job)}:streamGenerateContent", json=body)
    texts = [piece["candidates"][0]["content"]["parts"][0]["text"] for piece in response.json()]
    assert "".join(texts) == ANSWER


def test_a_gemini_3_model_is_served_from_the_multi_region(
    local_cloud: LocalCloud, vertex: httpx.Client, job_body: Callable[..., dict[str, Any]]
) -> None:
    body = job_body({"baseModel": "gemini-3.5-flash"}, epochCount=EPOCHS_BY_HEART)
    job = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).json()
    tuned = wait_for_job(vertex, job["name"])["tunedModel"]
    assert "/locations/us-central1/models/" in tuned["model"]
    assert "/locations/us/endpoints/" in tuned["endpoint"]
    client = local_cloud.genai(location="us")
    answer = client.models.generate_content(model=tuned["endpoint"], contents=QUESTION, config=EXACT)
    assert answer.text == ANSWER


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [
        ("projects/local-dev/locations/us-central1/endpoints/1", 404, "Endpoint `.*/endpoints/1` not found"),
        ("projects/local-dev/locations/us-central1/models/1", 400, "The Model name .* is malformed"),
        ("gemini-9.9-imaginary", 404, "Publisher Model `.*` was not found"),
        ("gemini-2.0-flash-001", 404, "Publisher Model `.*` was not found"),
    ],
)
def test_what_cannot_be_prompted_is_refused(genai_client: genai.Client, model: str, code: int, message: str) -> None:
    with pytest.raises(errors.ClientError, match=message) as refusal:
        genai_client.models.generate_content(model=model, contents="Hello")
    assert refusal.value.code == code


def test_each_event_of_a_stream_is_sent_by_itself(
    local_cloud: LocalCloud, vertex: httpx.Client, tuned_job: dict[str, Any]
) -> None:
    host, _, port = local_cloud.vertex_url.removeprefix("http://").partition(":")
    body = json.dumps({"contents": {"parts": {"text": QUESTION}}, "generationConfig": {"temperature": 0}}).encode()
    head = (
        f"POST /v1/{endpoint_of(tuned_job)}:streamGenerateContent?alt=sse HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: {vertex.headers['Authorization']}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        raw = b"".join(iter(lambda: connection.recv(65536), b""))
    headers, _, rest = raw.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in headers.lower()
    assert b"content-type: text/event-stream" in headers.lower()
    chunks = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    *events, end = chunks
    assert end == b""
    assert len(events) > 1
    assert all(event.startswith(b"data: {") and event.endswith(b"}\r\n\r\n") for event in events)


def test_long_prompts_are_read(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    path = f"/v1/{endpoint_of(tuned_job)}"
    config = {"temperature": 0, "maxOutputTokens": 2}
    long = [{"role": "user", "parts": [{"text": "paint " * 20_000}]}]
    many = [{"role": role, "parts": [{"text": "Red?"}]} for role in ["user", "model"] * 500 + ["user"]]
    for contents, least in ((long, 20_000), (many, 2_000)):
        body = {"contents": contents, "generationConfig": config}
        answer = vertex.post(f"{path}:generateContent", json=body).raise_for_status().json()
        counted = vertex.post(f"{path}:countTokens", json={"contents": contents}).raise_for_status().json()
        assert counted["totalTokens"] == answer["usageMetadata"]["promptTokenCount"] >= least


def test_a_prompt_longer_than_the_context_is_refused(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    body = {"contents": [{"parts": [{"text": "red " * 1_048_577}]}]}
    response = vertex.post(f"/v1/{endpoint_of(tuned_job)}:generateContent", json=body)
    assert response.status_code == 400
    assert "exceeds the maximum number of tokens allowed (1048576)" in response.json()["error"]["message"]


def test_prompts_do_not_hold_up_other_calls(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    """While long answers are written, jobs can be read."""
    endpoint = tuned_job["tunedModel"]["checkpoints"][0]["endpoint"]
    config = {"temperature": 2, "topP": 1, "topK": 100_000, "candidateCount": 8, "maxOutputTokens": 4_096}
    body = {"contents": {"parts": {"text": "paint " * 20_000}}, "generationConfig": config}
    with ThreadPoolExecutor(4) as threads:
        prompts = [
            threads.submit(vertex.post, f"/v1/{endpoint}:generateContent", json=body, timeout=120) for _ in range(4)
        ]
        reads = 0
        while not any(prompt.done() for prompt in prompts):
            assert vertex.get(f"/v1/{tuned_job['name']}").status_code == 200
            reads += 1
        assert reads > 3
        assert [prompt.result().status_code for prompt in prompts] == [200] * 4


def test_count_tokens_counts_everything_that_is_sent(genai_client: genai.Client, tuned_job: dict[str, Any]) -> None:
    def count(**config: Any) -> int:
        counted = genai_client.models.count_tokens(
            model=endpoint_of(tuned_job), contents=QUESTION, config=types.CountTokensConfig(**config)
        )
        return counted.total_tokens or 0

    plain = count()
    assert count(system_instruction="Answer briefly.") > plain
    tool = types.Tool(function_declarations=[types.FunctionDeclaration(name="shelf_of", description="Finds paint.")])
    assert count(tools=[tool]) > plain
    assert count(generation_config=types.GenerationConfig(temperature=0.5)) == plain
    said = genai_client.models.count_tokens(model=endpoint_of(tuned_job), contents=types.ModelContent(QUESTION))
    assert said.total_tokens == plain, "a conversation may be counted up to any turn"


@pytest.mark.parametrize(
    ("method", "code", "message"),
    [
        ("computeTokens", 501, "does not imitate computeTokens"),
        ("predict", 400, "Gemini cannot be accessed through Vertex Predict/RawPredict API"),
        ("rawPredict", 400, "Gemini cannot be accessed through Vertex Predict/RawPredict API"),
    ],
)
def test_other_ways_to_prompt_are_refused(
    vertex: httpx.Client, tuned_job: dict[str, Any], method: str, code: int, message: str
) -> None:
    response = vertex.post(f"/v1/{endpoint_of(tuned_job)}:{method}", json={})
    assert response.status_code == code
    assert message in response.json()["error"]["message"]
