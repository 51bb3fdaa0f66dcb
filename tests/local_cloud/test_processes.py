"""Start, restart and end of the processes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.local_cloud.conftest import ENDLESS, TRAINING
from tests.local_cloud.services import (
    INCLUDE,
    LocalCloud,
    command_line,
    process_exists,
    read_ready,
    running_local_cloud,
    start_local_cloud,
    wait_for_job,
    wait_until,
)

from local_cloud.vertex.jobs.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

PACE = 0.05
"""Seconds for a step: with it, ENDLESS epochs take longer than any test waits."""


def create(cloud: LocalCloud, client: httpx.Client, epochs: int) -> str:
    spec = {
        "trainingDatasetUri": cloud.upload("train.jsonl", TRAINING),
        "hyperParameters": {"epochCount": epochs},
    }
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    return str(client.post(f"/v1/{cloud.parent}/tuningJobs", json=body).raise_for_status().json()["name"])


def descendants(pid: int) -> list[int]:
    """The processes below a process."""
    children = [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return [*children, *(below for child in children for below in descendants(child))]


def test_a_restart_loses_nothing_and_trains_a_running_job_again(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        done = wait_for_job(client, create(cloud, client, 2))
        name = create(cloud, client, 300)
        before: dict[str, Any] = {}

        def in_the_middle() -> bool:
            before.update(client.get(f"/v1beta1/{name}").json())
            return int(before.get("tuningJobMetadata", {}).get("completedStepCount", 0)) > 0

        wait_until(in_the_middle, 30, "some steps of training")
        assert before["state"] == "JOB_STATE_RUNNING"
        token = client.headers["Authorization"]
        credentials = json.loads(Path(cloud.credentials_path).read_text())
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        assert client.get(f"/v1beta1/{done['name']}", headers={"Authorization": token}).json() == done
        after = wait_for_job(client, name)
        assert after["state"] == "JOB_STATE_SUCCEEDED"
        assert [after[field] for field in ("createTime", "startTime", "experiment")] == [
            before[field] for field in ("createTime", "startTime", "experiment")
        ]
        assert cloud.counters()["tuning_jobs_created"] == 2
        paths = [entry["path"] for entry in cloud.requests() if entry["method"] == "POST"]
        assert len(paths) == 2
        prompt = {"contents": [{"parts": [{"text": "Which shelf holds the red paint?"}]}]}
        endpoint = done["tunedModel"]["endpoint"]
        assert client.post(f"/v1/{endpoint}:generateContent", json=prompt).status_code == 200
        checkpoint = done["tunedModel"]["checkpoints"][0]
        (tmp_path / "jobs" / done["name"].rpartition("/")[2] / "checkpoint-1.npz").unlink()
        lost = client.post(f"/v1/{checkpoint['endpoint']}:generateContent", json=prompt)
        assert lost.status_code == 500
        assert "cannot be served" in lost.json()["error"]["message"]
        renewed = json.loads(Path(cloud.credentials_path).read_text())
        assert renewed["token_uri"] == f"{cloud.vertex_url}/token"
        assert renewed["private_key"] == credentials["private_key"]


def test_a_job_being_cancelled_at_a_restart_ends_cancelled(tmp_path: Path) -> None:
    process, cloud = start_local_cloud(tmp_path, step_seconds=PACE)
    with cloud.http() as client:
        name = create(cloud, client, ENDLESS)
        wait_for_job(client, name, "JOB_STATE_RUNNING")
    process.kill()  # too sudden to end the job
    process.wait()
    store = Store(tmp_path / "vertex.sqlite")
    store.update_job(name.rpartition("/")[2], state="JOB_STATE_CANCELLING")
    store.close()
    with running_local_cloud(tmp_path) as cloud, cloud.http() as client:
        job = wait_for_job(client, name)
        assert (job["state"], job["error"]["code"]) == ("JOB_STATE_CANCELLED", 1)


def test_jobs_over_the_limit_wait_their_turn(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path, training_processes=1, step_seconds=PACE) as cloud, cloud.http() as client:
        first = create(cloud, client, ENDLESS)
        wait_for_job(client, first, "JOB_STATE_RUNNING")
        second, third = create(cloud, client, ENDLESS), create(cloud, client, 1)
        client.post(f"/v1/{second}:cancel")
        assert wait_for_job(client, second)["state"] == "JOB_STATE_CANCELLED"

        def detail() -> str:
            return str(client.get(f"/v1beta1/{third}").json().get("tuningJobState"))

        wait_until(lambda: detail() == "TUNING_JOB_STATE_WAITING_FOR_CAPACITY", 60, "the third job to wait")
        client.post(f"/v1/{first}:cancel")
        assert wait_for_job(client, third)["state"] == "JOB_STATE_SUCCEEDED"


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], LocalCloud, list[int]]]:
    """A local cloud in the middle of a job, with the pids of all its children."""
    process, cloud = start_local_cloud(tmp_path, step_seconds=PACE)
    with cloud.http() as client:
        wait_for_job(client, create(cloud, client, ENDLESS), "JOB_STATE_RUNNING")
    children = descendants(process.pid)
    assert cloud.storage_pid in children
    assert len(children) == 2
    yield process, cloud, children
    process.kill()
    process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_in_good_order(
    busy: tuple[subprocess.Popen[bytes], LocalCloud, list[int]], tmp_path: Path, number: signal.Signals
) -> None:
    process, _, children = busy
    process.send_signal(number)
    assert process.wait(timeout=30) == 0
    assert not any(map(process_exists, children))
    assert not (tmp_path / "ready.json").exists()


def test_the_children_do_not_outlive_a_killed_server(
    busy: tuple[subprocess.Popen[bytes], LocalCloud, list[int]],
) -> None:
    process, _, children = busy
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(process_exists, children)), 10, "the children to end")


def test_the_server_ends_with_its_storage(busy: tuple[subprocess.Popen[bytes], LocalCloud, list[int]]) -> None:
    process, cloud, _ = busy
    os.kill(cloud.storage_pid, signal.SIGKILL)
    assert process.wait(timeout=30) == 1


@pytest.mark.parametrize(("flags", "survives"), [([], False), (["--detached"], True)])
def test_the_server_ends_with_its_parent_unless_detached(tmp_path: Path, flags: list[str], survives: bool) -> None:
    ready = tmp_path / "ready.json"
    command = [*command_line(tmp_path / "state", ready), *flags]
    starter = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); sys.stdin.read()"
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(INCLUDE)}
    log = tmp_path / "log"
    with log.open("wb") as errors:
        parent = subprocess.Popen(
            [sys.executable, "-c", starter, *command], env=environment, stdin=subprocess.PIPE, stderr=errors
        )
    wait_until(ready.exists, 60, "the local cloud to start")
    cloud = read_ready(ready)
    parent.kill()
    parent.communicate()
    if survives:
        assert httpx.get(f"{cloud.vertex_url}/_local/health", trust_env=False).json() == {"status": "ok"}
        os.kill(cloud.pid, signal.SIGTERM)
    wait_until(lambda: not process_exists(cloud.pid) and not process_exists(cloud.storage_pid), 30, "the end")
    reason = "the process that started this one has ended; --detached keeps it running"
    assert (reason in log.read_text()) is not survives


def test_the_key_file_is_private_and_both_servers_listen_on_loopback_only(local_cloud: LocalCloud) -> None:
    path = Path(local_cloud.credentials_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ports = {url.rpartition(":")[2] for url in (local_cloud.vertex_url, local_cloud.storage_url)}
    listening = [
        line.split()[1].split(":")
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    addresses = [address for address, port in listening if str(int(port, 16)) in ports]
    assert addresses == ["0100007F", "0100007F"]


def test_other_machines_are_kept_out_unless_they_are_let_in_on_purpose(tmp_path: Path) -> None:
    command = command_line(tmp_path, tmp_path / "ready.json", host="0.0.0.0")
    environment = {**os.environ, "PYTHONPATH": str(INCLUDE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "--allow-non-loopback" in done.stderr


def test_it_is_reached_by_the_name_it_listens_on(tmp_path: Path) -> None:
    with running_local_cloud(tmp_path, host="localhost") as cloud, cloud.http() as client:
        assert cloud.vertex_url.startswith("http://localhost:")
        assert cloud.storage_url.startswith("http://localhost:")
        name = create(cloud, client, 1)
        assert wait_for_job(client, name)["state"] == "JOB_STATE_SUCCEEDED"


def test_objects_survive_in_storage(local_cloud: LocalCloud) -> None:
    local_cloud.upload("kept/object.txt", "kept")
    blob = local_cloud.storage().bucket(local_cloud.bucket).blob("kept/object.txt")
    assert blob.download_as_text() == "kept"
    blob.reload()
    assert blob.generation is not None
