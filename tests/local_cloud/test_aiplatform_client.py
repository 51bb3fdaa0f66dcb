"""The same server through google-cloud-aiplatform: enums as numbers, int64 as strings, proto parsing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.local_cloud.conftest import ENDLESS
from tests.local_cloud.services import LocalCloud, wait_for_job

if TYPE_CHECKING:
    import httpx


def test_the_generated_tuning_client_creates_and_reads_a_job(
    local_cloud: LocalCloud, vertex: httpx.Client, training_uri: str
) -> None:
    from google.cloud import aiplatform_v1beta1 as aiplatform

    client = local_cloud.generated(aiplatform.GenAiTuningServiceClient)
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


@pytest.fixture
def aiplatform(local_cloud: LocalCloud) -> Any:
    """The high-level module, pointed at the local cloud."""
    from google.cloud import aiplatform

    aiplatform.init(**local_cloud.aiplatform_settings())
    return aiplatform


@pytest.mark.filterwarnings("ignore")
def test_an_experiment_knows_its_run(aiplatform: Any, tuned_job: dict[str, Any]) -> None:
    experiment_id = tuned_job["experiment"].rpartition("/")[2]
    (run,) = aiplatform.ExperimentRun.list(experiment=experiment_id)
    assert run.state.name == "COMPLETE"
    assert (run.get_params(), run.get_metrics(), run.get_executions()) == ({}, {}, [])
    assert [artifact.schema_title for artifact in run.get_artifacts()] == ["google.VertexTensorboardRun"]
    (row,) = aiplatform.Experiment(experiment_id).get_data_frame().to_dict("records")
    assert row["state"] == "COMPLETE"
    assert 0 < row["time_series_metric./train_total_loss"] < row["time_series_metric./train_num_predictions"]
    assert experiment_id in [experiment.name for experiment in aiplatform.Experiment.list()]
    aiplatform.init(experiment=experiment_id)  # looks for the metadata store, then for the experiment


@pytest.mark.filterwarnings("ignore")
def test_tensorboards_are_read(aiplatform: Any, tuned_job: dict[str, Any]) -> None:
    experiment_id = tuned_job["experiment"].rpartition("/")[2]
    (board,) = aiplatform.Tensorboard.list(filter="is_default=true")
    assert aiplatform.Tensorboard(board.resource_name).display_name == board.display_name
    experiments = aiplatform.TensorboardExperiment.list(board.resource_name)
    assert experiment_id in [experiment.name for experiment in experiments]
    (run,) = aiplatform.TensorboardRun.list(tensorboard_experiment_name=experiment_id, tensorboard_id=board.name)
    series = aiplatform.TensorboardTimeSeries.list(run.resource_name)
    assert len(series) == 6
    assert aiplatform.TensorboardTimeSeries(series[0].resource_name).display_name == series[0].display_name


def test_the_generated_tensorboard_and_metadata_clients(local_cloud: LocalCloud, tuned_job: dict[str, Any]) -> None:
    from google.cloud import aiplatform_v1

    options = {
        "transport": "rest",
        "credentials": local_cloud.credentials(),
        "client_options": {"api_endpoint": local_cloud.vertex_url},
    }
    metadata = aiplatform_v1.MetadataServiceClient(**options)
    wanted = f'schema_title="system.ExperimentRun" AND parent_contexts:"{tuned_job["experiment"]}"'
    store = f"{local_cloud.parent}/metadataStores/default"
    (context,) = metadata.list_contexts(
        request=aiplatform_v1.ListContextsRequest(parent=store, filter=wanted, page_size=1)
    )
    (artifact,) = metadata.query_context_lineage_subgraph(context=context.name).artifacts
    assert artifact.state == aiplatform_v1.Artifact.State.LIVE
    boards = aiplatform_v1.TensorboardServiceClient(**options)
    (board,) = boards.list_tensorboards(parent=local_cloud.parent)
    run = boards.get_tensorboard_run(name=artifact.metadata["resourceName"])
    listing = aiplatform_v1.ListTensorboardTimeSeriesRequest(parent=run.name, page_size=4)
    series = list(boards.list_tensorboard_time_series(request=listing))
    assert len(series) == 6
    assert {item.value_type for item in series} == {aiplatform_v1.TensorboardTimeSeries.ValueType.SCALAR}
    loss = next(item for item in series if item.display_name == "/train_total_loss")
    read = boards.read_tensorboard_time_series_data(tensorboard_time_series=loss.name).time_series_data
    batch = boards.batch_read_tensorboard_time_series_data(
        request={"tensorboard": board.name, "time_series": [loss.name]}
    )
    assert list(batch.time_series_data) == [read]
    export = aiplatform_v1.ExportTensorboardTimeSeriesDataRequest(tensorboard_time_series=loss.name, page_size=5)
    points = list(boards.export_tensorboard_time_series_data(request=export))
    assert points == list(read.values)
    assert points[-1].step == loss.metadata.max_step


@pytest.mark.filterwarnings("ignore")
def test_the_older_tuning_classes(
    local_cloud: LocalCloud, vertex: httpx.Client, training_uri: str, validation_uri: str, endless: dict[str, Any]
) -> None:
    """``vertexai.tuning.sft`` is deprecated and still importable; Google's older samples use it."""
    import vertexai
    from vertexai.tuning import sft

    vertexai.init(**local_cloud.aiplatform_settings())
    job = sft.train(
        source_model="gemini-2.5-flash",
        train_dataset=training_uri,
        validation_dataset=validation_uri,
        epochs=2,
        learning_rate_multiplier=0.5,
        adapter_size=4,
        tuned_model_display_name="older",
        labels={"client": "vertexai"},
    )
    assert not job.has_ended
    wait_for_job(vertex, job.resource_name)
    job.refresh()
    assert (job.has_ended, job.has_succeeded) == (True, True)
    again = sft.SupervisedTuningJob(job.resource_name)
    stored = vertex.get(f"/v1/{job.resource_name}").json()
    assert again.tuned_model_name == stored["tunedModel"]["model"]
    assert again.tuned_model_endpoint_name == stored["tunedModel"]["endpoint"]
    assert again.experiment.resource_name == stored["experiment"]
    assert again.error.code == 0
    assert again.tuning_data_statistics.supervised_tuning_data_stats.tuning_dataset_example_count > 0
    listed = sft.SupervisedTuningJob.list(filter='labels.client="vertexai"')
    assert [item.resource_name for item in listed] == [job.resource_name]
    stopped = sft.train(source_model="gemini-2.5-flash", train_dataset=training_uri, epochs=ENDLESS, **endless)
    stopped.cancel()
    wait_for_job(vertex, stopped.resource_name)
    assert stopped.refresh().has_ended
    assert not stopped.has_succeeded
