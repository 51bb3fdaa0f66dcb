"""The names of the resources between a job and its metrics.

``TuningJob.experiment`` is a metadata context that names a TensorBoard; a child context names the run; an artifact of
that context names the TensorBoard run; the run has a time series for each metric. The form of a real run's id is not
documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_cloud.vertex.names import derived_id

if TYPE_CHECKING:
    from local_cloud.vertex.jobs.store import Job

METADATA = "metadataStores/default"
CONTEXTS = f"{METADATA}/contexts"
ARTIFACTS = f"{METADATA}/artifacts"
RUN_MARK = "-tuning-experiment-run-"
ARTIFACT_MARK = "-tb-run"
"""The aiplatform client appends this to a run's context id to find its artifact."""


def tensorboard_of(parent: str) -> str:
    """Return the name of a location's TensorBoard: there is one for all its jobs."""
    return f"{parent}/tensorboards/{derived_id(parent)}"


def experiment_id(job: Job) -> str:
    """Return the id of a job's experiment."""
    return str(job.document["experiment"]).rpartition("/")[2]


def run_id(job: Job) -> str:
    """Return the id of a job's run: each experiment has one."""
    return RUN_MARK[1:] + experiment_id(job).rpartition("-")[2]


def run_context_id(job: Job) -> str:
    """Return the id of a run's context."""
    return f"{experiment_id(job)}-{run_id(job)}"


def experiment_name(job: Job) -> str:
    """Return the name of a job's TensorBoard experiment."""
    return f"{tensorboard_of(job.parent)}/experiments/{experiment_id(job)}"


def run_name(job: Job) -> str:
    """Return the name of a job's TensorBoard run."""
    return f"{experiment_name(job)}/runs/{run_id(job)}"


def series_id(job: Job, metric: str) -> str:
    """Return the id of a job's time series for a metric."""
    return derived_id(job.id, metric)


def began(job: Job) -> str:
    """Return since when a job's metrics resources exist."""
    return str(job.document.get("startTime") or job.document["createTime"])
