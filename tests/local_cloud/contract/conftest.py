"""The service that contracts are held against: a local cloud with one finished job, and a proxy in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.local_cloud.conftest import TRAINING, VALIDATION
from tests.local_cloud.contract.proxy import running_proxy
from tests.local_cloud.contract.service import BASE_MODEL, Service, new_label
from tests.local_cloud.services import running_local_cloud, wait_for_job

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEVER = 100_000


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service where the only job that ever trained is ``tuned``: all others stay PENDING."""
    state = tmp_path_factory.mktemp("contract")
    with running_local_cloud(state) as cloud, cloud.http() as client:
        training = cloud.upload("contract/train.jsonl", TRAINING)
        validation = cloud.upload("contract/validation.jsonl", VALIDATION)
        preference = cloud.upload("contract/preference.jsonl", [_preference(row) for row in TRAINING])
        spec = {
            "trainingDatasetUri": training,
            "validationDatasetUri": validation,
            "hyperParameters": {"epochCount": 2, "learningRateMultiplier": 5, "adapterSize": "ADAPTER_SIZE_FOUR"},
        }
        body = {
            "baseModel": BASE_MODEL,
            "supervisedTuningSpec": spec,
            "tunedModelDisplayName": "shelves",
            "labels": {"run": new_label()},
        }
        created = client.post(f"/v1/{cloud.parent}/tuningJobs", json=body).raise_for_status().json()
        tuned = wait_for_job(client, created["name"])
        assert tuned["state"] == "JOB_STATE_SUCCEEDED", tuned
    with running_local_cloud(state, pending_seconds=_NEVER) as cloud, running_proxy(cloud.vertex_url) as proxy:
        yield Service.behind(
            proxy,
            cloud,
            tuned=tuned,
            training_uri=training,
            validation_uri=validation,
            preference_uri=preference,
        )


def _preference(row: dict) -> dict:
    question, answer = row["contents"]
    worse = {"role": "model", "parts": [{"text": "I don't know."}]}
    return {
        "contents": [question],
        "completions": [{"score": 1, "completion": answer}, {"score": 0, "completion": worse}],
    }
