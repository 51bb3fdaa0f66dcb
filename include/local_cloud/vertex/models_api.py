"""The Model Registry, as far as tuning fills it: ``models.get``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from local_cloud.vertex.errors import not_found
from local_cloud.vertex.http import parent_of, regional
from local_cloud.vertex.names import derived_id

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.store import Store

_VERSIONS = ("", "1", "default")


class ModelsApi:
    """The model service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return regional("GET", "models/{model}", self.get)

    async def get(self, request: Request) -> JSONResponse:
        """Answer a tuned model, by ``models/{id}`` or with its version, ``models/{id}@1``."""
        model, _, version = request.path_params["model"].partition("@")
        name = f"{parent_of(request)}/models/{model}"
        job = self._store.job_of_model(name)
        if job is None or version not in _VERSIONS or "tunedModel" not in job.document:
            raise not_found(f"Model {name} not found.")
        tuned, made = job.document["tunedModel"], job.document["endTime"]
        checkpoints = tuned.get("checkpoints", [])
        endpoints = [item["endpoint"] for item in checkpoints] or [tuned["endpoint"]]
        body = {
            "name": name,
            "versionId": "1",
            "versionAliases": ["default"],
            "versionCreateTime": made,
            "versionUpdateTime": made,
            "displayName": job.document["tunedModelDisplayName"],
            "description": job.document.get("description"),
            "createTime": made,
            "updateTime": made,
            "deployedModels": [
                {"endpoint": endpoint, "deployedModelId": derived_id(endpoint)} for endpoint in endpoints
            ],
            "labels": job.document.get("labels"),
            "defaultCheckpointId": checkpoints[-1]["checkpointId"] if checkpoints else None,
            "checkpoints": [
                {"checkpointId": item["checkpointId"], "epoch": str(item["epoch"]), "step": str(item["step"])}
                for item in checkpoints
            ],
        }
        return JSONResponse({field: value for field, value in body.items() if value})
