"""The stages of a job's life, scripted: how long they last, where a job ends, what a cancellation does."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.local_cloud.conftest import ENDLESS
from tests.local_cloud.services import LocalCloud, running_local_cloud, start_local_cloud, wait_for_job, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    BuildBody = Callable[..., dict[str, Any]]


@pytest.fixture
def create(
    local_cloud: LocalCloud, vertex: httpx.Client, job_body: BuildBody
) -> Iterator[Callable[[dict[str, Any]], str]]:
    """Creates a job that has this scenario to itself, and returns the job's name."""

    def build(scenario: dict[str, Any], fields: dict[str, Any] | None = None) -> str:
        label = {"scenario": uuid.uuid4().hex}
        local_cloud.control("POST", "scenarios", {"labels": label, **scenario})
        body = job_body({**(fields or {}), "labels": label})
        response = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body)
        assert response.status_code == httpx.codes.OK, response.text
        return str(response.json()["name"])

    yield build
    assert local_cloud.control("GET", "scenarios") == {"scenarios": []}, "a scenario was not used up"


RUNNING = ("WAITING_FOR_QUOTA", "PROCESSING_DATASET", "WAITING_FOR_CAPACITY", "TUNING", "POST_PROCESSING")
STAGES = ("QUEUED", "PENDING", *RUNNING)
NO_END = 600


def stage_of(vertex: httpx.Client, name: str) -> str:
    """The state a job shows, or the detail of RUNNING where there is one."""
    job = vertex.get(f"/v1beta1/{name}").raise_for_status().json()
    detail: str = job.get("tuningJobState", job["state"])
    return detail.removeprefix("TUNING_JOB_STATE_").removeprefix("JOB_STATE_")


def wait_for_stage(vertex: httpx.Client, name: str, stage: str) -> dict[str, Any]:
    wait_until(lambda: stage_of(vertex, name) == stage, 60, f"{name} to be {stage}")
    job: dict[str, Any] = vertex.get(f"/v1beta1/{name}").raise_for_status().json()
    return job


def test_a_job_can_be_watched_in_every_stage(vertex: httpx.Client, create: Callable[..., str]) -> None:
    """One job stops for each stage: none can be missed."""
    names = [create({"seconds": {stage: NO_END}}) for stage in STAGES]
    for stage, name in zip(STAGES, names, strict=True):
        job = wait_for_stage(vertex, name, stage)
        assert job["state"] == (f"JOB_STATE_{stage}" if stage not in RUNNING else "JOB_STATE_RUNNING")
        vertex.post(f"/v1/{name}:cancel").raise_for_status()


def test_the_stages_follow_each_other(vertex: httpx.Client, create: Callable[..., str]) -> None:
    name = create({"seconds": dict.fromkeys(STAGES, 0.2)})
    seen: list[str] = []

    def ended() -> bool:
        seen.append(stage_of(vertex, name))
        return seen[-1] == "SUCCEEDED"

    wait_until(ended, 60, f"{name} to end")
    order = (*STAGES, "SUCCEEDED")
    assert seen == sorted(seen, key=order.index)
    job = vertex.get(f"/v1/{name}").json()
    assert job["createTime"] < job["startTime"] < job["endTime"] == job["updateTime"]


@pytest.mark.parametrize(
    "stage", ["QUEUED", "PENDING", "WAITING_FOR_QUOTA", "PROCESSING_DATASET", "WAITING_FOR_CAPACITY", "TUNING"]
)
def test_a_job_fails_at_the_stage_it_is_told_to(vertex: httpx.Client, create: Callable[..., str], stage: str) -> None:
    end = {"state": "JOB_STATE_FAILED", "stage": stage, "code": 8, "message": "No room."}
    job = wait_for_job(vertex, create({"end": end}))
    assert job["state"] == "JOB_STATE_FAILED"
    assert job["error"] == {"code": 8, "message": "No room."}
    assert "tunedModel" not in job
    assert ("startTime" in job) == (stage not in ("QUEUED", "PENDING"))
    assert ("tuningDataStats" in job) == (stage in ("PROCESSING_DATASET", "WAITING_FOR_CAPACITY", "TUNING"))


def test_a_job_ends_in_the_middle_of_its_training(vertex: httpx.Client, create: Callable[..., str]) -> None:
    name = create({"step_seconds": 0.05, "end": {"state": "JOB_STATE_EXPIRED", "stage": "TUNING", "step": 3}})
    job = wait_for_job(vertex, name)
    assert job["state"] == "JOB_STATE_EXPIRED"
    assert "error" not in job
    assert job["tuningJobMetadata"]["completedStepCount"] == "3"


