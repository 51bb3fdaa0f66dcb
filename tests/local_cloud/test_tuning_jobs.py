"""Tuning jobs, through the google-genai client."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from google.genai import errors, types
from tests.local_cloud.conftest import ENDLESS, EPOCHS_BY_HEART
from tests.local_cloud.services import LocalCloud, wait_for_job, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from google import genai

pytestmark = pytest.mark.filterwarnings("ignore::google.genai.errors.ExperimentalWarning")


def config(validation_uri: str | None = None, **fields: Any) -> types.CreateTuningJobConfig:
    dataset = types.TuningValidationDataset(gcs_uri=validation_uri) if validation_uri else None
    return types.CreateTuningJobConfig(validation_dataset=dataset, **fields)


def tune(client: genai.Client, uri: str, tuning_config: types.CreateTuningJobConfig) -> types.TuningJob:
    dataset = types.TuningDataset(gcs_uri=uri)
    return client.tunings.tune(base_model="gemini-2.5-flash", training_dataset=dataset, config=tuning_config)


def full_name(job: types.TuningJob) -> str:
    assert job.name
    return str(job.name)


def test_a_job_lives_from_pending_to_succeeded(
    genai_client: genai.Client, local_cloud: LocalCloud, training_uri: str
) -> None:
    job = tune(genai_client, training_uri, config(epoch_count=3))
    assert job.state == types.JobState.JOB_STATE_PENDING
    assert full_name(job).startswith(f"projects/{local_cloud.project_number}/locations/us-central1/tuningJobs/")
    assert job.start_time is None
    assert job.experiment is None

    states = []

    def ended() -> bool:
        nonlocal job
        job = genai_client.tunings.get(name=full_name(job))
        states.append(str(job.state.name if job.state else None))
        return bool(job.has_ended)

    wait_until(ended, 60, "the job to end")
    assert job.has_succeeded, job.error
    assert set(states) <= {"JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"}
    assert job.create_time is not None
    assert job.start_time is not None
    assert job.end_time is not None
    assert job.create_time <= job.start_time <= job.end_time == job.update_time
    assert job.tuned_model is not None
    assert job.tuned_model.model is not None
    assert job.tuned_model.model.endswith("@1")
    assert job.tuned_model.checkpoints is not None
    assert [point.epoch for point in job.tuned_model.checkpoints] == [1, 2, 3]
    assert job.tuned_model.endpoint == job.tuned_model.checkpoints[-1].endpoint


def test_a_job_shows_what_it_was_asked_for(genai_client: genai.Client, training_uri: str, validation_uri: str) -> None:
    asked = config(
        validation_uri,
        epoch_count=1,
        adapter_size=types.AdapterSize.ADAPTER_SIZE_TWO,
        learning_rate_multiplier=2.5,
        tuned_model_display_name="shelf finder",
        description="Finds shelves",
        labels={"team": "paint"},
    )
    job = genai_client.tunings.get(name=full_name(tune(genai_client, training_uri, asked)))
    assert job.base_model == "gemini-2.5-flash"
    assert job.supervised_tuning_spec is not None
    assert job.supervised_tuning_spec.training_dataset_uri == training_uri
    assert job.supervised_tuning_spec.validation_dataset_uri == validation_uri
    hyper = job.supervised_tuning_spec.hyper_parameters
    assert hyper is not None
    assert (hyper.epoch_count, hyper.learning_rate_multiplier) == (1, 2.5)
    assert hyper.adapter_size == types.AdapterSize.ADAPTER_SIZE_TWO
    assert (job.tuned_model_display_name, job.description) == ("shelf finder", "Finds shelves")
    assert job.labels == {"team": "paint"}


def test_what_is_left_open_is_filled_in_and_shown(genai_client: genai.Client, training_uri: str) -> None:
    job = tune(genai_client, training_uri, config())
    wait_until(lambda: genai_client.tunings.get(name=full_name(job)).has_ended, 60, "the job to end")
    job = genai_client.tunings.get(name=full_name(job))
    assert job.supervised_tuning_spec is not None
    hyper = job.supervised_tuning_spec.hyper_parameters
    assert hyper is not None
    assert hyper.adapter_size == types.AdapterSize.ADAPTER_SIZE_FOUR
    assert hyper.learning_rate_multiplier == 1.0
    assert hyper.epoch_count == 20
    assert job.tuned_model_display_name is not None
    assert job.tuned_model_display_name.startswith("gemini-2.5-flash-")
    assert job.tuned_model is not None
    assert job.tuned_model.checkpoints is not None
    assert [point.epoch for point in job.tuned_model.checkpoints] == list(range(2, 21, 2))


def test_exporting_the_last_checkpoint_only_lists_none(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: Callable[..., dict[str, Any]]
) -> None:
    body = job_body()
    body["supervisedTuningSpec"]["exportLastCheckpointOnly"] = True
    job = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).json()
    tuned = wait_for_job(vertex, job["name"])["tunedModel"]
    assert set(tuned) == {"model", "endpoint"}
    assert vertex.get(f"/v1/{tuned['model']}").json()["deployedModels"][0]["endpoint"] == tuned["endpoint"]


def test_jobs_are_listed_by_label_newest_first_in_pages(genai_client: genai.Client, training_uri: str) -> None:
    run = uuid.uuid4().hex
    names = [full_name(tune(genai_client, training_uri, config(epoch_count=1, labels={"run": run}))) for _ in range(3)]
    listed = genai_client.tunings.list(config={"page_size": 2, "filter": f'labels.run="{run}"'})
    assert [job.name for job in listed.page] == names[:0:-1]
    assert [job.name for job in listed] == names[::-1]
    none = genai_client.tunings.list(config={"filter": f'labels.run="{run}" AND state="JOB_STATE_EXPIRED"'})
    assert list(none) == []


def test_a_running_job_is_cancelled(
    genai_client: genai.Client, vertex: httpx.Client, training_uri: str, endless: dict[str, Any]
) -> None:
    name = full_name(tune(genai_client, training_uri, config(epoch_count=ENDLESS, **endless)))
    wait_for_job(vertex, name, "JOB_STATE_RUNNING")
    genai_client.tunings.cancel(name=name)
    cancelled = wait_for_job(vertex, name)
    assert cancelled["state"] == "JOB_STATE_CANCELLED"
    assert cancelled["error"]["code"] == 1
    assert "tunedModel" not in cancelled
    assert "tuningJobState" not in cancelled
    with pytest.raises(errors.ClientError, match="has ended as JOB_STATE_CANCELLED") as refusal:
        genai_client.tunings.cancel(name=name)
    assert (refusal.value.code, refusal.value.status) == (400, "FAILED_PRECONDITION")


def test_a_pending_job_is_cancelled_without_ever_running(
    genai_client: genai.Client, vertex: httpx.Client, training_uri: str, endless: dict[str, Any]
) -> None:
    name = full_name(tune(genai_client, training_uri, config(epoch_count=ENDLESS, **endless)))
    genai_client.tunings.cancel(name=name)
    cancelled = wait_for_job(vertex, name)
    assert cancelled["state"] == "JOB_STATE_CANCELLED"
    assert "experiment" not in cancelled


def test_the_async_client_does_the_same(local_cloud: LocalCloud, training_uri: str) -> None:
    async def scenario() -> tuple[types.TuningJob, list[str | None], str | None]:
        owner = local_cloud.genai()  # must outlive its asynchronous half
        client = owner.aio
        job = await client.tunings.tune(
            base_model="gemini-2.5-flash",
            training_dataset=types.TuningDataset(gcs_uri=training_uri),
            config=config(epoch_count=1, labels={"run": uuid.uuid4().hex}),
        )
        while not job.has_ended:
            await asyncio.sleep(0.05)
            job = await client.tunings.get(name=full_name(job))
        assert job.labels is not None
        pages = await client.tunings.list(config={"filter": f'labels.run="{job.labels["run"]}"'})
        listed = [item.name async for item in pages]
        assert job.tuned_model is not None
        assert job.tuned_model.endpoint is not None
        endpoint = job.tuned_model.endpoint
        answer = await client.models.generate_content(model=endpoint, contents="Which shelf holds the red paint?")
        counted = await client.models.count_tokens(model=endpoint, contents="one two")
        assert counted.total_tokens == 2
        return job, listed, answer.text

    job, listed, text = asyncio.run(scenario())
    assert job.has_succeeded
    assert listed == [job.name]
    assert text is not None


def test_the_environment_alone_points_a_client_here(
    local_cloud: LocalCloud, tuned_job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from google import genai

    for name, value in local_cloud.environment().items():
        monkeypatch.setenv(name, value)
    client = genai.Client(vertexai=True, project=local_cloud.project, location=local_cloud.location)
    assert client.tunings.get(name=tuned_job["name"]).name == tuned_job["name"]


def test_data_statistics_are_those_of_the_dataset(tuned_job: dict[str, Any]) -> None:
    found = tuned_job["tuningDataStats"]["supervisedTuningDataStats"]
    assert found["tuningDatasetExampleCount"] == "8"
    sums = [int(found[f"user{side}TokenDistribution"]["sum"]) for side in ("Input", "Output")]
    assert int(found["totalBillableTokenCount"]) == sum(sums)
    assert found["userMessagePerExampleDistribution"]["mean"] == 2
    assert len(found["userDatasetExamples"]) == 6
    assert int(found["tuningStepCount"]) == int(tuned_job["tuningJobMetadata"]["completedStepCount"]) >= EPOCHS_BY_HEART


def test_v1_leaves_out_what_only_v1beta1_has(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    stable = vertex.get(f"/v1/{tuned_job['name']}").json()
    assert set(tuned_job) - set(stable) == {"tuningJobMetadata"}


def test_every_created_job_is_counted_and_every_request_logged(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: Callable[..., dict[str, Any]]
) -> None:
    before = local_cloud.counters()["tuning_jobs_created"]
    body = job_body({"description": uuid.uuid4().hex}, epochCount=1)
    assert vertex.post(f"/v1/{local_cloud.parent}/tuningJobs?x=1", json=body).status_code == 200
    assert vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json={}).status_code == 400
    assert local_cloud.counters()["tuning_jobs_created"] == before + 1
    logged = [entry for entry in local_cloud.requests() if body["description"] in entry.get("body", "")]
    assert [(e["method"], e["path"], e["query"], e["status"]) for e in logged] == [
        ("POST", f"/v1/{local_cloud.parent}/tuningJobs", "x=1", 200)
    ]
