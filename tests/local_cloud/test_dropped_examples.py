"""What the service does with examples over the limits of the model, and with datasets it doesn't have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.local_cloud.services import INCLUDE, example, running_local_cloud, wait_for_job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from tests.local_cloud.services import LocalCloud

LIMIT = 50


@pytest.fixture(scope="module")
def strict_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud whose models take at most 50 tokens per example."""
    directory: Path = tmp_path_factory.mktemp("strict")
    table = yaml.safe_load((INCLUDE / "models.yaml").read_text())
    for row in table["models"].values():
        if "limits" in row:
            row["limits"]["tokens_per_example"] = LIMIT
    models = directory / "models.yaml"
    models.write_text(yaml.safe_dump(table))
    with running_local_cloud(directory / "state", models=models, pending_seconds=0) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def client(strict_cloud: LocalCloud) -> Iterator[httpx.Client]:
    with strict_cloud.http() as client:
        yield client


def tune(cloud: LocalCloud, client: httpx.Client, rows: list[dict[str, Any]]) -> dict[str, Any]:
    uri = cloud.upload("train.jsonl", rows)
    spec = {"trainingDatasetUri": uri, "hyperParameters": {"epochCount": 1}}
    body = {"baseModel": "gemini-2.5-flash", "supervisedTuningSpec": spec}
    created = client.post(f"/v1/{cloud.parent}/tuningJobs", json=body).raise_for_status().json()
    return wait_for_job(client, created["name"])


GOOD = example("Where is the lamp?", "On the shelf.")
LONG = example("Where is the lamp? " * 40, "On the shelf.")


def test_a_long_example_is_dropped_and_named(strict_cloud: LocalCloud, client: httpx.Client) -> None:
    clean = tune(strict_cloud, client, [GOOD] * 19)
    job = tune(strict_cloud, client, [*[GOOD] * 7, LONG, *[GOOD] * 12])
    assert job["state"] == "JOB_STATE_SUCCEEDED"
    stats = job["tuningDataStats"]["supervisedTuningDataStats"]
    assert stats["totalTruncatedExampleCount"] == "1"
    assert stats["truncatedExampleIndices"] == ["8"]  # 1-based
    assert len(stats["droppedExampleReasons"]) == 1
    assert str(LIMIT) in stats["droppedExampleReasons"][0]
    billed = clean["tuningDataStats"]["supervisedTuningDataStats"]["totalBillableTokenCount"]
    assert stats["totalBillableTokenCount"] == billed


def test_more_than_a_tenth_dropped_fails_the_job_before_it_trains(
    strict_cloud: LocalCloud, client: httpx.Client
) -> None:
    before = strict_cloud.counters()["trainings_started"]
    job = tune(strict_cloud, client, [*[GOOD] * 17, *[LONG] * 2])
    assert job["state"] == "JOB_STATE_FAILED"
    assert job["error"]["code"] == 3
    assert "2 of 19" in job["error"]["message"]
    assert strict_cloud.counters()["trainings_started"] == before


def test_a_missing_dataset_is_replaced_by_a_sample_only_when_that_is_set(
    strict_cloud: LocalCloud, client: httpx.Client
) -> None:
    path = f"/v1/{strict_cloud.parent}/tuningJobs"
    theirs = "gs://cloud-samples-data/ai-platform/generative_ai/gemini/text/sft_train_data.jsonl"
    resource = "projects/801452371447/locations/us-central1/datasets/5779918772206829568"
    bodies = [
        {
            "baseModel": "gemini-2.5-flash-lite",
            method: {"trainingDatasetUri": uri, "validationDatasetUri": uri, "hyperParameters": {"epochCount": 1}},
        }
        for method in ("supervisedTuningSpec", "preferenceOptimizationSpec")
        for uri in (theirs, resource)
    ]
    for body in bodies:
        assert client.post(path, json=body).json()["error"]["status"] == "FAILED_PRECONDITION"
    strict_cloud.control("PATCH", "settings", {"sample_for_missing_datasets": True})
    try:
        names = [client.post(path, json=body).raise_for_status().json()["name"] for body in bodies]
    finally:
        strict_cloud.control("PATCH", "settings", {"sample_for_missing_datasets": False})
    for name, body in zip(names, bodies, strict=True):
        client.post(f"/v1/{name}:cancel")  # unless it has ended already
        job = wait_for_job(client, name)
        spec = next(job[field] for field in body if field in job and field.endswith("Spec"))
        assert spec["trainingDatasetUri"] in (theirs, resource)
