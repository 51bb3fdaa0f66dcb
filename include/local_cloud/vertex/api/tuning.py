"""Routes of ``tuningJobs``: create, get, list, cancel."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from local_cloud.vertex.api.filters import parse_filter
from local_cloud.vertex.api.http import (
    answer,
    body_of,
    enum_numbers,
    parent_of,
    regional,
    text,
    version_of,
    whole_number,
)
from local_cloud.vertex.api.listing import read_token, write_token
from local_cloud.vertex.errors import ApiError, failed_precondition, invalid_argument, not_found
from local_cloud.vertex.jobs.store import ENDED
from local_cloud.vertex.wire.tuning import TUNING_JOB, TUNING_JOB_REQUEST

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.jobs.creation import Creation
    from local_cloud.vertex.jobs.runner import Runner
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings

_PAGE = 100
_PAGE_LIMIT = 1000
_SEEN = "before"
"""Mark of a page token with the sequence of the last job seen: jobs that come meanwhile move nothing."""


class TuningApi:
    """The tuning service."""

    def __init__(self, store: Store, creation: Creation, runner: Runner, settings: Settings) -> None:
        self._store = store
        self._creation = creation
        self._runner = runner
        self._settings = settings

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return [
            *regional("POST", "tuningJobs/{job}:cancel", self.cancel),
            *regional("GET", "tuningJobs/{job}", self.get),
            *regional("GET", "tuningJobs", self.list),
            *regional("POST", "tuningJobs", self.create),
            *regional("POST", "tuningJobs:{method}", self.not_imitated),
        ]

    async def create(self, request: Request) -> JSONResponse:
        """Create a job and answer it as it begins: PENDING, or QUEUED where that is set."""
        asked = await body_of(request, TUNING_JOB_REQUEST, "tuning_job")
        return self._answer(request, await self._creation.create(asked, parent_of(request)))

    async def get(self, request: Request) -> JSONResponse:
        """Answer one job."""
        return self._answer(request, self._job(request))

    async def list(self, request: Request) -> JSONResponse:
        """Answer a page of the location's jobs, newest first."""
        size = whole_number(request, "pageSize", _PAGE)
        if size < 0:
            raise invalid_argument("`page_size` must not be negative.")
        size = min(size, _PAGE_LIMIT)
        matches = parse_filter(text(request, "filter"))
        before = read_token(_SEEN, text(request, "pageToken"))
        found = []
        newest = time.time() - self._settings.behaviour.list_lag_seconds
        for job in self._store.jobs(parent_of(request), before):
            if matches(job.document) and (job.planted or _created(job) <= newest):
                found.append(job)
            if len(found) > size:
                break
        message = TUNING_JOB[version_of(request)]
        numbers = enum_numbers(request)
        page: dict[str, Any] = {}
        if found:
            page["tuningJobs"] = [message.write(job.document, enum_numbers=numbers) for job in found[:size]]
        if len(found) > size:
            page["nextPageToken"] = write_token(_SEEN, found[size - 1].sequence)
        return JSONResponse(page)

    async def cancel(self, request: Request) -> JSONResponse:
        """Begin to cancel a job.

        What Vertex AI answers for a job that has ended is not documented; like other Google APIs this server says
        400 FAILED_PRECONDITION, unless its settings tell it to say nothing. Cancelling twice is no error.
        """
        job = self._job(request)
        if job.state in ENDED:
            if self._settings.behaviour.cancel_ended == "ignore":
                return JSONResponse({})
            raise failed_precondition(f"The tuning job {job.name} has ended as {job.state} and cannot be cancelled.")
        self._runner.cancel(job)
        return JSONResponse({})

    async def not_imitated(self, request: Request) -> JSONResponse:
        """Refuse what Vertex AI can do besides: ``rebaseTunedModel``, ``validateReinforcementTuningReward``."""
        raise ApiError(501, f"The local Vertex AI does not imitate `tuningJobs:{request.path_params['method'][:100]}`.")

    def _job(self, request: Request) -> Job:
        job = self._store.job(request.path_params["job"])
        if job is None or job.parent != parent_of(request):
            raise not_found(f"TuningJob {parent_of(request)}/tuningJobs/{request.path_params['job']} not found.")
        return job

    def _answer(self, request: Request, job: Job) -> JSONResponse:
        return answer(request, TUNING_JOB[version_of(request)], job.document)


def _created(job: Job) -> float:
    return datetime.fromisoformat(job.document["createTime"]).timestamp()
