"""Routes of ``tuningJobs``: create, get, list, cancel."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from local_cloud.vertex.api.errors import ApiError, failed_precondition, invalid_argument, not_found
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
from local_cloud.vertex.control.script import JobScenario
from local_cloud.vertex.jobs.course import first_stage
from local_cloud.vertex.jobs.request import spec_of
from local_cloud.vertex.jobs.store import ENDED
from local_cloud.vertex.names import new_id
from local_cloud.vertex.training import dataset
from local_cloud.vertex.training.files import ORDER, TRAINING, VALIDATION
from local_cloud.vertex.wire.tuning import TUNING_JOB, TUNING_JOB_REQUEST

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.control.rules import Rules
    from local_cloud.vertex.jobs.request import JobRequests
    from local_cloud.vertex.jobs.runner import Runner
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings

_PAGE = 100
_PAGE_LIMIT = 1000


class TuningApi:
    """The tuning service."""

    def __init__(self, store: Store, runner: Runner, requests: JobRequests, rules: Rules, settings: Settings) -> None:
        self._store = store
        self._runner = runner
        self._requests = requests
        self._rules = rules
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
        """Check the request, fetch the dataset, keep the job, answer it as PENDING."""
        asked = await body_of(request, TUNING_JOB_REQUEST, "tuning_job")
        parent = parent_of(request)
        document = self._requests.document(asked, parent)
        job_id = new_id()
        directory = self._runner.directory(job_id)
        directory.mkdir(parents=True)
        try:
            order = self._requests.order(document, parent)
            await asyncio.to_thread(self._prepare, directory, document, order)
            self._check_quota(parent)
        except BaseException:
            shutil.rmtree(directory)
            raise
        scenario = self._rules.take(JobScenario, lambda rule: _meant_for(rule, document)) or JobScenario()
        document["state"] = f"JOB_STATE_{first_stage(scenario, self._settings.behaviour)}"
        name = f"{parent}/tuningJobs/{job_id}"
        job = self._store.add_job(job_id, parent, {"name": name, **document}, scenario.model_dump_json())
        self._runner.submit(job)
        return self._answer(request, job)

    def _prepare(self, directory: Path, document: dict[str, Any], order: dict[str, Any]) -> None:
        spec = document[spec_of(document) or ""]
        for field, name in (("trainingDatasetUri", TRAINING), ("validationDatasetUri", VALIDATION)):
            if not spec.get(field):
                continue
            try:
                dataset.fetch(self._settings.storage_url, spec[field], directory / name, order["method"])
            except dataset.MissingObjectError:
                if not self._settings.behaviour.sample_for_missing_datasets:
                    raise
                dataset.write_sample(directory / name, order["method"], held_out=name == VALIDATION)
        (directory / ORDER).write_text(json.dumps(order))

    def _check_quota(self, parent: str) -> None:
        behaviour = self._settings.behaviour
        if behaviour.over_quota == "refuse" and self._runner.quota_is_used_up(parent.split("/")[1]):
            metric = "aiplatform.googleapis.com/global_concurrent_tuning_jobs"
            message = f"The following quotas are exceeded: {metric} (limit {behaviour.quota})."
            raise ApiError(429, message)

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
        before = _read_token(text(request, "pageToken"))
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
            page["nextPageToken"] = _write_token(found[size - 1].sequence)
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


def _meant_for(rule: JobScenario, document: dict[str, Any]) -> bool:
    model = document.get("baseModel") or document["preTunedModel"]["tunedModelName"]
    return (
        rule.labels.items() <= document.get("labels", {}).items()
        and re.search(rule.display_name, document["tunedModelDisplayName"]) is not None
        and re.search(rule.base_model, model) is not None
    )


def _created(job: Job) -> float:
    return datetime.fromisoformat(job.document["createTime"]).timestamp()


def _write_token(sequence: int) -> str:
    return base64.urlsafe_b64encode(f"before:{sequence}".encode()).decode()


def _read_token(token: str) -> int | None:
    if not token:
        return None
    try:
        word, _, sequence = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        if word == "before" and 0 < int(sequence) < 2**63:  # what the store can compare with
            return int(sequence)
    except ValueError:
        pass
    raise invalid_argument("Invalid page token.")
