"""What is left on the disk of a job that has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.local_cloud.conftest import TRAINING
from tests.local_cloud.services import LocalCloud, running_local_cloud, wait_for_job, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

DATASET = {"train.jsonl", "validation.jsonl"}
KEPT = {"sample.jsonl", "held_out.jsonl", "order.json", "prepared.json", "training.log"}


def create(cloud: LocalCloud, client: httpx.Client, **fields: Any) -> str:
    uri = cloud.upload("train.jsonl", TRAINING)
    spec = {"trainingDatasetUri": uri, "validationDatasetUri": uri, "hyperParameters": {"epochCount": 2}}
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec, **fields}
    return str(client.post(f"/v1/{cloud.parent}/tuningJobs", json=body).raise_for_status().json()["name"])


def files(state: Path, name: str) -> set[str]:
    return {path.name for path in (state / "jobs" / name.rpartition("/")[2]).iterdir()}


def wait_until_gone(state: Path, name: str) -> None:
    wait_until(lambda: not files(state, name) & DATASET, 30, f"the dataset of {name} to be removed")


def test_the_dataset_goes_when_the_job_has_ended(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        cloud.control("POST", "scenarios", {"seconds": {"TUNING": 3600}})
        waiting = create(cloud, client)
        done = create(cloud, client)
        assert wait_for_job(client, done)["state"] == "JOB_STATE_SUCCEEDED"
        wait_until_gone(tmp_path, done)
        assert files(tmp_path, done) == {*KEPT, "checkpoint-1.npz", "checkpoint-2.npz"}
        wait_for_job(client, waiting, "JOB_STATE_RUNNING")
        assert files(tmp_path, waiting) >= DATASET, "a restart would need it"
        client.post(f"/v1/{waiting}:cancel").raise_for_status()
        assert wait_for_job(client, waiting)["state"] == "JOB_STATE_CANCELLED"
        wait_until_gone(tmp_path, waiting)
        cloud.control("POST", "scenarios", {"end": {"state": "JOB_STATE_FAILED", "stage": "PENDING"}})
        failed = create(cloud, client)
        assert wait_for_job(client, failed)["state"] == "JOB_STATE_FAILED"
        wait_until_gone(tmp_path, failed)


def test_a_dataset_that_was_left_behind_goes_at_the_next_start(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        done = create(cloud, client)
        wait_for_job(client, done)
        wait_until_gone(tmp_path, done)
    left = tmp_path / "jobs" / done.rpartition("/")[2] / "train.jsonl"
    left.write_text("{}")  # as if the server had been killed between the job's end and the removal
    with running_local_cloud(tmp_path):
        assert not left.exists()