def test_a_failed_job_can_have_a_model_without_an_endpoint(vertex: httpx.Client, create: Callable[..., str]) -> None:
    job = wait_for_job(vertex, create({"end": {"state": "JOB_STATE_FAILED"}}))
    assert job["error"]["code"] == 13
    assert job["error"]["message"].startswith("Failed to create endpoint.")
    assert list(job["tunedModel"]) == ["model"]
    assert vertex.get(f"/v1/{job['tunedModel']['model']}").status_code == 200


def test_a_partial_success_lacks_the_last_endpoint(vertex: httpx.Client, create: Callable[..., str]) -> None:
    job = wait_for_job(vertex, create({"end": {"state": "JOB_STATE_PARTIALLY_SUCCEEDED"}}))
    assert job["state"] == "JOB_STATE_PARTIALLY_SUCCEEDED"
    first, last = job["tunedModel"]["checkpoints"]
    assert "endpoint" in first
    assert "endpoint" not in last
    assert "endpoint" not in job["tunedModel"]


def test_a_running_job_is_cancelling_as_long_as_it_is_told_to(vertex: httpx.Client, create: Callable[..., str]) -> None:
    name = create({"step_seconds": 30, "seconds": {"CANCELLING": 2}})
    wait_for_job(vertex, name, "JOB_STATE_RUNNING")
    vertex.post(f"/v1/{name}:cancel").raise_for_status()
    assert vertex.get(f"/v1/{name}").json()["state"] == "JOB_STATE_CANCELLING"
    job = wait_for_job(vertex, name)
    assert (job["state"], job["error"]["code"]) == ("JOB_STATE_CANCELLED", 1)


def test_a_cancellation_can_come_too_late(vertex: httpx.Client, create: Callable[..., str]) -> None:
    name = create({"seconds": {"TUNING": 3}, "cancel": "JOB_STATE_SUCCEEDED"})
    wait_for_stage(vertex, name, "TUNING")
    vertex.post(f"/v1/{name}:cancel").raise_for_status()
    assert vertex.get(f"/v1/{name}").json()["state"] == "JOB_STATE_CANCELLING"
    job = wait_for_job(vertex, name)
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    assert job["tunedModel"]["endpoint"]


def test_a_cancelled_job_can_fail(vertex: httpx.Client, create: Callable[..., str]) -> None:
    name = create({"step_seconds": 30, "cancel": "JOB_STATE_FAILED"})
    wait_for_job(vertex, name, "JOB_STATE_RUNNING")
    vertex.post(f"/v1/{name}:cancel").raise_for_status()
    job = wait_for_job(vertex, name)
    assert (job["state"], job["error"]["code"]) == ("JOB_STATE_FAILED", 13)


def test_a_scenario_is_for_the_jobs_it_names(
    local_cloud: LocalCloud, vertex: httpx.Client, job_body: BuildBody
) -> None:
    label = {"scenario": uuid.uuid4().hex}
    rule = {"labels": label, "display_name": "^b", "base_model": "flash", "times": 1, "skip": 1}
    end = {"state": "JOB_STATE_FAILED", "stage": "PENDING"}
    number = local_cloud.control("POST", "scenarios", {**rule, "end": end})["id"]

    def created(display_name: str, labels: dict[str, str]) -> str:
        body = job_body({"tunedModelDisplayName": display_name, "labels": labels}, epochCount=1)
        response = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).raise_for_status()
        return str(response.json()["name"])

    before = [created("a", label), created("b", {}), created("b", label)]  # the last one is skipped
    shown = local_cloud.control("GET", "scenarios")["scenarios"]
    assert [(item["id"], item["matched"]) for item in shown] == [(number, 1)]
    hit = created("b", label)
    after = created("b", label)  # it is used up
    assert wait_for_job(vertex, hit)["state"] == "JOB_STATE_FAILED"
    assert {wait_for_job(vertex, name)["state"] for name in (*before, after)} == {"JOB_STATE_SUCCEEDED"}


def test_over_the_quota_jobs_wait_and_show_it(tmp_path: Path, job_rows: list[dict[str, Any]]) -> None:
    with running_local_cloud(tmp_path, quota=1, step_seconds=0.05) as cloud, cloud.http() as client:
        cloud.upload("train.jsonl", job_rows)
        first = start(cloud, client, ENDLESS)
        wait_for_job(client, first, "JOB_STATE_RUNNING")
        elsewhere = start(cloud, client, 1, location="europe-west4")  # the quota is one for all locations
        stranger = start(cloud, client, 1, project="another-project")
        assert wait_for_job(client, stranger)["state"] == "JOB_STATE_SUCCEEDED"
        waiting = client.get(f"/v1beta1/{elsewhere}").json()
        assert (waiting["state"], waiting["tuningJobState"]) == (
            "JOB_STATE_RUNNING",
            "TUNING_JOB_STATE_WAITING_FOR_QUOTA",
        )
        cloud.control("PATCH", "settings", {"quota": 2})
        assert wait_for_job(client, elsewhere)["state"] == "JOB_STATE_SUCCEEDED"


