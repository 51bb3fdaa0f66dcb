"""Planted jobs: TuningJobs that are there as if they had always been, to rehearse what others' scripts look for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import ApiError, invalid_argument
from local_cloud.vertex.jobs.endings import usual_error
from local_cloud.vertex.jobs.products import experiment_of
from local_cloud.vertex.jobs.request import base_model_of
from local_cloud.vertex.jobs.store import ENDED, Job
from local_cloud.vertex.names import location_name, new_id, now, numbered
from local_cloud.vertex.wire.tuning import PLANTED_JOB

if TYPE_CHECKING:
    from local_cloud.vertex.jobs.products import Products
    from local_cloud.vertex.jobs.registry import Registry
    from local_cloud.vertex.jobs.store import Store

_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/tuningJobs/([\w-]+)")
_MODEL = re.compile(r"(projects/[^/]+/locations/[^/]+/models/[^/@]+)(?:@(\d{1,9}))?")
_STATE = re.compile(r"JOB_STATE_[A-Z_]+")
_WITH_MODEL = ("JOB_STATE_SUCCEEDED", "JOB_STATE_PARTIALLY_SUCCEEDED")
_BASE_MODEL = "gemini-2.5-flash"
_CHECKPOINTS = 3


class Planting:
    """Puts jobs into the store without creating them."""

    def __init__(self, store: Store, registry: Registry, products: Products) -> None:
        self._store = store
        self._registry = registry
        self._products = products

    def plant(self, value: Any, *, replace: bool = True) -> Job:
        """Plant a job and return it; one that was planted under the same name before is gone, with what it had made.

        It stays as it is until it is cancelled or planted again, which makes it the newest one of the lists; a running
        one counts towards the quota. Its model and endpoints, given or made up for a job that has succeeded, are there
        too; they are served by the base model's weights.

        Args:
            value: a TuningJob as the API answers it, with its full name; the project may be an id or a number. The
                state may be one that no client knows yet. Base model, display name, times and what a job of its state
                always has are filled in where they are missing.
            replace: False leaves a job of the same name alone.

        Raises:
            ApiError: 400 for what is no TuningJob, 409 when another job has the same id or experiment, or the job of
                this name was created.
        """
        given = PLANTED_JOB.read(value, "tuning_job")
        match = _NAME.fullmatch(given.get("name", ""))
        if match is None:
            raise invalid_argument("A planted job needs a `name`: projects/*/locations/*/tuningJobs/*.")
        project, location, job_id = match.groups()
        parent = location_name(project, location)
        present = self._store.job(job_id)
        if present and present.parent != parent:
            raise ApiError(409, f"{present.name} has the same id.")
        if present and not replace:
            return present
        if present and not present.planted:
            raise ApiError(409, f"{present.name} was created here: only planted jobs can be planted again.")
        document = {**_filled(given), "name": f"{parent}/tuningJobs/{job_id}"}
        if experiment := document.get("experiment"):
            document["experiment"] = numbered(experiment)
            owner = self._store.job_of_experiment(document["experiment"])
            if owner and owner.id != job_id:
                raise ApiError(409, f"{owner.name} has the same experiment.")
        if document.get("error") is None:
            document.pop("error", None)
        draft = Job(job_id, parent, document, 0, planted=True)
        if document["state"] in _WITH_MODEL:
            document["tunedModel"] = document.get("tunedModel") or self._tuned_model(draft)
        job = self._store.add_job(job_id, parent, document, planted=True)
        if "startTime" in document and "experiment" not in document:
            job = self._store.update_job(job_id, experiment=experiment_of(job), updateTime=document["updateTime"])
        self._register(job)
        return job

    def _tuned_model(self, job: Job) -> dict[str, Any]:
        checkpoints = [
            {"checkpointId": str(epoch), "epoch": epoch, "step": epoch, "endpoint": self._products.endpoint_name(job)}
            for epoch in range(1, _CHECKPOINTS + 1)
        ]
        endpoint = checkpoints[-1]["endpoint"]
        return {"model": f"{job.parent}/models/{new_id()}@1", "endpoint": endpoint, "checkpoints": checkpoints}

    def _register(self, job: Job) -> None:
        tuned = job.document.get("tunedModel", {})
        match = _MODEL.fullmatch(tuned.get("model", ""))
        if match is None:
            self._registry.forget(job.id)
            return
        checkpoints = {
            item["endpoint"]: item["checkpointId"]
            for item in tuned.get("checkpoints", [])
            if "endpoint" in item and "checkpointId" in item
        }
        if tuned.get("endpoint"):
            checkpoints.setdefault(tuned["endpoint"], "1")
        default = checkpoints.get(tuned.get("endpoint"))
        version = str(int(match[2] or 1))
        self._registry.forget(job.id, but=(match[1], version))
        self._registry.add_model(match[1], version, job.id, checkpoints, default)


def _filled(job: dict[str, Any]) -> dict[str, Any]:
    state = job.get("state", "JOB_STATE_SUCCEEDED")
    if not _STATE.fullmatch(state):
        raise invalid_argument(f"Invalid `state` {state!r}; expected JOB_STATE_….")
    created = job.get("createTime") or now()
    times = {"createTime": created, "updateTime": created}
    if state == "JOB_STATE_RUNNING" or state in ENDED:
        times["startTime"] = job.get("startTime") or created
    if state in ENDED:
        times["endTime"] = times["updateTime"] = job.get("endTime") or now()
    base = base_model_of(job) or _BASE_MODEL
    source = {} if job.get("preTunedModel") else {"baseModel": base}
    name = f"{base}-{new_id()}"
    return {"error": usual_error(state), "tunedModelDisplayName": name, **source, **times, **job, "state": state}
