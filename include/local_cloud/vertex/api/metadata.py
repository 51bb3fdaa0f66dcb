"""The metadata service, read only: the experiment and the run of each job that has begun, and the run's artifact.

There are no executions: training here is no pipeline. Lists are in order of creation, newest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from local_cloud.vertex.api.http import enum_numbers, parent_of, regional, text
from local_cloud.vertex.api.listing import page_of
from local_cloud.vertex.api.metadata_filter import parse_metadata_filter
from local_cloud.vertex.api.metrics_names import (
    ARTIFACT_MARK,
    ARTIFACTS,
    CONTEXTS,
    METADATA,
    RUN_MARK,
    began,
    experiment_id,
    run_context_id,
    run_id,
    run_name,
    tensorboard_of,
)
from local_cloud.vertex.errors import not_found
from local_cloud.vertex.names import derived_id
from local_cloud.vertex.wire.kinds import Enum

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.jobs.store import Job, Store

_EXPERIMENT, _EXPERIMENT_RUN = "system.Experiment", "system.ExperimentRun"
_TENSORBOARD_RUN = "google.VertexTensorboardRun"
_STATE = Enum("Artifact.State", ("STATE_UNSPECIFIED", "PENDING", "LIVE"))
_RUN_STATES = {
    "JOB_STATE_SUCCEEDED": "COMPLETE",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "COMPLETE",
    "JOB_STATE_FAILED": "FAILED",
    "JOB_STATE_EXPIRED": "FAILED",
    "JOB_STATE_CANCELLED": "CANCELLED",
}


class MetadataApi:
    """The metadata service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return [
            *regional("GET", METADATA, self.get_store),
            *regional("GET", CONTEXTS, self.list_contexts),
            *regional("GET", CONTEXTS + "/{context}:queryContextLineageSubgraph", self.lineage),
            *regional("GET", CONTEXTS + "/{context}", self.get_context),
            *regional("GET", ARTIFACTS, self.list_artifacts),
            *regional("GET", ARTIFACTS + "/{artifact}", self.get_artifact),
            *regional("GET", METADATA + "/executions", self.list_executions),
        ]

    async def get_store(self, request: Request) -> JSONResponse:
        """Answer the location's metadata store."""
        return JSONResponse({"name": f"{parent_of(request)}/{METADATA}"})

    async def list_contexts(self, request: Request) -> JSONResponse:
        """Answer a page of the experiments and runs that pass the filter."""
        matches = parse_metadata_filter(text(request, "filter"))
        found = []
        for job in self._jobs(request):
            experiment, run = _experiment_context(job), _run_context(job)
            found += [run] if matches(run) else []
            found += [experiment] if matches({**experiment, "childContexts": [run["name"]]}) else []
        page, more = page_of(request, found)
        return JSONResponse({"contexts": page, **more} if page else {})

    async def get_context(self, request: Request) -> JSONResponse:
        """Answer an experiment or a run."""
        return JSONResponse(self._context(request))

    async def lineage(self, request: Request) -> JSONResponse:
        """Answer the artifacts of a context: that of a run."""
        context = self._context(request)
        job = self._job_of(request, request.path_params["context"])
        if job is None or context["schemaTitle"] == _EXPERIMENT:
            return JSONResponse({})
        return JSONResponse({"artifacts": [_written(request, _artifact(job))]})

    async def list_artifacts(self, request: Request) -> JSONResponse:
        """Answer a page of the artifacts that pass the filter: one for each run."""
        matches = parse_metadata_filter(text(request, "filter"))
        found = []
        for job in self._jobs(request):
            artifact = _artifact(job)
            if matches({**artifact, "contexts": [_run_context(job)["name"]]}):
                found.append(_written(request, artifact))
        page, more = page_of(request, found)
        return JSONResponse({"artifacts": page, **more} if page else {})

    async def get_artifact(self, request: Request) -> JSONResponse:
        """Answer the artifact of a run."""
        artifact = request.path_params["artifact"]
        job = self._job_of(request, artifact)
        if job is None or run_context_id(job) + ARTIFACT_MARK != artifact:
            raise not_found(f"Artifact {parent_of(request)}/{ARTIFACTS}/{artifact} not found.")
        return JSONResponse(_written(request, _artifact(job)))

    async def list_executions(self, request: Request) -> JSONResponse:
        """Answer that there are none."""
        parse_metadata_filter(text(request, "filter"))
        page_of(request, [])
        return JSONResponse({})

    def _jobs(self, request: Request) -> list[Job]:
        return [job for job in self._store.jobs(parent_of(request)) if "experiment" in job.document]

    def _job_of(self, request: Request, resource: str) -> Job | None:
        """Return the job whose experiment's id is, or begins, the id of a resource."""
        base = f"{parent_of(request)}/{CONTEXTS}/"
        return self._store.job_of_experiment(base + resource) or self._store.job_of_experiment(
            base + resource.partition(RUN_MARK)[0]
        )

    def _context(self, request: Request) -> dict[str, Any]:
        context = request.path_params["context"]
        job = self._job_of(request, context)
        if job and experiment_id(job) == context:
            return _experiment_context(job)
        if job and run_context_id(job) == context:
            return _run_context(job)
        raise not_found(f"Context {parent_of(request)}/{CONTEXTS}/{context} not found.")


def _resource(job: Job, name: str, title: str, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{job.parent}/{name}",
        "etag": derived_id(name),
        "createTime": began(job),
        "updateTime": began(job),
        "schemaTitle": title,
        "schemaVersion": "0.0.1",
        **more,
    }


def _experiment_context(job: Job) -> dict[str, Any]:
    own_id = experiment_id(job)
    metadata = {"experiment_deleted": False, "backing_tensorboard_resource": tensorboard_of(job.parent)}
    more = {"displayName": own_id, "metadata": metadata}
    return _resource(job, f"{CONTEXTS}/{own_id}", _EXPERIMENT, more)


def _run_context(job: Job) -> dict[str, Any]:
    metadata = {"_params": {}, "_metrics": {}, "_state": _RUN_STATES.get(job.state, "RUNNING")}
    experiment = f"{job.parent}/{CONTEXTS}/{experiment_id(job)}"
    more = {"displayName": run_id(job), "parentContexts": [experiment], "metadata": metadata}
    return _resource(job, f"{CONTEXTS}/{run_context_id(job)}", _EXPERIMENT_RUN, more)


def _artifact(job: Job) -> dict[str, Any]:
    metadata = {"resourceName": run_name(job), "vertex_experiment_tracking": True}
    more = {"displayName": run_id(job), "state": "LIVE", "metadata": metadata}
    return _resource(job, f"{ARTIFACTS}/{run_context_id(job)}{ARTIFACT_MARK}", _TENSORBOARD_RUN, more)


def _written(request: Request, artifact: dict[str, Any]) -> dict[str, Any]:
    return {**artifact, "state": _STATE.write(artifact["state"], enum_numbers=enum_numbers(request))}
