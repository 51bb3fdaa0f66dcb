"""The metrics of a job, through the chain experiment, run, time series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.local_cloud.conftest import ENDLESS
from tests.local_cloud.services import LocalCloud, wait_for_job, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

SIX = {
    f"/{part}_{metric}"
    for part in ("train", "eval")
    for metric in ("total_loss", "fraction_of_correct_next_step_preds", "num_predictions")
}


def run_of(vertex: httpx.Client, job: dict[str, Any]) -> str:
    """Follow the chain from a job to its TensorBoard run."""
    experiment = vertex.get(f"/v1/{job['experiment']}").raise_for_status().json()
    assert experiment["schemaTitle"] == "system.Experiment"
    tensorboard = experiment["metadata"]["backing_tensorboard_resource"]
    parent = job["experiment"].rpartition("/")[0].removesuffix("/contexts")
    query = f'schema_title="system.ExperimentRun" AND parent_contexts:"{job["experiment"]}"'
    contexts = vertex.get(f"/v1/{parent}/contexts", params={"filter": query}).raise_for_status().json()["contexts"]
    assert [context["parentContexts"] for context in contexts] == [[job["experiment"]]]
    name = contexts[0]["name"].rpartition("/")[2]
    experiment_id = job["experiment"].rpartition("/")[2]
    run = f"{tensorboard}/experiments/{experiment_id}/runs/{name.removeprefix(experiment_id + '-')}"
    assert vertex.get(f"/v1/{run}").raise_for_status().json()["name"] == run
    assert vertex.get(f"/v1/{contexts[0]['name']}").raise_for_status().json() == contexts[0]
    return run


def series_of(vertex: httpx.Client, run: str) -> dict[str, dict[str, Any]]:
    answer = vertex.get(f"/v1/{run}/timeSeries").raise_for_status().json()
    return {series["displayName"]: series for series in answer.get("tensorboardTimeSeries", [])}


def values(vertex: httpx.Client, series: str, **query: Any) -> list[dict[str, Any]]:
    answer = vertex.get(f"/v1/{series}:read", params=query).raise_for_status().json()
    found: list[dict[str, Any]] = answer["timeSeriesData"]["values"]
    return found


def test_all_six_series_are_read_one_by_one_and_in_a_batch(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    run = run_of(vertex, tuned_job)
    series = series_of(vertex, run)
    assert set(series) == SIX
    names = [item["name"] for item in series.values()]
    tensorboard = run.partition("/experiments/")[0]
    batch = vertex.get(f"/v1/{tensorboard}:batchRead", params={"timeSeries": names}).json()["timeSeriesData"]
    for name, data in zip(names, batch, strict=True):
        assert data["values"] == values(vertex, name)
        assert name.endswith("/" + data["tensorboardTimeSeriesId"])
        assert vertex.get(f"/v1/{name}").json()["metadata"]["maxStep"] == data["values"][-1]["step"]


def test_the_loss_falls_and_the_accuracy_rises(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    series = series_of(vertex, run_of(vertex, tuned_job))
    for part in ("train", "eval"):
        loss = [point["scalar"]["value"] for point in values(vertex, series[f"/{part}_total_loss"]["name"])]
        share = series[f"/{part}_fraction_of_correct_next_step_preds"]["name"]
        accuracy = [point["scalar"]["value"] for point in values(vertex, share)]
        assert loss[-1] < loss[0] / 2
        assert accuracy[-1] > accuracy[0]
    steps = [int(point["step"]) for point in values(vertex, series["/train_total_loss"]["name"])]
    assert steps == list(range(1, int(tuned_job["tuningJobMetadata"]["completedStepCount"]) + 1))


def test_series_are_sampled_and_paged(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    run = run_of(vertex, tuned_job)
    name = series_of(vertex, run)["/train_total_loss"]["name"]
    everything = values(vertex, name, maxDataPoints=-1)
    sampled = values(vertex, name, maxDataPoints=3)
    assert len(sampled) == 3
    assert (sampled[0], sampled[-1]) == (everything[0], everything[-1])
    first = vertex.get(f"/v1/{run}/timeSeries?pageSize=4").json()
    second = vertex.get(f"/v1/{run}/timeSeries?pageSize=4&pageToken={first['nextPageToken']}").json()
    assert len(first["tensorboardTimeSeries"]) == 4
    assert len(second["tensorboardTimeSeries"]) == 2
    assert "nextPageToken" not in second


def test_metrics_grow_while_the_job_trains(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: Callable[..., dict[str, Any]], endless: dict[str, Any]
) -> None:
    body = job_body(endless, epochCount=ENDLESS)
    created = vertex.post(f"/v1beta1/{local_cloud.parent}/tuningJobs", json=body).raise_for_status().json()
    assert "experiment" not in created
    job = wait_for_job(vertex, created["name"], "JOB_STATE_RUNNING")
    run = run_of(vertex, job)

    def last_step() -> int:
        found = series_of(vertex, run).get("/train_total_loss")
        return int(found["metadata"]["maxStep"]) if found else 0

    wait_until(lambda: last_step() > 0, 60, "the first metrics")
    seen = last_step()
    wait_until(lambda: last_step() > seen, 60, "more metrics")
    running = vertex.get(f"/v1beta1/{job['name']}").json()
    assert (running["state"], running["tuningJobState"]) == ("JOB_STATE_RUNNING", "TUNING_JOB_STATE_TUNING")
    assert int(running["tuningJobMetadata"]["completedStepCount"]) >= seen
    vertex.post(f"/v1/{job['name']}:cancel")
    wait_for_job(vertex, job["name"], "JOB_STATE_CANCELLED")
    assert last_step() > seen


def test_without_validation_data_there_is_no_eval_series(
    vertex: httpx.Client, local_cloud: LocalCloud, job_body: Callable[..., dict[str, Any]]
) -> None:
    body = job_body()
    del body["supervisedTuningSpec"]["validationDatasetUri"]
    job = vertex.post(f"/v1/{local_cloud.parent}/tuningJobs", json=body).json()
    series = series_of(vertex, run_of(vertex, wait_for_job(vertex, job["name"])))
    assert set(series) == {name for name in SIX if name.startswith("/train_")}


def contexts(vertex: httpx.Client, parent: str, text: str, **query: Any) -> list[dict[str, Any]]:
    """All pages of a list of contexts."""
    found, token = [], ""
    while True:
        asked = {"filter": text, "pageToken": token, **query}
        page = vertex.get(f"/v1/{parent}/metadataStores/default/contexts", params=asked).raise_for_status().json()
        found += page.get("contexts", [])
        token = page.get("nextPageToken", "")
        if not token:
            return found


def test_contexts_are_found_by_the_filters_that_clients_send(
    local_cloud: LocalCloud, vertex: httpx.Client, tuned_job: dict[str, Any]
) -> None:
    experiment = tuned_job["experiment"]
    by_id = experiment.replace(local_cloud.project_number, local_cloud.project)
    run = contexts(vertex, local_cloud.parent, f'parent_contexts:"{experiment}"')
    assert [context["schemaTitle"] for context in run] == ["system.ExperimentRun"]
    either = '(schema_title="system.ExperimentRun" OR schema_title="system.PipelineRun")'
    assert contexts(vertex, local_cloud.parent, f'{either} AND parent_contexts:"{by_id}"') == run
    (parent,) = contexts(vertex, local_cloud.parent, f'child_contexts:"{run[0]["name"]}"')
    assert parent["name"] == experiment
    (named,) = contexts(vertex, local_cloud.parent, f'schema_title="system.Experiment" AND (name="{by_id}")')
    assert named == parent
    assert contexts(vertex, local_cloud.parent, f'schema_title!="system.Experiment" AND name="{by_id}"') == []
    everything = contexts(vertex, local_cloud.parent, "")
    assert contexts(vertex, local_cloud.parent, "", pageSize=1) == everything
    assert {parent["name"], run[0]["name"]} <= {context["name"] for context in everything}


def test_the_artifact_of_a_run_names_it(
    local_cloud: LocalCloud, vertex: httpx.Client, tuned_job: dict[str, Any]
) -> None:
    store = f"/v1/{local_cloud.parent}/metadataStores/default"
    assert vertex.get(store).json()["name"].endswith("/metadataStores/default")
    (context,) = contexts(vertex, local_cloud.parent, f'parent_contexts:"{tuned_job["experiment"]}"')
    query = {"filter": f'in_context("{context["name"]}")'}
    (artifact,) = vertex.get(f"{store}/artifacts", params=query).json()["artifacts"]
    assert artifact["schemaTitle"] == "google.VertexTensorboardRun"
    assert artifact["metadata"]["resourceName"] == run_of(vertex, tuned_job)
    assert vertex.get(f"/v1/{artifact['name']}").json() == artifact
    lineage = vertex.get(f"/v1/{context['name']}:queryContextLineageSubgraph").json()
    assert lineage == {"artifacts": [artifact]}
    assert vertex.get(f"/v1/{tuned_job['experiment']}:queryContextLineageSubgraph").json() == {}
    assert vertex.get(f"{store}/executions", params=query).json() == {}
    assert vertex.get(f"{store}/artifacts", params={"filter": f'in_context("{tuned_job["experiment"]}")'}).json() == {}


def test_every_value_can_be_exported_in_pages(vertex: httpx.Client, tuned_job: dict[str, Any]) -> None:
    name = series_of(vertex, run_of(vertex, tuned_job))["/train_total_loss"]["name"]
    path, body, points = f"/v1/{name}:exportTensorboardTimeSeries", {"pageSize": 7}, []
    while True:
        page = vertex.post(path, json=body).raise_for_status().json()
        points += page["timeSeriesDataPoints"]
        assert len(page["timeSeriesDataPoints"]) <= 7
        if "nextPageToken" not in page:
            break
        body = {"pageSize": 7, "pageToken": page["nextPageToken"]}
    assert points == values(vertex, name, maxDataPoints=-1)
    for odd in ({"pageSize": -1}, {"pageToken": "x"}, {"filter": "step > 3"}, {"colour": 1}):
        assert vertex.post(path, json=odd).status_code == 400


def test_tensorboards_and_experiments_are_listed(
    local_cloud: LocalCloud, vertex: httpx.Client, tuned_job: dict[str, Any]
) -> None:
    run = run_of(vertex, tuned_job)
    tensorboard, _, rest = run.partition("/experiments/")
    listed = vertex.get(f"/v1/{local_cloud.parent}/tensorboards", params={"filter": "is_default=true"}).json()
    assert [board["name"] for board in listed["tensorboards"]] == [tensorboard]
    assert listed["tensorboards"] == [vertex.get(f"/v1/{tensorboard}").json()]
    assert vertex.get(f"/v1/{local_cloud.parent}/tensorboards", params={"filter": "is_default=false"}).json() == {}
    experiment = f"{tensorboard}/experiments/{rest.partition('/')[0]}"
    read = vertex.get(f"/v1/{experiment}").json()
    assert read in vertex.get(f"/v1/{tensorboard}/experiments?pageSize=1000").json()["tensorboardExperiments"]
    runs = vertex.get(f"/v1/{experiment}/runs").json()["tensorboardRuns"]
    assert runs == [vertex.get(f"/v1/{run}").json()]
    only = {"filter": 'display_name="/train_total_loss"'}
    (series,) = vertex.get(f"/v1/{run}/timeSeries", params=only).json()["tensorboardTimeSeries"]
    assert series["displayName"] == "/train_total_loss"


def test_a_planted_job_has_a_run_without_values(local_cloud: LocalCloud, vertex: httpx.Client) -> None:
    parent = "projects/650000000000/locations/us-central1"
    began = local_cloud.control("POST", "jobs", {"name": f"{parent}/tuningJobs/650", "state": "JOB_STATE_RUNNING"})
    run = run_of(vertex, began)
    assert vertex.get(f"/v1/{run}/timeSeries").json() == {}
    assert vertex.get(f"/v1/{run}/timeSeries/1:read").status_code == 404
    waits = {"name": f"{parent}/tuningJobs/651", "state": "JOB_STATE_PENDING"}
    assert "experiment" not in local_cloud.control("POST", "jobs", waits)
    experiments = contexts(vertex, parent, 'schema_title="system.Experiment"')
    assert [context["name"] for context in experiments] == [began["experiment"]]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("metadataStores/default/contexts/tuning-experiment-1", 404),
        ("metadataStores/default/contexts/tuning-experiment-1:queryContextLineageSubgraph", 404),
        ("metadataStores/default/artifacts/tuning-experiment-1-tb-run", 404),
        ("metadataStores/default/contexts?filter=x", 400),
        ("metadataStores/default/contexts?filter=schema_title", 400),
        ('metadataStores/default/contexts?filter=schema_title:"x"', 400),
        ('metadataStores/default/contexts?filter=schema_title="x" AND', 400),
        ('metadataStores/default/contexts?filter=((((((schema_title="x"))))))', 400),
        ("metadataStores/default/contexts?filter=metadata.a.number_value=1", 400),
        ("metadataStores/default/contexts?pageToken=x", 400),
        ("metadataStores/default/contexts?pageSize=-1", 400),
        ('metadataStores/default/artifacts?filter=in_context("x"', 400),
        ("metadataStores/default/executions?filter=%22", 400),
        ("tensorboards?filter=colour=red", 400),
        ("tensorboards?pageSize=x", 400),
        ("tensorboards/1", 404),
        ("tensorboards/1:batchRead", 404),
        ("tensorboards/1/experiments", 404),
        ("tensorboards/1/experiments/e", 404),
        ("tensorboards/1/experiments/e/runs", 404),
        ("tensorboards/1/experiments/e/runs/r", 404),
        ("tensorboards/1/experiments/e/runs/r/timeSeries/s:read", 404),
    ],
)
def test_unknown_and_odd_metrics_resources(vertex: httpx.Client, local_cloud: LocalCloud, path: str, code: int) -> None:
    response = vertex.get(f"/v1/{local_cloud.parent}/{path}")
    assert response.status_code == code
    assert response.json()["error"]["code"] == code


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("{board}:batchRead", 400),
        ("{board}:batchRead?timeSeries=x", 400),
        ("{board}:batchRead?timeSeries={elsewhere}", 400),
        ("{run}/timeSeries?pageToken=-1", 400),
        ("{run}/timeSeries?pageSize=-1", 400),
        ("{run}/timeSeries?filter=x", 400),
        ("{run}/timeSeries/1", 404),
        ("{run}/timeSeries/1:read", 404),
        ("{series}:read?maxDataPoints=x", 400),
        ("{series}:read?filter=step>3", 400),
    ],
)
def test_odd_reads(vertex: httpx.Client, tuned_job: dict[str, Any], path: str, code: int) -> None:
    run = run_of(vertex, tuned_job)
    series = series_of(vertex, run)["/train_total_loss"]["name"]
    board = run.partition("/experiments/")[0]
    names = {"run": run, "board": board, "series": series, "elsewhere": series.replace(board, f"{board}1")}
    response = vertex.get("/v1/" + path.format(**names))
    assert response.status_code == code
    assert response.json()["error"]["code"] == code