def test_over_the_quota_jobs_are_refused_when_that_is_set(tmp_path: Path, job_rows: list[dict[str, Any]]) -> None:
    with (
        running_local_cloud(tmp_path, quota=1, over_quota="refuse", step_seconds=0.05) as cloud,
        cloud.http() as client,
    ):
        cloud.upload("train.jsonl", job_rows)
        first = start(cloud, client, ENDLESS)
        refused = post(cloud, client, 1)
        assert refused.status_code == 429
        assert refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
        assert "global_concurrent_tuning_jobs" in refused.json()["error"]["message"]
        assert cloud.counters()["tuning_jobs_created"] == 1
        client.post(f"/v1/{first}:cancel").raise_for_status()
        wait_for_job(client, first)
        assert post(cloud, client, 1).status_code == 200


def test_a_planted_job_uses_up_the_quota_until_it_is_cancelled(tmp_path: Path, job_rows: list[dict[str, Any]]) -> None:
    with running_local_cloud(tmp_path, quota=1, pending_seconds=0) as cloud, cloud.http() as client:
        cloud.upload("train.jsonl", job_rows)
        busy = cloud.control("POST", "jobs", {"name": f"{cloud.parent}/tuningJobs/1", "state": "JOB_STATE_RUNNING"})
        waiting = start(cloud, client, 1)
        wait_for_job(client, waiting, "JOB_STATE_RUNNING")
        assert client.get(f"/v1beta1/{waiting}").json()["tuningJobState"].endswith("WAITING_FOR_QUOTA")
        client.post(f"/v1/{busy['name']}:cancel").raise_for_status()
        assert wait_for_job(client, waiting)["state"] == "JOB_STATE_SUCCEEDED"


def test_a_new_job_is_missing_from_lists_for_a_while(tmp_path: Path, job_rows: list[dict[str, Any]]) -> None:
    with running_local_cloud(tmp_path, list_lag_seconds=30) as cloud, cloud.http() as client:
        cloud.upload("train.jsonl", job_rows)
        name = start(cloud, client, 1)
        path = f"/v1/{cloud.parent}/tuningJobs"
        assert client.get(path).json() == {}
        assert client.get(f"/v1/{name}").status_code == 200
        cloud.control("PATCH", "settings", {"list_lag_seconds": 0})
        assert [job["name"] for job in client.get(path).json()["tuningJobs"]] == [name]


def test_a_jobs_fate_and_place_outlive_the_server(tmp_path: Path, job_rows: list[dict[str, Any]]) -> None:
    process, cloud = start_local_cloud(tmp_path, quota=1, pending_seconds=0)
    with cloud.http() as client:
        cloud.upload("train.jsonl", job_rows)
        end = {"state": "JOB_STATE_FAILED", "stage": "TUNING", "step": 2, "message": "As told."}
        doomed = {"end": end, "step_seconds": 1.5}
        cloud.control("POST", "scenarios", doomed)
        cloud.control("POST", "scenarios", {"display_name": "never", "times": None, "end": end})
        first = start(cloud, client, 2)
        wait_until(lambda: client.get(f"/v1/{first}").json().get("tuningDataStats"), 60, "the data to be read")
        second = start(cloud, client, 1)
        wait_for_job(client, second, "JOB_STATE_RUNNING")
    process.kill()
    process.wait()
    with running_local_cloud(tmp_path, quota=1) as cloud, cloud.http() as client:
        assert [rule["display_name"] for rule in cloud.control("GET", "scenarios")["scenarios"]] == ["never"]
        job = wait_for_job(client, first)
        assert (job["state"], job["error"]["message"]) == ("JOB_STATE_FAILED", "As told.")
        assert wait_for_job(client, second)["state"] == "JOB_STATE_SUCCEEDED"
        assert cloud.counters()["tuning_jobs_created"] == 2


@pytest.fixture
def job_rows() -> list[dict[str, Any]]:
    turns = [{"role": "user", "parts": [{"text": "Where?"}]}, {"role": "model", "parts": [{"text": "There."}]}]
    return [{"contents": turns}] * 12


def post(
    cloud: LocalCloud, client: httpx.Client, epochs: int, *, project: str | None = None, location: str = "us-central1"
) -> httpx.Response:
    spec = {"trainingDatasetUri": f"gs://{cloud.bucket}/train.jsonl", "hyperParameters": {"epochCount": epochs}}
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    parent = f"projects/{project or cloud.project}/locations/{location}"
    return client.post(f"/v1/{parent}/tuningJobs", json=body)


def start(cloud: LocalCloud, client: httpx.Client, epochs: int, **where: str) -> str:
    response = post(cloud, client, epochs, **where)
    assert response.status_code == httpx.codes.OK, response.text
    return str(response.json()["name"])
