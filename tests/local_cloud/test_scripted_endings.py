"""Ends that are scripted to the letter: after a step, with an error, in spite of a cancellation."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from tests.local_cloud.conftest import TRAINING
from tests.local_cloud.services import LocalCloud, running_local_cloud, wait_for_job, wait_until
from tests.local_cloud.test_metrics import run_of, series_of, values

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx

    Create = Callable[[dict[str, Any]], str]


@pytest.fixture
def create(local_cloud: LocalCloud, vertex: httpx.Client, job_body: Callable[..., dict[str, Any]]) -> Create:
    """Creates a job that has this scenario to itself, and returns the job's name."""

    def build(scenario: dict[str, Any]) -> str:
        label = {"scenario": uuid.uuid4().hex}
        local_cloud.control("POST", "scenarios", {"labels": label, **scenario})
        body = job_body({"labels": label})
        job = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).raise_for_status().json()
        return str(job["name"])

    return build


def test_a_job_ends_exactly_after_the_step_it_is_told_to(vertex: httpx.Client, create: Create) -> None:
    """However fast the learner is: many steps come in one piece."""
    for step in (1, 3, 10):
        name = create({"end": {"state": "JOB_STATE_FAILED", "stage": "TUNING", "step": step}})
        wait_for_job(vertex, name)
        job = vertex.get(f"/v1beta1/{name}").json()
        assert job["tuningJobMetadata"]["completedStepCount"] == str(step)
        loss = series_of(vertex, run_of(vertex, job))["/train_total_loss"]["name"]
        assert [point["step"] for point in values(vertex, loss)] == [str(number + 1) for number in range(step)]


@pytest.mark.parametrize("state", ["JOB_STATE_EXPIRED", "JOB_STATE_PARTIALLY_SUCCEEDED"])
def test_any_ending_can_have_an_error(vertex: httpx.Client, create: Create, state: str) -> None:
    job = wait_for_job(vertex, create({"end": {"state": state, "code": 8}}))
    assert (job["state"], job["error"]["code"]) == (state, 8)
    assert job["error"]["message"]


def test_a_job_cancelled_too_late_shows_no_other_state_on_its_way(vertex: httpx.Client, create: Create) -> None:
    seconds = {"QUEUED": 0.5, "PENDING": 0.5, "PROCESSING_DATASET": 0.5, "TUNING": 0.5}
    name = create({"seconds": seconds, "cancel": "JOB_STATE_SUCCEEDED"})
    vertex.post(f"/v1/{name}:cancel").raise_for_status()
    seen: set[str] = set()

    def ended() -> bool:
        job = vertex.get(f"/v1/{name}").json()
        seen.add(job["state"])
        return "endTime" in job

    wait_until(ended, 60, f"{name} to end")
    assert seen == {"JOB_STATE_CANCELLING", "JOB_STATE_SUCCEEDED"}


def test_a_rule_for_all_times_counts_its_matches(
    local_cloud: LocalCloud, vertex: httpx.Client, job_body: Callable[..., dict[str, Any]]
) -> None:
    label = {"scenario": uuid.uuid4().hex}
    end = {"state": "JOB_STATE_FAILED", "stage": "PENDING"}
    number = local_cloud.control("POST", "scenarios", {"labels": label, "times": None, "end": end})["id"]
    for _ in range(2):
        vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=job_body({"labels": label})).raise_for_status()
    shown = local_cloud.control("GET", "scenarios")["scenarios"]
    local_cloud.control("DELETE", f"scenarios/{number}")
    assert [rule["matched"] for rule in shown if rule["id"] == number] == [2]


def test_a_planted_job_that_is_not_at_work_leaves_the_quota_alone(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path, quota=1, over_quota="refuse") as cloud, cloud.http() as client:
        spec = {"trainingDatasetUri": cloud.upload("train.jsonl", TRAINING), "hyperParameters": {"epochCount": 1}}
        body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}

        def create() -> httpx.Response:
            return client.post(f"/v1/{cloud.parent}/tuningJobs", json=body)

        planted = {"name": f"{cloud.parent}/tuningJobs/1"}
        cloud.control("POST", "jobs", {**planted, "state": "JOB_STATE_RUNNING"})
        assert create().status_code == 429
        for state, over_quota in (("PENDING", "refuse"), ("PAUSED", "refuse"), ("QUEUED", "queue")):
            cloud.control("POST", "jobs", {**planted, "state": f"JOB_STATE_{state}"})
            cloud.control("PATCH", "settings", {"over_quota": over_quota})
            job = create().raise_for_status().json()
            assert wait_for_job(client, job["name"])["state"] == "JOB_STATE_SUCCEEDED"
