"""The base models as Google publishes them: ``publishers/google/models``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

from local_cloud.vertex.api.http import VERSIONS, answer, enum_numbers
from local_cloud.vertex.api.listing import page_of
from local_cloud.vertex.errors import not_found
from local_cloud.vertex.wire.kinds import STRING, Enum, Message

if TYPE_CHECKING:
    from typing import Any

    from starlette.requests import Request

    from local_cloud.vertex.catalogue import BaseModel, Catalogue

_STAGES = {"ga": "GA", "preview": "PUBLIC_PREVIEW"}
_PUBLISHER_MODEL = Message({
    "name": STRING,
    "versionId": STRING,
    "openSourceCategory": Enum("OpenSourceCategory", ("OPEN_SOURCE_CATEGORY_UNSPECIFIED", "PROPRIETARY")),
    "launchStage": Enum(
        "LaunchStage", ("LAUNCH_STAGE_UNSPECIFIED", "EXPERIMENTAL", "PRIVATE_PREVIEW", "PUBLIC_PREVIEW", "GA")
    ),
})
_PAGE = 100


class PublishersApi:
    """The Model Garden, as far as the models table goes; models that are retired are gone."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        path = "publishers/google/models"
        return [
            *(Route(f"/{version}/{path}", self.list, methods=["GET"]) for version in VERSIONS),
            *(Route(f"/{version}/{path}/{{model}}", self.get, methods=["GET"]) for version in VERSIONS),
        ]

    async def list(self, request: Request) -> JSONResponse:
        """Answer a page of the base models."""
        found, more = page_of(request, [_document(model) for model in self._catalogue.current()], _PAGE)
        numbers = enum_numbers(request)
        return JSONResponse({
            "publisherModels": [_PUBLISHER_MODEL.write(item, enum_numbers=numbers) for item in found],
            **more,
        })

    async def get(self, request: Request) -> JSONResponse:
        """Answer one base model."""
        name = request.path_params["model"]
        model = self._catalogue.get(name)
        if model is None:
            raise not_found(f"Publisher Model `publishers/google/models/{name}` was not found.")
        return answer(request, _PUBLISHER_MODEL, _document(model))


def _document(model: BaseModel) -> dict[str, Any]:
    return {
        "name": f"publishers/google/models/{model.name}",
        "versionId": "default",
        "openSourceCategory": "PROPRIETARY",
        "launchStage": _STAGES.get(model.status, "LAUNCH_STAGE_UNSPECIFIED"),
    }
