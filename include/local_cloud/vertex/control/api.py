"""The control API, below ``/_local/``: change settings, script faults, jobs' fates and answers, plant jobs.

It needs no token. Changes of ``settings`` outlive a restart; DELETE forgets them. ``faults``, ``scenarios`` and
``answers`` are lists of rules (see ``script``): POST adds one and answers it with its ``id`` and how often it has
``matched``, GET lists those that are left, DELETE drops one or all.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.responses import JSONResponse
from starlette.routing import Route

from local_cloud.vertex.control.rules import KINDS
from local_cloud.vertex.control.script import Behaviour
from local_cloud.vertex.errors import invalid_argument, not_found
from local_cloud.vertex.wire.strict_json import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel
    from starlette.requests import Request

    from local_cloud.vertex.control.changes import Changes
    from local_cloud.vertex.control.planting import Planting
    from local_cloud.vertex.control.rules import Rules
    from local_cloud.vertex.control.script import Rule
    from local_cloud.vertex.jobs.store import Store
    from local_cloud.vertex.settings import Settings


class ControlApi:
    """The routes that script the service."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        settings: Settings,
        changes: Changes,
        planting: Planting,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._rules = rules
        self._settings = settings
        self._changes = changes
        self._planting = planting
        self._on_change = on_change

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/_local/settings", self._get_settings, methods=["GET"]),
            Route("/_local/settings", self._change_settings, methods=["PATCH"]),
            Route("/_local/settings", self._reset_settings, methods=["DELETE"]),
            Route("/_local/jobs", self._list_jobs, methods=["GET"]),
            Route("/_local/jobs", self._plant_job, methods=["POST"]),
            *(route for kind in KINDS for route in self._rule_routes(kind)),
        ]

    def _rule_routes(self, kind: str) -> list[Route]:
        model = KINDS[kind]

        async def add(request: Request) -> JSONResponse:
            value = await _json(request)
            with _explained(model):
                rule = model.model_validate(value)
            number = self._rules.add(rule)
            return JSONResponse(_shown(number, *self._rules.all(model)[number]))

        async def show(_request: Request) -> JSONResponse:
            left = self._rules.all(model)
            return JSONResponse({kind: [_shown(number, rule, matched) for number, (rule, matched) in left.items()]})

        async def clear(_request: Request) -> JSONResponse:
            for number in self._rules.all(model):
                self._rules.remove(number)
            return JSONResponse({})

        async def remove(request: Request) -> JSONResponse:
            number = request.path_params["number"]
            if number not in self._rules.all(model):
                raise not_found(f"There is no rule {number} in {kind}: it was used up, or never there.")
            self._rules.remove(number)
            return JSONResponse({})

        return [
            Route(f"/_local/{kind}", add, methods=["POST"]),
            Route(f"/_local/{kind}", show, methods=["GET"]),
            Route(f"/_local/{kind}", clear, methods=["DELETE"]),
            Route(f"/_local/{kind}/{{number:int}}", remove, methods=["DELETE"]),
        ]

    async def _get_settings(self, _request: Request) -> JSONResponse:
        return JSONResponse(self._settings.behaviour.model_dump())

    async def _change_settings(self, request: Request) -> JSONResponse:
        changes = await _json(request)
        if not isinstance(changes, dict):
            raise invalid_argument("Expected a JSON object of settings.")
        with _explained(Behaviour):
            self._changes.make(changes)
        self._on_change()
        return await self._get_settings(request)

    async def _reset_settings(self, request: Request) -> JSONResponse:
        """Forget all changes, those of earlier runs too."""
        self._changes.forget()
        self._on_change()
        return await self._get_settings(request)

    async def _list_jobs(self, _request: Request) -> JSONResponse:
        """Every job there ever was, in order of creation: the ledger."""
        return JSONResponse({
            "jobs": [
                {
                    "name": job.name,
                    "state": job.state,
                    "labels": job.document.get("labels", {}),
                    "createTime": job.document["createTime"],
                    "planted": job.planted,
                }
                for job in self._store.all_jobs()
            ]
        })

    async def _plant_job(self, request: Request) -> JSONResponse:
        job = self._planting.plant(await _json(request))
        self._on_change()
        return JSONResponse(job.document)


@contextlib.contextmanager
def _explained(model: type[BaseModel]) -> Iterator[None]:
    """Turn what is wrong with a document of a script into a 400 that names each wrong field."""
    try:
        yield
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, item['loc'])) or 'the document'}: {item['msg']}" for item in error.errors()]
        raise invalid_argument(f"Invalid {model.__name__}: {'; '.join(faults)}.") from error


async def _json(request: Request) -> Any:
    try:
        return read_json(await request.body())
    except ValueError as error:
        raise invalid_argument(f"Invalid JSON payload received. {error}") from error


def _shown(number: int, rule: Rule, matched: int) -> dict[str, Any]:
    return {"id": number, "matched": matched, **rule.model_dump(exclude_defaults=True)}
