"""What the service refuses, and that every refusal has Google's error shape."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.local_cloud.services import LocalCloud, example, wait_for_job

if TYPE_CHECKING:
    from collections.abc import Callable

    BuildBody = Callable[..., dict[str, Any]]


def create(vertex: httpx.Client, body: Any, location: str = "us-central1") -> httpx.Response:
    return vertex.post(f"/v1/projects/local-dev/locations/{location}/tuningJobs", json=body)


def check(response: httpx.Response, code: int, status: str, message: str) -> None:
    assert response.status_code == code, response.text
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert (error["code"], error["status"]) == (code, status)
    assert message in error["message"]


def with_spec(body: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**body, "supervisedTuningSpec": {**body["supervisedTuningSpec"], **spec}}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('{"input_text": "a"}\n', "Row: 0. Missing required `contents` field."),
        (json.dumps(example("a", "b")) + '\n{"messages": []}\n', "Row: 1. Missing required `contents` field."),
        ('{"contents": [\n', "Row: 0. Invalid JSON"),
        ("[]\n", "Row: 0. Expected a JSON object."),
        ('{"contents": [{"parts": ["a"]}]}\n', "Row: 0. Every item of `contents` needs a list of `parts`"),
        ('{"contents": ["a"]}\n', "Row: 0. Every item of `contents` needs a list of `parts`"),
        (b'{"contents": "\xff"}\n', "Row: 0. Invalid JSON"),
        (rb'{"contents": [{"parts": [{"text": "cut \ud83d"}]}]}', "Row: 0. Invalid JSON"),
        ('{"contents": [{"parts": [{"text": "a", "score": NaN}]}]}', "Row: 0. Invalid JSON: NaN is not JSON"),
        (b"\xef\xbb\xbf" + b'{"contents": []}', "Row: 0. Invalid JSON: it begins with a byte order mark."),
        ('{"a": ' + "9" * 100_000 + "}", "Row: 0. Invalid JSON: a number of 100000 digits is too large."),
        ('{"contents": [{"parts": [{"text": 5}]}]}', "Row: 0. Every item of `contents` needs a list of `parts`"),
        ("", "has no examples"),
    ],
)
def test_bad_rows_are_named_at_creation(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: BuildBody, rows: str | bytes, message: str
) -> None:
    before = local_cloud.counters()["tuning_jobs_created"]
    uri = local_cloud.upload(f"bad/{uuid.uuid4()}.jsonl", rows)
    check(create(vertex, with_spec(job_body(), trainingDatasetUri=uri)), 400, "INVALID_ARGUMENT", message)
    check(create(vertex, with_spec(job_body(), validationDatasetUri=uri)), 400, "INVALID_ARGUMENT", message)
    assert local_cloud.counters()["tuning_jobs_created"] == before


NOT_OBJECTS = ["train.jsonl", "gs://b", "gs://b/train.csv", "", "https://x/train.jsonl", f"gs://b/{'n' * 70_000}.jsonl"]


@pytest.mark.parametrize("uri", NOT_OBJECTS, ids=range(len(NOT_OBJECTS)))
def test_a_dataset_must_be_a_jsonl_object(vertex: httpx.Client, job_body: BuildBody, uri: str) -> None:
    message = "`training_dataset_uri` should be a GCS object of type JSONL"
    check(create(vertex, with_spec(job_body(), trainingDatasetUri=uri)), 400, "INVALID_ARGUMENT", message)


@pytest.mark.parametrize("uri", ["gs://tuning/missing.jsonl", "gs://no-such-bucket/train.jsonl"])
def test_a_missing_object_is_noticed_at_creation(vertex: httpx.Client, job_body: BuildBody, uri: str) -> None:
    check(create(vertex, with_spec(job_body(), trainingDatasetUri=uri)), 400, "FAILED_PRECONDITION", uri)


@pytest.mark.parametrize(
    ("fields", "hyper_parameters", "code", "message"),
    [
        (
            {"baseModel": "gemini-2.5-pro"},
            {"adapterSize": "ADAPTER_SIZE_SIXTEEN"},
            400,
            "adapter size is not supported",
        ),
        ({}, {"adapterSize": "ADAPTER_SIZE_THIRTY_TWO"}, 400, "adapter size is not supported for this base model"),
        ({"baseModel": "gemini-2.0-flash"}, {}, 400, "Base model gemini-2.0-flash is not supported"),
        ({"baseModel": "gemini-2.0-flash-001"}, {}, 404, "gemini-2.0-flash-001"),
        ({"baseModel": None}, {}, 400, "`base_model` is required"),
        ({"supervisedTuningSpec": None}, {}, 400, "`supervised_tuning_spec` is required"),
        ({"labels": {"Team": "a"}}, {}, 400, "Invalid label Team=a"),
        ({"labels": {"team": "a" * 65}}, {}, 400, "Invalid label"),
        ({"tunedModelDisplayName": "x" * 129}, {}, 400, "longer than 128 characters"),
        ({}, {"epochCount": -1}, 400, "epoch_count"),
        ({}, {"epochCount": 10_001}, 501, "The local Vertex AI trains at most 10,000 epochs."),
        ({}, {"epochCount": "100000000000"}, 501, "at most 10,000 epochs"),
        ({}, {"learningRate": 0.1}, 400, "not supported"),
        ({}, {"batchSize": 4}, 400, "not supported"),
        *(
            (
                {"baseModel": base, "encryptionSpec": {"kmsKeyName": "k"}},
                {},
                400,
                f"not supported for base model {base}",
            )
            for base in ("gemini-3.5-flash", "gemini-3.1-flash-lite")
        ),
        ({"distillationSpec": {}}, {}, 501, "does not imitate `distillationSpec`"),
        ({"customBaseModel": "gs://a/b"}, {}, 501, "does not imitate `customBaseModel`"),
        ({"preferenceOptimizationSpec": {}}, {}, 400, "Only one tuning spec"),
        ({"preTunedModel": {"tuned_model_name": "x"}}, {}, 400, "Only one of `base_model` and `pre_tuned_model`"),
        ({"baseModel": "", "preTunedModel": {"tuned_model_name": "x"}}, {}, 400, "Invalid `tuned_model_name`"),
    ],
)
def test_an_impossible_job_is_refused(
    vertex: httpx.Client,
    job_body: BuildBody,
    fields: dict[str, Any],
    hyper_parameters: dict[str, Any],
    code: int,
    message: str,
) -> None:
    status = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 501: "UNIMPLEMENTED"}[code]
    check(create(vertex, job_body(fields, **hyper_parameters)), code, status, message)


@pytest.mark.parametrize("method", ["rebaseTunedModel", "validateReinforcementTuningReward"])
def test_what_is_not_imitated_says_so(vertex: httpx.Client, local_cloud: LocalCloud, method: str) -> None:
    response = vertex.post(f"/v1beta1/{local_cloud.parent}/tuningJobs:{method}", json={})
    check(response, 501, "UNIMPLEMENTED", f"does not imitate `tuningJobs:{method}`")


def test_tuning_has_regions(vertex: httpx.Client, job_body: BuildBody) -> None:
    check(create(vertex, job_body(), "global"), 400, "FAILED_PRECONDITION", "global")
    gemini_3 = job_body({"baseModel": "gemini-3.5-flash"})
    check(create(vertex, gemini_3, "asia-east1"), 404, "NOT_FOUND", "asia-east1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"surprise": 1}, "Unknown name \"surprise\" at 'tuning_job': Cannot find field."),
        ({"supervisedTuningSpec": []}, "Invalid value at 'tuning_job.supervised_tuning_spec'"),
        ({"labels": {"a": 1}}, "Invalid value at 'tuning_job.labels[a]' (TYPE_STRING), 1"),
        ([], "Invalid value at 'tuning_job'"),
    ],
)
def test_a_body_of_the_wrong_shape_is_refused(vertex: httpx.Client, body: Any, message: str) -> None:
    check(create(vertex, body), 400, "INVALID_ARGUMENT", message)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 100_000, rb'{"description": "\ud800"}'])
def test_a_body_that_is_not_json_is_refused(vertex: httpx.Client, local_cloud: LocalCloud, body: bytes) -> None:
    response = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", content=body)
    check(response, 400, "INVALID_ARGUMENT", "Invalid JSON payload received.")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/projects/local-dev/locations/us-central1/tuningJobs/1", 404),
        ("POST", "/v1/projects/local-dev/locations/us-central1/tuningJobs/1:cancel", 404),
        ("GET", "/v1/projects/local-dev/locations/us-central1/models/1", 404),
        ("GET", "/v2/projects/local-dev/locations/us-central1/tuningJobs", 404),
        ("GET", "/", 404),
        ("DELETE", "/v1/projects/local-dev/locations/us-central1/tuningJobs", 405),
    ],
)
def test_an_unknown_resource_or_method_has_the_same_shape(
    vertex: httpx.Client, method: str, path: str, code: int
) -> None:
    check(vertex.request(method, path), code, {404: "NOT_FOUND", 405: "UNIMPLEMENTED"}[code], "")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"pageSize": "x"}, "page_size"),
        ({"pageSize": "-1"}, "page_size"),
        ({"pageToken": "x"}, "Invalid page token"),
        ({"pageToken": "YmVmb3JlOjk5OTk5OTk5OTk5OTk5OTk5OTk5"}, "Invalid page token"),  # before:99999999999999999999
        ({"filter": "labels"}, "Invalid list filter: labels"),
        ({"filter": 'state="A" OR state="B"'}, "Invalid list filter"),
    ],
)
def test_a_bad_list_query_is_refused(
    vertex: httpx.Client, local_cloud: LocalCloud, query: dict[str, str], message: str
) -> None:
    response = vertex.get(f"/v1/{local_cloud.parent}/tuningJobs", params=query)
    check(response, 400, "INVALID_ARGUMENT", message)


def test_a_job_is_only_found_where_it_is(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    elsewhere = tuned_job["name"].replace("us-central1", "europe-west4")
    check(vertex.get(f"/v1/{elsewhere}"), 404, "NOT_FOUND", elsewhere)
    by_project_id = tuned_job["name"].replace(tuned_job["name"].split("/")[1], "local-dev")
    assert vertex.get(f"/v1/{by_project_id}").json()["name"] == tuned_job["name"]


@pytest.mark.parametrize("sequence", [-(10**20), 0])
def test_a_page_token_before_the_first_job_is_refused(vertex: httpx.Client, sequence: int) -> None:
    token = base64.urlsafe_b64encode(f"before:{sequence}".encode()).decode()
    response = vertex.get("/v1/projects/local-dev/locations/us-central1/tuningJobs", params={"pageToken": token})
    check(response, 400, "INVALID_ARGUMENT", "Invalid page token")


def test_an_assertion_with_an_endless_number_is_no_token(local_cloud: LocalCloud) -> None:
    claims = base64.urlsafe_b64encode(b'{"iss": "a", "exp": ' + b"9" * 400 + b"}").decode()
    headers = {"Authorization": f"Bearer a.{claims}.b"}
    url = f"{local_cloud.vertex_url}/v1/projects/local-dev/locations/us-central1/tuningJobs"
    check(httpx.get(url, headers=headers, trust_env=False), 401, "UNAUTHENTICATED", "invalid authentication")


def test_data_with_nothing_to_learn_fails_the_job_as_the_users_mistake(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: BuildBody
) -> None:
    call = {
        "contents": [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"functionCall": {}}]}]
    }
    uri = local_cloud.upload("bad/calls.jsonl", [call])
    job = wait_for_job(vertex, create(vertex, with_spec(job_body(), trainingDatasetUri=uri)).json()["name"])
    assert job["state"] == "JOB_STATE_FAILED"
    assert job["error"]["code"] == 3
    assert "Error:" not in job["error"]["message"]
