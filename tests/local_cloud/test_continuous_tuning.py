"""Tuning what is tuned already, from google-genai and from plain REST."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from google.genai import types
from tests.local_cloud.services import LocalCloud, example, wait_for_job
from tests.local_cloud.test_metrics import run_of, series_of, values

if TYPE_CHECKING:
    from collections.abc import Callable

    from google import genai

    BuildBody = Callable[..., dict[str, Any]]

SOME_OLD = [
    example(f"Which shelf holds the {c} paint?", f"The {c} paint stands on shelf {c}-1.") for c in ("red", "pink")
]
NEWS = [example("When does the shop open?", "It opens at nine."), example("When does it close?", "It closes at six.")]


@pytest.fixture(scope="module")
def news_uri(local_cloud: LocalCloud) -> str:
    return local_cloud.upload("shelves/news.jsonl", [*NEWS, *SOME_OLD])


@pytest.fixture(scope="module")
def continued(
    local_cloud: LocalCloud, genai_client: genai.Client, vertex: httpx.Client, tuned_job: dict[str, Any], news_uri: str
) -> dict[str, Any]:
    """A job that went on from ``tuned_job`` with two answers of another kind."""
    job = genai_client.tunings.tune(
        base_model=tuned_job["tunedModel"]["model"],
        training_dataset=types.TuningDataset(gcs_uri=news_uri),
        config=types.CreateTuningJobConfig(epoch_count=15),
    )
    assert job.name
    ended = wait_for_job(vertex, job.name)
    assert ended["state"] == "JOB_STATE_SUCCEEDED", ended
    return ended


def ask(client: genai.Client, endpoint: str, prompt: str) -> str:
    return client.models.generate_content(
        model=endpoint, contents=prompt, config=types.GenerateContentConfig(temperature=0)
    ).text or ""  # fmt: skip


def test_it_keeps_what_it_knew_and_learns_what_is_new(
    genai_client: genai.Client, continued: dict[str, Any], tuned_job: dict[str, Any]
) -> None:
    new, old = "When does the shop open?", "Which shelf holds the blue paint?"
    assert ask(genai_client, continued["tunedModel"]["endpoint"], new) == "It opens at nine."
    assert "shelf blue-1" in ask(genai_client, continued["tunedModel"]["endpoint"], old)
    assert ask(genai_client, tuned_job["tunedModel"]["endpoint"], new) != "It opens at nine."


def test_it_starts_from_the_weights_it_is_given(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: BuildBody, tuned_job: dict[str, Any]
) -> None:
    def first_loss(job: dict[str, Any]) -> float:
        loss = series_of(vertex, run_of(vertex, job))["/train_total_loss"]["name"]
        return float(values(vertex, loss)[0]["scalar"]["value"])

    body = {**job_body(epochCount=1), "preTunedModel": {"tunedModelName": tuned_job["tunedModel"]["model"]}}
    del body["baseModel"]
    created = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).raise_for_status().json()
    job = wait_for_job(vertex, created["name"])
    assert first_loss(job) < 0.1 < 1 < first_loss(tuned_job)  # the same data, once known already and once new


def test_the_job_says_where_it_started(continued: dict[str, Any], tuned_job: dict[str, Any]) -> None:
    checkpoints = tuned_job["tunedModel"]["checkpoints"]
    assert continued["preTunedModel"] == {
        "tunedModelName": tuned_job["tunedModel"]["model"],
        "checkpointId": checkpoints[-1]["checkpointId"],
        "baseModel": "gemini-2.5-flash",
    }
    assert "baseModel" not in continued


def test_the_result_is_the_next_version_of_the_model(
    genai_client: genai.Client, continued: dict[str, Any], tuned_job: dict[str, Any]
) -> None:
    model = tuned_job["tunedModel"]["model"].partition("@")[0]
    assert continued["tunedModel"]["model"] == f"{model}@2"
    assert continued["tunedModelDisplayName"] == tuned_job["tunedModelDisplayName"]
    assert genai_client.models.get(model=f"{model}@2").version == "2"
    assert genai_client.models.get(model=f"{model}@1").version == "1"


def test_a_display_name_of_its_own_makes_a_new_model_from_any_checkpoint(
    genai_client: genai.Client, vertex: httpx.Client, tuned_job: dict[str, Any], news_uri: str
) -> None:
    job = genai_client.tunings.tune(
        base_model=tuned_job["tunedModel"]["model"],
        training_dataset=types.TuningDataset(gcs_uri=news_uri),
        config=types.CreateTuningJobConfig(
            epoch_count=1, tuned_model_display_name="branch", pre_tuned_model_checkpoint_id="1"
        ),
    )
    assert job.name
    ended = wait_for_job(vertex, job.name)
    assert ended["preTunedModel"]["checkpointId"] == "1"
    assert ended["tunedModelDisplayName"] == "branch"
    model, _, version = ended["tunedModel"]["model"].partition("@")
    assert (model != tuned_job["tunedModel"]["model"].partition("@")[0], version) == (True, "1")


@pytest.mark.parametrize(
    ("tuned", "fields", "hyper", "code", "message"),
    [
        ({"tunedModelName": "models/1"}, {}, {}, 400, "Invalid `tuned_model_name`"),
        ({"tunedModelName": "projects/p/locations/us-central1/models/404"}, {}, {}, 404, "models/404 not found"),
        ({"checkpointId": "99"}, {}, {}, 400, "Checkpoint 99 of model"),
        ({"tunedModelName": "{model}@7"}, {}, {}, 404, "@7 not found"),
        ({}, {"encryptionSpec": {"kmsKeyName": "k"}}, {}, 400, "`encryption_spec`"),
        ({}, {"baseModel": "gemini-2.5-flash"}, {}, 400, "Only one of"),
        ({}, {}, {"adapterSize": 4}, 501, "cannot change it to ADAPTER_SIZE_SIXTEEN"),
    ],
)
def test_what_cannot_be_continued_is_refused(
    local_cloud: LocalCloud,
    vertex: httpx.Client,
    job_body: BuildBody,
    tuned_job: dict[str, Any],
    tuned: dict[str, Any],
    fields: dict[str, Any],
    hyper: dict[str, Any],
    code: int,
    message: str,
) -> None:
    model = tuned_job["tunedModel"]["model"].partition("@")[0]
    name = tuned.get("tunedModelName", model).format(model=model)
    body = {**job_body(**hyper), "preTunedModel": {**tuned, "tunedModelName": name}}
    del body["baseModel"]
    before = local_cloud.counters()["tuning_jobs_created"]
    response = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json={**body, **fields})
    assert response.status_code == code, response.text
    assert message in response.json()["error"]["message"]
    assert local_cloud.counters()["tuning_jobs_created"] == before


def test_a_model_without_endpoints_cannot_be_continued(
    local_cloud: LocalCloud, vertex: httpx.Client, job_body: BuildBody
) -> None:
    label = {"run": uuid.uuid4().hex}
    local_cloud.control("POST", "scenarios", {"labels": label, "end": {"state": "JOB_STATE_FAILED"}})
    path = f"/v1/{local_cloud.parent}/tuningJobs"
    failed = wait_for_job(vertex, vertex.post(path, json=job_body({"labels": label})).raise_for_status().json()["name"])
    body = {**job_body(), "preTunedModel": {"tunedModelName": failed["tunedModel"]["model"]}}
    del body["baseModel"]
    error = vertex.post(path, json=body).json()["error"]
    assert (error["code"], error["status"]) == (400, "FAILED_PRECONDITION")
    assert "has no deployed checkpoint" in error["message"]


def test_a_model_is_only_found_in_its_own_region(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: BuildBody, tuned_job: dict[str, Any]
) -> None:
    body = {**job_body(), "preTunedModel": {"tunedModelName": tuned_job["tunedModel"]["model"]}}
    del body["baseModel"]
    response = vertex.post(f"/v1/projects/{local_cloud.project}/locations/europe-west4/tuningJobs", json=body)
    assert response.status_code == 404
