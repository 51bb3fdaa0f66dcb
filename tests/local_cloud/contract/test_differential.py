"""The same calls through google-genai and through google-cloud-aiplatform leave the same jobs behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from google.genai import types
from tests.local_cloud.contract.gapic_contracts import job_message
from tests.local_cloud.contract.service import BASE_MODEL, Service, new_label
from tests.local_cloud.contract.tuning_contracts import tune_with_genai

if TYPE_CHECKING:
    from collections.abc import Callable

_OF_ITS_OWN = (
    "name",
    "labels",
    "createTime",
    "startTime",
    "endTime",
    "updateTime",
    "experiment",
    "tunedModelDisplayName",
)


def _through_genai(service: Service, version: str) -> str:
    """Create a job with every field, a bare one and a continuing one; cancel the first; return their label."""
    label = new_label()
    client = service.genai(version)
    data = types.TuningDataset(gcs_uri=service.training_uri)

    def config(**fields: Any) -> types.CreateTuningJobConfig:
        return types.CreateTuningJobConfig(labels={"run": label}, **fields)

    first = tune_with_genai(service, client, label)
    client.call("tunings.tune", base_model=BASE_MODEL, training_dataset=data, config=config())
    client.call(
        "tunings.tune",
        base_model=service.tuned["tunedModel"]["model"],
        training_dataset=data,
        config=config(pre_tuned_model_checkpoint_id="1", epoch_count=2, export_last_checkpoint_only=False),
    )
    client.call("tunings.cancel", name=first.name)
    client.close()
    return label


def _through_aiplatform(service: Service, version: str) -> str:
    """The same."""
    label = new_label()
    aiplatform = service.gapic(version)
    client = service.gapic_client(version, "GenAiTuningServiceClient")

    def create(document: dict[str, Any]) -> Any:
        job = aiplatform.TuningJob.from_json(json.dumps({"labels": {"run": label}, **document}))
        return client.create_tuning_job(parent=service.cloud.parent, tuning_job=job)

    first = client.create_tuning_job(parent=service.cloud.parent, tuning_job=job_message(service, version, label))
    create({"baseModel": BASE_MODEL, "supervisedTuningSpec": {"trainingDatasetUri": service.training_uri}})
    create({
        "preTunedModel": {"tunedModelName": service.tuned["tunedModel"]["model"], "checkpointId": "1"},
        "supervisedTuningSpec": {
            "trainingDatasetUri": service.training_uri,
            "hyperParameters": {"epochCount": 2},
            "exportLastCheckpointOnly": False,
        },
    })
    client.cancel_tuning_job(name=first.name)
    return label


def _state(service: Service, label: str) -> list[dict[str, Any]]:
    """What the server holds for a label, in order of creation, without what no two jobs have in common."""
    answer = service.plain.get(
        f"/v1beta1/{service.cloud.parent}/tuningJobs", params={"filter": f'labels.run="{label}"'}
    )
    jobs = answer.raise_for_status().json()["tuningJobs"][::-1]
    service.ends_as(jobs[0]["name"], "JOB_STATE_CANCELLED")
    found = [service.job(job["name"]) for job in jobs]
    for job in found[1:]:
        service.json("POST", f"/v1/{job['name']}:cancel")
    labels = [sorted(job["labels"]) for job in found]
    assert labels == [["run", "team"], ["run"], ["run"]]
    return [{name: value for name, value in job.items() if name not in _OF_ITS_OWN} for job in found]


def _plainly(document: Any) -> Any:
    """A document without unset booleans: one client spells out ``false``, the other never does."""
    if isinstance(document, dict):
        return {name: _plainly(value) for name, value in document.items() if value is not False}
    return [_plainly(item) for item in document] if isinstance(document, list) else document


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_both_clients_leave_the_same_jobs_behind(service: Service, version: str) -> None:
    scripts: tuple[Callable[[Service, str], str], ...] = (_through_genai, _through_aiplatform)
    genai, aiplatform = (_plainly(_state(service, script(service, version))) for script in scripts)
    assert genai == aiplatform
    assert [job["state"] for job in genai] == ["JOB_STATE_CANCELLED", "JOB_STATE_PENDING", "JOB_STATE_PENDING"]
    assert genai[2]["preTunedModel"]["checkpointId"] == "1"
