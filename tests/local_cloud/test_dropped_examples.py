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
            row["limits"] = {**row["limits"], "tokens_per_example": LIMIT}
    table["models"]["gemini-2.5-pro"]["limits"]["dropped_share"] = 0.5
    models = directory / "models.yaml"
    models.write_text(yaml.safe_dump(table))
    with running_local_cloud(directory / "state", models=models, pending_seconds=0) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def client(strict_cloud: LocalCloud) -> Iterator[httpx.Client]:
    with strict_cloud.http() as client:
        yield client


def tune(
    cloud: LocalCloud, client: httpx.Client, rows: list[dict[str, Any]], base_model: str = "gemini-2.5-flash"
) -> dict[str, Any]:
    uri = cloud.upload("train.jsonl", rows)
    spec = {"trainingDatasetUri": uri, "hyperParameters": {"epochCount": 1}}
    body = {"baseModel": base_model, "supervisedTuningSpec": spec}
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


def test_the_models_table_says_how_many_may_be_dropped(strict_cloud: LocalCloud, client: httpx.Client) -> None:
    job = tune(strict_cloud, client, [*[GOOD] * 17, *[LONG] * 2], "gemini-2.5-pro")
    assert job["state"] == "JOB_STATE_SUCCEEDED"


THEIRS = "gs://cloud-samples-data/ai-platform/generative_ai/gemini/text/sft_train_data.jsonl"
RESOURCE = "projects/801452371447/locations/us-central1/datasets/5779918772206829568"


@pytest.mark.parametrize(
    ("method", "statistics"),
    [
        ("supervisedTuningSpec", "supervisedTuningDataStats"),
        ("preferenceOptimizationSpec", "preferenceOptimizationDataStats"),
    ],
)
def test_a_missing_dataset_is_replaced_by_a_sample_only_when_that_is_set(
    local_cloud: LocalCloud, vertex: httpx.Client, method: str, statistics: str
) -> None:
    path = f"/v1/{local_cloud.parent}/tuningJobs"
    spec = {"trainingDatasetUri": THEIRS, "validationDatasetUri": RESOURCE, "hyperParameters": {"epochCount": 1}}
    body = {"baseModel": "gemini-2.5-flash-lite", method: spec}
    other = {**body, method: {**spec, "trainingDatasetUri": RESOURCE, "validationDatasetUri": THEIRS}}
    for missing in (body, other):
        assert vertex.post(path, json=missing).json()["error"]["status"] == "FAILED_PRECONDITION"
    local_cloud.control("PATCH", "settings", {"sample_for_missing_datasets": True})
    try:
        name, resource = (vertex.post(path, json=asked).raise_for_status().json()["name"] for asked in (body, other))
    finally:
        local_cloud.control("PATCH", "settings", {"sample_for_missing_datasets": False})
    vertex.post(f"/v1/{resource}:cancel").raise_for_status()
    job = wait_for_job(vertex, name)
    assert job["state"] == "JOB_STATE_SUCCEEDED", job
    assert job[method]["trainingDatasetUri"] == THEIRS
    assert job["tuningDataStats"][statistics]["tuningDatasetExampleCount"] == "300"
