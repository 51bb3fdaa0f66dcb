"""What an interruption leaves: of the server in the middle of a cancellation, of a creation, of a training process."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from tests.local_cloud.conftest import TRAINING
from tests.local_cloud.services import INCLUDE, LocalCloud, running_local_cloud, start_local_cloud, wait_for_job

from local_cloud.vertex.catalogue import Catalogue
from local_cloud.vertex.jobs.products import Products
from local_cloud.vertex.jobs.progress import Progress
from local_cloud.vertex.jobs.registry import Registry
from local_cloud.vertex.jobs.runner import Runner
from local_cloud.vertex.jobs.store import Job, Store
from local_cloud.vertex.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

DOCUMENT = {
    "state": "JOB_STATE_PENDING",
    "createTime": "2026-01-01T00:00:00Z",
    "baseModel": "gemini-2.5-flash",
    "supervisedTuningSpec": {"hyperParameters": {}},
}


def running_job(cloud: LocalCloud, client: httpx.Client, scenario: dict[str, Any]) -> str:
    """A job of two epochs that is being trained, and told by a scenario what becomes of it."""
    cloud.control("POST", "scenarios", scenario)
    spec = {"trainingDatasetUri": cloud.upload("train.jsonl", TRAINING), "hyperParameters": {"epochCount": 2}}
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    job = client.post(f"/v1/{cloud.parent}/tuningJobs", json=body).raise_for_status().json()
    wait_for_job(client, job["name"], "JOB_STATE_RUNNING")
    return str(job["name"])


def test_a_job_that_was_cancelled_too_late_succeeds_after_a_restart(tmp_path: Path) -> None:
    process, cloud = start_local_cloud(tmp_path)
    with cloud.http() as client:
        name = running_job(cloud, client, {"step_seconds": 0.2, "cancel": "JOB_STATE_SUCCEEDED"})
        client.post(f"/v1/{name}:cancel").raise_for_status()
    process.terminate()
    assert process.wait(timeout=30) == 0
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        assert client.get(f"/v1/{name}").json()["state"] in ("JOB_STATE_CANCELLING", "JOB_STATE_SUCCEEDED")
        assert wait_for_job(client, name)["state"] == "JOB_STATE_SUCCEEDED"


def test_the_server_does_not_wait_for_a_long_cancellation(tmp_path: Path) -> None:
    process, cloud = start_local_cloud(tmp_path)
    with cloud.http() as client:
        name = running_job(cloud, client, {"step_seconds": 30, "seconds": {"CANCELLING": 600}})
        client.post(f"/v1/{name}:cancel").raise_for_status()
    process.terminate()
    assert process.wait(timeout=30) == 0
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        assert client.get(f"/v1/{name}").json()["state"] == "JOB_STATE_CANCELLING"


def test_what_a_killed_creation_leaves_is_swept_at_the_next_start(tmp_path: Path) -> None:
    orphan = tmp_path / "jobs" / "123"
    orphan.mkdir(parents=True)
    (orphan / "train.jsonl").write_text("{}")
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        assert not orphan.exists()
        job = wait_for_job(client, running_job(cloud, client, {}))
        kept = tmp_path / "jobs" / job["name"].rpartition("/")[2]
        assert kept.exists()
    with running_local_cloud(tmp_path):
        assert kept.exists()


def test_a_job_cancelled_before_its_first_step_ends_cancelled(tmp_path: Path) -> None:
    store = Store(tmp_path / "vertex.sqlite")
    registry = Registry(store.db)
    models = INCLUDE / "models.yaml"
    runner = Runner(store, Settings(tmp_path, "", models), Products(store, registry, Catalogue.load(models)))
    job = store.add_job("1", "projects/1/locations/us-central1", DOCUMENT)

    async def live() -> None:
        runner.submit(job)
        runner.cancel(job)
        async with asyncio.timeout(30):
            while "endTime" not in current(store).document:
                await asyncio.sleep(0.01)
        await runner.stop()

    asyncio.run(live())
    assert (current(store).state, current(store).document["error"]["code"]) == ("JOB_STATE_CANCELLED", 1)
    store.close()


def test_a_training_process_killed_in_the_middle_of_a_line_has_ended_early(tmp_path: Path) -> None:
    store = Store(tmp_path / "vertex.sqlite")
    job = store.add_job("1", "projects/1/locations/us-central1", DOCUMENT)
    progress = Progress(store, job)
    step = '{"event": "step", "step": 1, "epoch": 1, "values": {"loss": 0.5}}'
    program = f"import os; print('{step}'); print('{step[:30]}', end='', flush=True); os.kill(os.getpid(), 9)"

    async def follow() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        await progress.follow(process)

    asyncio.run(follow())
    assert progress.failure == "The training process ended early with status -9."
    assert [point.step for point in store.points("1", "loss")] == [1]
    store.close()


def current(store: Store) -> Job:
    job = store.job("1")
    assert job
    return job
