"""The endpoint service, read only: the endpoints that tuning made, one for each checkpoint.

A Gemini 3 model's endpoints are in ``us`` or ``eu``, not in the location of its job. Nothing can be deployed or
undeployed: an endpoint is gone when its model is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from local_cloud.vertex.api.http import parent_of, regional
from local_cloud.vertex.api.listing import chosen, page_of
from local_cloud.vertex.api.model_documents import ModelDocuments
from local_cloud.vertex.errors import not_found

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.jobs.registry import Registry
    from local_cloud.vertex.jobs.store import Store

_FIELDS = {"endpoint": "endpoint", "displayName": "displayName", "baseModelName": "baseModelName"}


class EndpointsApi:
    """The endpoint service."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._registry = registry
        self._documents = ModelDocuments(store, registry)

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return [*regional("GET", "endpoints", self.list), *regional("GET", "endpoints/{endpoint}", self.get)]

    async def get(self, request: Request) -> JSONResponse:
        """Answer one endpoint."""
        name = f"{parent_of(request)}/endpoints/{request.path_params['endpoint']}"
        endpoint = self._registry.endpoint(name)
        document = self._documents.endpoint(endpoint) if endpoint else None
        if document is None:
            raise not_found(f"Endpoint `{name}` not found.")
        return JSONResponse(document)

    async def list(self, request: Request) -> JSONResponse:
        """Answer a page of the location's endpoints, newest first."""
        documents, searched = [], []
        for endpoint in self._registry.endpoints(parent_of(request)):
            if document := self._documents.endpoint(endpoint):
                documents.append(document)
                extra = {"endpoint": endpoint.name.rpartition("/")[2]}
                extra["baseModelName"] = self._documents.base_model(endpoint.job_id)
                searched.append({**document, **extra})
        page, more = page_of(request, chosen(request, documents, searched, _FIELDS))
        return JSONResponse({"endpoints": page, **more} if page else {})
