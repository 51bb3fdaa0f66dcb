"""The curves of a tuning job: loss and token accuracy by step.

They live in the job's TensorBoard, reached from ``TuningJob.experiment`` in five reads ("Tune Gemini models",
section on metrics): experiment context, run context, TensorBoard run, its time series, their values.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from gemini_tuning.tuning.client import JsonReader
from gemini_tuning.tuning.spec import TuningJob, location_of
from gemini_tuning.values import Value

TRAIN_LOSS = "/train_total_loss"
VALIDATION_LOSS = "/eval_total_loss"
TRAIN_ACCURACY = "/train_fraction_of_correct_next_step_preds"
VALIDATION_ACCURACY = "/eval_fraction_of_correct_next_step_preds"


class Point(Value):
    """A value at a training step (counted from 1)."""

    step: int
    value: float


class Metrics(Value):
    """The series of one job by Vertex AI's own names, each in the order of its steps. Empty before it runs."""

    series: dict[str, tuple[Point, ...]] = Field(default_factory=dict)

    def first(self, name: str) -> Point | None:
        """Return the series' first point, or None."""
        return points[0] if (points := self.series.get(name)) else None

    def last(self, name: str) -> Point | None:
        """Return the series' last point, or None."""
        return points[-1] if (points := self.series.get(name)) else None


def read_metrics(read: JsonReader, job: TuningJob) -> Metrics:
    """Return every series the job has recorded so far.

    :raises ServiceRefusedError: or ``TransientError``, from the reader.
    """
    if not job.experiment:
        return Metrics()
    experiment = read(job.experiment)
    tensorboard = experiment.get("metadata", {}).get("backing_tensorboard_resource")
    if not tensorboard:
        return Metrics()
    series: dict[str, tuple[Point, ...]] = {}
    for run in _runs(read, job.experiment):
        series |= _series(read, tensorboard, job.experiment.rsplit("/", 1)[1], run)
    return Metrics(series=series)


def _runs(read: JsonReader, experiment: str) -> list[str]:
    parent = experiment.rsplit("/contexts/", 1)[0]
    answer = read(
        f"{parent}/contexts",
        {"filter": f'schema_title="system.ExperimentRun" AND parent_contexts:"{experiment}"'},
    )
    prefix = experiment.rsplit("/", 1)[1] + "-"
    return [context["name"].rsplit("/", 1)[1].removeprefix(prefix) for context in answer.get("contexts", [])]


def _series(read: JsonReader, tensorboard: str, experiment_id: str, run: str) -> dict[str, tuple[Point, ...]]:
    listed = read(f"{tensorboard}/experiments/{experiment_id}/runs/{run}/timeSeries", {"pageSize": "1000"}).get(
        "tensorboardTimeSeries", []
    )
    return {entry["displayName"]: _points(read(f"{entry['name']}:read")) for entry in listed}


def _points(answer: dict[str, Any]) -> tuple[Point, ...]:
    values = answer.get("timeSeriesData", {}).get("values", [])
    points = [Point(step=int(entry.get("step", 0)), value=entry["scalar"].get("value", 0.0)) for entry in values]
    return tuple(sorted(points, key=lambda point: point.step))


def metrics_location(job: TuningJob) -> str:
    """Return the location whose API holds the job's metrics."""
    return location_of(job.experiment or job.name)
