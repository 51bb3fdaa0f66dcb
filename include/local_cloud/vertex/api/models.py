"""The Model Registry, as far as tuning fills it: get, list, update, versions, aliases, delete.

- ``models/{id}`` is the version called ``default``: the first, until the alias is moved (``:mergeVersionAliases``).
- A new default checkpoint changes ``defaultCheckpointId`` of the version, and ``tunedModel.endpoint`` of its job to
  the endpoint of that checkpoint, as "Use checkpoints" describes. Every checkpoint keeps its own endpoint.
- Deleting a model deletes its endpoints with it, although Vertex AI may want them undeployed first; the tuning job
  stays as it is.
- ``readMask`` is not heeded: all fields are answered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from local_cloud.vertex.api.http import body_of, parent_of, regional, text
from local_cloud.vertex.api.listing import chosen, page_of
from local_cloud.vertex.api.model_documents import ModelDocuments
from local_cloud.vertex.errors import failed_precondition, invalid_argument, not_found
from local_cloud.vertex.jobs.registry import DEFAULT_ALIAS
from local_cloud.vertex.names import DISPLAY_NAME_LENGTH
from local_cloud.vertex.wire.kinds import ANYTHING, STRING, TEXTS, Many, Message, camel

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.api.operations import OperationsApi
    from local_cloud.vertex.jobs.registry import Registry, Version
    from local_cloud.vertex.jobs.store import Store

_ABOUT_THE_MODEL = ("displayName", "description")
_ABOUT_THE_VERSION = ("versionDescription", "defaultCheckpointId")
_CHANGEABLE = (*_ABOUT_THE_MODEL, *_ABOUT_THE_VERSION, "labels")
_NOT_CHANGED = ("name", "etag")
_MODEL = Message({
    **dict.fromkeys((*_ABOUT_THE_MODEL, *_ABOUT_THE_VERSION, *_NOT_CHANGED), STRING),
    "labels": TEXTS,
    # The rest of the message: a client that changes one field sends all of them.
    **dict.fromkeys(
        (
            *("versionId", "versionAliases", "versionCreateTime", "versionUpdateTime", "createTime", "updateTime"),
            *("predictSchemata", "metadataSchemaUri", "metadata", "supportedExportFormats", "trainingPipeline"),
            *("pipelineJob", "containerSpec", "artifactUri", "supportedDeploymentResourcesTypes"),
            *("supportedInputStorageFormats", "supportedOutputStorageFormats", "deployedModels", "explanationSpec"),
            *("dataStats", "encryptionSpec", "modelSourceInfo", "originalModelInfo", "metadataArtifact"),
            *("baseModelSource", "satisfiesPzs", "satisfiesPzi", "checkpoints"),
        ),
        ANYTHING,
    ),
})
_ALIASES = Message({"name": STRING, "versionAliases": Many(STRING)})
_ALIAS = re.compile(r"-?[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
_FIELDS = {"model": "model", "displayName": "displayName", "baseModelName": "baseModelName"}


class ModelsApi:
    """The model service."""

    def __init__(self, store: Store, registry: Registry, operations: OperationsApi) -> None:
        self._store = store
        self._registry = registry
        self._operations = operations
        self._documents = ModelDocuments(store, registry)

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return [
            *regional("GET", "models", self.list),
            *regional("GET", "models/{model}:listVersions", self.list_versions),
            *regional("GET", "models/{model}:listCheckpoints", self.list_checkpoints),
            *regional("GET", "models/{model}", self.get),
            *regional("PATCH", "models/{model}", self.update),
            *regional("POST", "models/{model}:mergeVersionAliases", self.merge_aliases),
            *regional("DELETE", "models/{model}:deleteVersion", self.delete_version),
            *regional("DELETE", "models/{model}", self.delete),
        ]

    async def get(self, request: Request) -> JSONResponse:
        """Answer a tuned model, by ``models/{id}`` or with a version or an alias, ``models/{id}@1``."""
        return JSONResponse(self._document(self._version(request)))

    async def list(self, request: Request) -> JSONResponse:
        """Answer a page of the location's models, each in its default version, newest first."""
        documents, searched = [], []
        for version in self._registry.models(parent_of(request)):
            if document := self._documents.model(version):
                documents.append(document)
                extra = {"model": version.model.rpartition("/")[2]}
                extra["baseModelName"] = self._documents.base_model(version.job_id)
                searched.append({**document, **extra})
        page, more = page_of(request, chosen(request, documents, searched, _FIELDS))
        return JSONResponse({"models": page, **more} if page else {})

    async def list_versions(self, request: Request) -> JSONResponse:
        """Answer a page of a model's versions, newest first."""
        versions = reversed(self._registry.versions(self._version(request).model))
        found = [self._documents.model(version, versioned_name=True) for version in versions]
        documents = [document for document in found if document]
        page, more = page_of(request, chosen(request, documents, documents, {}))
        return JSONResponse({"models": page, **more})

    async def list_checkpoints(self, request: Request) -> JSONResponse:
        """Answer a page of a version's checkpoints."""
        page, more = page_of(request, self._documents.checkpoints(self._version(request)))
        return JSONResponse({"checkpoints": page, **more} if page else {})

    async def update(self, request: Request) -> JSONResponse:
        """Change what the update mask names; without a mask, what the body holds."""
        version = self._version(request)
        body = await body_of(request, _MODEL, "model")
        mask = [camel(path.strip()) for path in text(request, "updateMask").split(",") if path.strip()]
        fields = mask or [name for name in body if name not in _NOT_CHANGED]
        if unknown := [name for name in fields if name not in _CHANGEABLE]:
            raise invalid_argument(f"Field {unknown[0]} of a tuned model cannot be updated.")
        if not fields:
            raise invalid_argument("`update_mask` is required.")
        changes = {name: body.get(name, {} if name == "labels" else "") for name in fields}
        if "displayName" in changes and not 1 <= len(changes["displayName"]) <= DISPLAY_NAME_LENGTH:
            raise invalid_argument(f"`display_name` must have 1 to {DISPLAY_NAME_LENGTH} characters.")
        checkpoint = changes.pop("defaultCheckpointId", None)
        endpoint = None if checkpoint is None else self._endpoint_of(version, checkpoint)
        self._change(version, changes, checkpoint, whole_model="@" not in request.path_params["model"])
        if endpoint is not None:
            self._serve_by_default(version, endpoint)
        return JSONResponse(self._document(self._version(request)))

    def _change(self, version: Version, changes: dict[str, Any], checkpoint: str | None, *, whole_model: bool) -> None:
        of_version = {name: value for name, value in changes.items() if name in _ABOUT_THE_VERSION}
        if "labels" in changes and not whole_model:
            of_version["versionLabels"] = changes["labels"]
        of_model = {name: value for name, value in changes.items() if name in _ABOUT_THE_MODEL}
        if "labels" in changes and whole_model:
            of_model["labels"] = changes["labels"]
        if of_model:
            self._registry.change(self._registry.first(version.model), of_model)
        if of_version or checkpoint:
            current = self._registry.model(version.model, version.version) or version
            self._registry.change(current, of_version, checkpoint)

    def _endpoint_of(self, version: Version, checkpoint: str) -> str:
        for endpoint in self._registry.endpoints_of(version):
            if endpoint.checkpoint == checkpoint:
                return endpoint.name
        raise invalid_argument(f"Checkpoint {checkpoint[:100]} of {version.model}@{version.version} was not deployed.")

    def _serve_by_default(self, version: Version, endpoint: str) -> None:
        job = self._store.job(version.job_id)
        if job and "tunedModel" in job.document:
            self._store.update_job(job.id, tunedModel={**job.document["tunedModel"], "endpoint": endpoint})

    async def merge_aliases(self, request: Request) -> JSONResponse:
        """Give a version further aliases; one with a ``-`` in front is taken away."""
        version = self._version(request)
        asked = (await body_of(request, _ALIASES)).get("versionAliases", [])
        if "@" not in request.path_params["model"] or not asked or not all(map(_ALIAS.fullmatch, asked)):
            raise invalid_argument("Name a version, models/{id}@{version}, and at least one valid alias.")
        if f"-{DEFAULT_ALIAS}" in asked:
            raise invalid_argument("The default alias cannot be removed. Give it to another version instead.")
        removed = {alias[1:] for alias in asked if alias.startswith("-")}
        added = [alias for alias in asked if not alias.startswith("-")]
        self._registry.set_aliases(version, sorted({*version.aliases, *added} - removed))
        return JSONResponse(self._document(self._version(request)))

    async def delete(self, request: Request) -> JSONResponse:
        """Delete a model with all its versions and endpoints."""
        version = self._version(request)
        if "@" in request.path_params["model"] and len(self._registry.versions(version.model)) > 1:
            raise invalid_argument(
                f"{version.model} has further versions: delete them all by this name, or one with :deleteVersion."
            )
        self._registry.delete(version.model)
        return self._operations.deleted(request, version.model)

    async def delete_version(self, request: Request) -> JSONResponse:
        """Delete one version and its endpoints; not the default one."""
        version = self._version(request)
        if "@" not in request.path_params["model"]:
            raise invalid_argument("Name the version to delete: models/{id}@{version}.")
        if DEFAULT_ALIAS in version.aliases:
            raise failed_precondition(f"{version.model}@{version.version} is the default version.")
        self._registry.delete(version.model, version.version)
        return self._operations.deleted(request, version.model)

    def _version(self, request: Request) -> Version:
        model, _, version = request.path_params["model"].partition("@")
        name = f"{parent_of(request)}/models/{model}"
        found = self._registry.model(name, None if version == "-" else version)
        if found is None:
            raise not_found(f"Model {name}{'@' if version else ''}{version} not found.")
        return found

    def _document(self, version: Version) -> dict[str, Any]:
        document = self._documents.model(version)
        if document is None:
            raise not_found(f"Model {version.model} not found.")
        return document
