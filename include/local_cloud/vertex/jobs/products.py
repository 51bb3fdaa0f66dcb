"""What a tuning job makes, and the names it gives to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.jobs.request import base_model_of, spec_of
from local_cloud.vertex.names import location_name, new_id, numbered

if TYPE_CHECKING:
    from local_cloud.vertex.catalogue import Catalogue
    from local_cloud.vertex.jobs.registry import Registry
    from local_cloud.vertex.jobs.store import Job, Store

_SECONDS_DIGITS = 14


def experiment_of(job: Job) -> str:
    """Return the name of the experiment (a metadata context) that a job's metrics hang from.

    A real one ends in a timestamp of 20 digits; here the last six keep apart what began in the same second.
    """
    second = re.sub(r"\D", "", job.document["createTime"])[:_SECONDS_DIGITS]
    return f"{job.parent}/metadataStores/default/contexts/tuning-experiment-{second}{job.sequence:06d}"


def statistics_field(document: dict[str, Any], statistics: dict[str, Any]) -> dict[str, Any]:
    """Return ``tuningDataStats`` with the statistics in the form of the job's tuning method."""
    if spec_of(document) == "preferenceOptimizationSpec":
        renamed = {"truncatedExampleIndices": "droppedExampleIndices"}
        return {"preferenceOptimizationDataStats": {renamed.get(key, key): item for key, item in statistics.items()}}
    return {"supervisedTuningDataStats": statistics}


class Products:
    """Registers tuned models and their endpoints."""

    def __init__(self, store: Store, registry: Registry, catalogue: Catalogue) -> None:
        self._store = store
        self._registry = registry
        self._catalogue = catalogue

    def register(self, job: Job, checkpoints: list[dict[str, Any]], *, endpoints: int | None = None) -> dict[str, Any]:
        """Register what a finished training made and return the canonical ``tunedModel``.

        The model's endpoint is that of the last checkpoint; a job that exports only this one has no list of them.

        Args:
            job: the job.
            checkpoints: ``{"id", "epoch", "step"}`` of each checkpoint in order of their epochs.
            endpoints: how many of them, from the first, get an endpoint; all when left out.
        """
        model, version = self._name(job)
        names: list[str | None] = [self.endpoint_name(job) for _ in checkpoints]
        if endpoints is not None:
            names[endpoints:] = [None] * (len(names) - endpoints)
        served = {name: str(item["id"]) for name, item in zip(names, checkpoints, strict=True) if name}
        self._registry.add_model(model, version, job.id, served)
        result: dict[str, Any] = {"model": f"{model}@{version}", "endpoint": names[-1]}
        spec = job.document.get(spec_of(job.document) or "", {})
        if served and not spec.get("exportLastCheckpointOnly"):
            result["checkpoints"] = [
                {"checkpointId": item["id"], "epoch": item["epoch"], "step": item["step"], "endpoint": name}
                for item, name in zip(checkpoints, names, strict=True)
            ]
        return result

    def endpoint_name(self, job: Job) -> str:
        """Return the name of a new endpoint for a model that the job makes."""
        base = self._catalogue.base(base_model_of(job.document))
        location = base.serving_location(job.location) if base else job.location
        return f"{location_name(job.parent.split('/')[1], location)}/endpoints/{new_id()}"

    def _name(self, job: Job) -> tuple[str, str]:
        """Return the name and version of the model: a new one, or the next version of the one it continues from.

        Continuous tuning stays with its model unless the job was given a display name of its own.
        """
        tuned = job.document.get("preTunedModel", {}).get("tunedModelName", "").partition("@")[0]
        if tuned:
            model = numbered(tuned)
            found = self._registry.model(model)
            made_by = self._store.job(found.job_id) if found else None
            name = job.document["tunedModelDisplayName"]
            if made_by and made_by.document["tunedModelDisplayName"] == name:
                return model, self._registry.next_version(model)
        return f"{job.parent}/models/{new_id()}", "1"
