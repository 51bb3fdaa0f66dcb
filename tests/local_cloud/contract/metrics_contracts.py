"""What google-cloud-aiplatform's experiment classes expect of a job's metrics."""

from __future__ import annotations

from typing import Any

from tests.local_cloud.contract.service import Service

SERIES = {
    f"/{part}_{name}"
    for part in ("train", "eval")
    for name in ("total_loss", "fraction_of_correct_next_step_preds", "num_predictions")
}


def tensorboard_run(service: Service) -> None:
    """Experiment -> TensorBoard -> run -> the six series, point by point."""
    aiplatform = _aiplatform(service)
    experiment_id, run_id = _names(service)
    tensorboard = aiplatform.Experiment(experiment_id).get_backing_tensorboard_resource()
    name = f"{tensorboard.resource_name}/experiments/{experiment_id}/runs/{run_id}"
    run = aiplatform.TensorboardRun(name)
    series = run.read_time_series_data()
    assert set(series) == SERIES
    steps = _steps(service)
    losses = [(int(point.step), point.scalar.value) for point in series["/train_total_loss"].values]
    assert [step for step, _ in losses] == list(range(1, steps + 1))
    assert losses[-1][1] < losses[0][1]
    times = [point.wall_time for point in series["/train_total_loss"].values]
    assert times == sorted(times)
    accuracy = [point.scalar.value for point in series["/eval_fraction_of_correct_next_step_preds"].values]
    assert all(0 <= value <= 1 for value in accuracy)


def experiment_run(service: Service) -> None:
    """ExperimentRun finds the same series and lays them out as a table."""
    aiplatform = _aiplatform(service)
    experiment_id, run_id = _names(service)
    frame = aiplatform.ExperimentRun(run_id, experiment=experiment_id).get_time_series_data_frame()
    assert set(frame.columns) >= SERIES, frame
    assert list(frame["step"]) == list(range(1, _steps(service) + 1))
    loss = frame["/train_total_loss"]
    assert loss.iloc[-1] < loss.iloc[0]


def _aiplatform(service: Service) -> Any:
    from google.cloud import aiplatform

    aiplatform.init(**service.cloud.aiplatform_settings())
    return aiplatform


def _names(service: Service) -> tuple[str, str]:
    """The ids of the experiment and of its run, found the way a reader has to: by the run's parent."""
    experiment = service.tuned["experiment"]
    parent = experiment.rpartition("/metadataStores")[0]
    wanted = f'schema_title="system.ExperimentRun" AND parent_contexts:"{experiment}"'
    answer = service.plain.get(f"/v1/{parent}/metadataStores/default/contexts", params={"filter": wanted})
    (context,) = answer.raise_for_status().json()["contexts"]
    experiment_id = experiment.rpartition("/")[2]
    return experiment_id, context["name"].rpartition("/")[2].removeprefix(f"{experiment_id}-")


def _steps(service: Service) -> int:
    return int(service.tuned["tuningJobMetadata"]["completedStepCount"])
