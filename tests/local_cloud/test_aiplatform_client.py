"""The same server through google-cloud-aiplatform: enums as numbers, int64 as strings, proto parsing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx
    from tests.local_cloud.services import LocalCloud


def test_the_generated_tuning_client_creates_and_reads_a_job(
    local_cloud: LocalCloud, vertex: httpx.Client, training_uri: str
) -> None:
    from google.cloud import aiplatform_v1beta1 as aiplatform

    client = aiplatform.GenAiTuningServiceClient(
        transport="rest",
        credentials=local_cloud.credentials(),
        client_options={"api_endpoint": local_cloud.vertex_url},
    )
    sizes = aiplatform.SupervisedHyperParameters.AdapterSize
    job = aiplatform.TuningJob(
        base_model="gemini-2.5-flash",
        tuned_model_display_name="from aiplatform",
        labels={"client": "aiplatform"},
        supervised_tuning_spec=aiplatform.SupervisedTuningSpec(
            training_dataset_uri=training_uri,
            hyper_parameters=aiplatform.SupervisedHyperParameters(
                epoch_count=2, learning_rate_multiplier=0.5, adapter_size=sizes.ADAPTER_SIZE_SIXTEEN
            ),
        ),
    )
    created = client.create_tuning_job(parent=local_cloud.parent, tuning_job=job)
    sent = next(e for e in reversed(local_cloud.requests()) if e["method"] == "POST")["body"]
    assert '"adapterSize": 4' in sent  # this client's form: SIXTEEN by its wire number
    assert '"epochCount": "2"' in sent

    assert created.state == aiplatform.JobState.JOB_STATE_PENDING
    stored = vertex.get(f"/v1/{created.name}").json()["supervisedTuningSpec"]["hyperParameters"]
    assert stored == {"epochCount": "2", "learningRateMultiplier": 0.5, "adapterSize": "ADAPTER_SIZE_SIXTEEN"}
    read = client.get_tuning_job(name=created.name)
    assert read.supervised_tuning_spec.hyper_parameters == job.supervised_tuning_spec.hyper_parameters
    assert read.create_time == created.create_time
    listing = aiplatform.ListTuningJobsRequest(parent=local_cloud.parent, filter='labels.client="aiplatform"')
    listed = client.list_tuning_jobs(request=listing)
    assert [item.name for item in listed] == [created.name]
    client.cancel_tuning_job(name=created.name)


@pytest.mark.filterwarnings("ignore")
def test_the_experiment_classes_read_the_loss(local_cloud: LocalCloud, tuned_job: dict[str, Any]) -> None:
    from google.cloud import aiplatform

    aiplatform.init(
        project=local_cloud.project,
        location=local_cloud.location,
        credentials=local_cloud.credentials(),
        api_endpoint=local_cloud.vertex_url,
        api_transport="rest",
    )
    experiment_id = tuned_job["experiment"].rpartition("/")[2]
    experiment = aiplatform.Experiment(experiment_id)
    tensorboard = experiment.get_backing_tensorboard_resource()
    timestamp = experiment_id.rpartition("-")[2]
    run_name = f"{tensorboard.resource_name}/experiments/{experiment_id}/runs/tuning-experiment-run-{timestamp}"
    series = aiplatform.TensorboardRun(run_name).read_time_series_data()
    loss = [point.scalar.value for point in series["/train_total_loss"].values]
    assert len(loss) == int(tuned_job["tuningJobMetadata"]["completedStepCount"])
    assert loss[-1] < loss[0]
    assert len(series) == 6
