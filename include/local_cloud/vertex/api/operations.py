"""Long-running operations. What makes one here is done at once, so every operation is answered as done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from local_cloud.vertex.api.http import parent_of, regional, version_of
from local_cloud.vertex.errors import not_found
from local_cloud.vertex.names import new_id, now

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request
    from starlette.routing import Route

_SCHEMA = "CREATE TABLE IF NOT EXISTS operations (name TEXT PRIMARY KEY, created TEXT NOT NULL)"
_TYPES = "type.googleapis.com/google.cloud.aiplatform."


class OperationsApi:
    """The operations service, as far as deletions go."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute(_SCHEMA)

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return regional("GET", "models/{model}/operations/{operation}", self.get)

    async def get(self, request: Request) -> JSONResponse:
        """Answer an operation."""
        names = request.path_params
        name = f"{parent_of(request)}/models/{names['model']}/operations/{names['operation']}"
        row = self._db.execute("SELECT created FROM operations WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise not_found(f"Operation {name} not found.")
        return JSONResponse(_operation(request, name, row[0]))

    def deleted(self, request: Request, resource: str) -> JSONResponse:
        """Answer the operation of a deletion that has just been made."""
        name, created = f"{resource}/operations/{new_id()}", now()
        self._db.execute("INSERT INTO operations VALUES (?, ?)", (name, created))
        return JSONResponse(_operation(request, name, created))


def _operation(request: Request, name: str, created: str) -> dict[str, Any]:
    return {
        "name": name,
        "metadata": {
            "@type": f"{_TYPES}{version_of(request)}.DeleteOperationMetadata",
            "genericMetadata": {"createTime": created, "updateTime": created},
        },
        "done": True,
        "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    }
