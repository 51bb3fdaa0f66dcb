"""Tuned models and their endpoints as the Model Registry and the endpoint service show them.

A model takes its display name and description from the job that made its first version, each version its labels from
its own job, until they are updated. Two labels are added, since google-genai looks for them: ``tune-type``, by which
``models.list`` finds tuned models, and ``google-vertex-llm-tuning-base-model-id``, which it shows as the base model.
Which values Vertex AI gives to the first is not documented.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_cloud.vertex.jobs.request import SPECS, base_model_of, spec_of
from local_cloud.vertex.names import derived_id

if TYPE_CHECKING:
    from local_cloud.vertex.jobs.registry import Endpoint, Registry, Version
    from local_cloud.vertex.jobs.store import Job, Store


class ModelDocuments:
    """Writes the documents of a store's models and endpoints."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    def model(self, version: Version, *, versioned_name: bool = False) -> dict[str, Any] | None:
        """Return a model version, or None when its job is gone."""
        job = self._store.job(version.job_id)
        if job is None:
            return None
        first = self._registry.first(version.model)
        made = job.document.get("endTime", version.created)
        endpoints = self._registry.endpoints_of(version)
        checkpoints = self.checkpoints(version)
        body = {
            "name": f"{version.model}@{version.version}" if versioned_name else version.model,
            "versionId": version.version,
            "versionAliases": list(version.aliases),
            "versionCreateTime": made,
            "versionUpdateTime": max(made, version.updated) if version.changes else made,
            "displayName": self._display_name(first),
            "description": self._of_model(first, "description"),
            "versionDescription": version.changes.get("versionDescription"),
            "createTime": made,
            "updateTime": max(made, version.updated, first.updated) if version.changes or first.changes else made,
            "deployedModels": [
                {"endpoint": endpoint.name, "deployedModelId": derived_id(endpoint.name)} for endpoint in endpoints
            ],
            "etag": derived_id(version.model, version.version, version.updated, first.updated),
            "labels": {**self._labels(job, first), **version.changes.get("versionLabels", {})},
            "encryptionSpec": job.document.get("encryptionSpec"),
            "defaultCheckpointId": version.checkpoint if checkpoints else None,
            "checkpoints": checkpoints,
        }
        return {field: value for field, value in body.items() if value}

    def checkpoints(self, version: Version) -> list[dict[str, str]]:
        """Return the checkpoints of a model version; one of a job that exported only the last has no list of them."""
        job = self._store.job(version.job_id)
        tuned = job.document.get("tunedModel", {}) if job else {}
        return [
            {name: str(item[name]) for name in ("checkpointId", "epoch", "step") if name in item}
            for item in tuned.get("checkpoints", [])
        ]

    def endpoint(self, endpoint: Endpoint) -> dict[str, Any] | None:
        """Return an endpoint with the model version deployed to it, or None when its job is gone."""
        job = self._store.job(endpoint.job_id)
        if job is None:
            return None
        made = job.document.get("endTime", endpoint.created)
        first = self._registry.first(endpoint.model)
        name = self._display_name(first)
        deployed = {
            "id": derived_id(endpoint.name),
            "model": endpoint.model,
            "modelVersionId": endpoint.version,
            "displayName": name,
            "createTime": made,
            "checkpointId": endpoint.checkpoint,
        }
        body = {
            "name": endpoint.name,
            "displayName": name,
            "deployedModels": [deployed],
            "trafficSplit": {deployed["id"]: 100},
            "etag": derived_id(endpoint.name, endpoint.created),
            "labels": self._labels(job, first),
            "createTime": made,
            "updateTime": made,
            "encryptionSpec": job.document.get("encryptionSpec"),
        }
        return {field: value for field, value in body.items() if value}

    def base_model(self, job_id: str) -> str:
        """Return the base model that a job's weights come from."""
        job = self._store.job(job_id)
        return base_model_of(job.document) if job else ""

    def _display_name(self, first: Version) -> str:
        return str(first.changes.get("displayName") or self._of_model(first, "tunedModelDisplayName") or "")

    def _of_model(self, first: Version, field: str) -> str | None:
        if field in first.changes:
            return str(first.changes[field])
        job = self._store.job(first.job_id)
        return job.document.get(field) if job else None

    def _labels(self, job: Job, first: Version) -> dict[str, str]:
        spec = spec_of(job.document)
        own = first.changes["labels"] if "labels" in first.changes else job.document.get("labels", {})
        base = base_model_of(job.document)
        added = {"google-vertex-llm-tuning-base-model-id": base, "tune-type": SPECS[spec] if spec else "supervised"}
        return {**{name: value for name, value in added.items() if value}, **own}
