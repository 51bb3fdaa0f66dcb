"""Training metrics, through the chain of resources that Vertex AI keeps them in.

``TuningJob.experiment`` is a metadata context that names a TensorBoard; a child context names the run; the run has a
time series for each metric. The names of the six series are those of "Supervised fine-tuning".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from local_cloud.vertex.errors import invalid_argument, not_found
from local_cloud.vertex.http import enum_numbers, parent_of, regional, text, whole_number
from local_cloud.vertex.names import derived_id
from local_cloud.vertex.schema import TIME_SERIES, TIME_SERIES_DATA

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.store import Job, Point, Store

_CONTEXTS = "metadataStores/default/contexts"
_RUN = "tensorboards/{tensorboard}/experiments/{experiment}/runs/{run}"
_FILTER = re.compile(r'\s*schema_title\s*=\s*"([^"]*)"(?:\s+AND\s+parent_contexts\s*:\s*"([^"]*)")?\s*')
_EXPERIMENT, _EXPERIMENT_RUN = "system.Experiment", "system.ExperimentRun"
_POINTS = 1000
_SERIES_PAGE, _SERIES_LIMIT = 50, 1000


class MetricsApi:
    """The metadata and TensorBoard services, read only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return [
            *regional("GET", _CONTEXTS, self.list_contexts),
            *regional("GET", _CONTEXTS + "/{context}", self.get_context),
            *regional("GET", "tensorboards/{tensorboard}:batchRead", self.batch_read),
            *regional("GET", "tensorboards/{tensorboard}", self.get_tensorboard),
            *regional("GET", _RUN + "/timeSeries/{series}:read", self.read),
            *regional("GET", _RUN + "/timeSeries/{series}", self.get_series),
            *regional("GET", _RUN + "/timeSeries", self.list_series),
            *regional("GET", _RUN, self.get_run),
        ]

    async def list_contexts(self, request: Request) -> JSONResponse:
        """Answer the runs of one experiment; the filter must name it."""
        match = _FILTER.fullmatch(text(request, "filter"))
        if match is None or not match[2]:
            raise invalid_argument(
                'Expected filter schema_title="…" AND parent_contexts:"…" with the experiment\'s name.'
            )
        experiment = f"{parent_of(request)}/{_CONTEXTS}/{match[2].rpartition('/')[2]}"
        job = self._store.job_of_experiment(experiment)
        found = [_run_context(job)] if job and match[1] == _EXPERIMENT_RUN else []
        return JSONResponse({"contexts": found} if found else {})

    async def get_context(self, request: Request) -> JSONResponse:
        """Answer an experiment or a run."""
        context = request.path_params["context"]
        base = f"{parent_of(request)}/{_CONTEXTS}/"
        if job := self._store.job_of_experiment(base + context):
            return JSONResponse(_experiment_context(job))
        job = self._store.job_of_experiment(base + context.partition(_RUN_MARK)[0])
        if job and _experiment_id(job) + "-" + _run_id(job) == context:
            return JSONResponse(_run_context(job))
        raise not_found(f"Context {base}{context} not found.")

    async def get_tensorboard(self, request: Request) -> JSONResponse:
        """Answer the location's TensorBoard."""
        parent = parent_of(request)
        name = f"{parent}/tensorboards/{request.path_params['tensorboard']}"
        if name != _tensorboard(parent):
            raise not_found(f"Tensorboard {name} not found.")
        return JSONResponse({"name": name, "displayName": "Tuning jobs", "isDefault": True})

    async def get_run(self, request: Request) -> JSONResponse:
        """Answer a job's run."""
        job = self._job(request)
        times = {"createTime": job.document["startTime"], "updateTime": job.document["updateTime"]}
        return JSONResponse({"name": _run_name(job), "displayName": _run_id(job), **times})

    async def list_series(self, request: Request) -> JSONResponse:
        """Answer a page of the run's series: the metrics that have a value so far."""
        job = self._job(request)
        size = min(max(whole_number(request, "pageSize", _SERIES_PAGE), 1), _SERIES_LIMIT)
        start = whole_number(request, "pageToken", 0)
        last = self._store.last_points(job.id)
        numbers = enum_numbers(request)
        page: dict[str, Any] = {}
        if shown := last[start : start + size]:
            series = [TIME_SERIES.write(_series(job, point), enum_numbers=numbers) for point in shown]
            page["tensorboardTimeSeries"] = series
        if start + size < len(last):
            page["nextPageToken"] = str(start + size)
        return JSONResponse(page)

    async def get_series(self, request: Request) -> JSONResponse:
        """Answer one series."""
        job = self._job(request)
        point = self._last(job, request.path_params["series"])
        return JSONResponse(TIME_SERIES.write(_series(job, point), enum_numbers=enum_numbers(request)))

    async def read(self, request: Request) -> JSONResponse:
        """Answer the values of one series: at most maxDataPoints, evenly sampled; -1 means all."""
        job = self._job(request)
        limit = whole_number(request, "maxDataPoints", _POINTS)
        return JSONResponse({"timeSeriesData": self._data(request, job, request.path_params["series"], limit)})

    async def batch_read(self, request: Request) -> JSONResponse:
        """Answer the values of several series of one TensorBoard, each sampled to 1,000 points."""
        names = [*request.query_params.getlist("timeSeries"), *request.query_params.getlist("time_series")]
        if not names:
            raise invalid_argument("`time_series` is required.")
        found = []
        for name in names:
            match = re.fullmatch(r"projects/[^/]+/(.+)/experiments/([^/]+)/runs/([^/]+)/timeSeries/([^/]+)", name)
            if match is None:
                raise invalid_argument(f"Invalid time series name: {name[:300]}")
            job = self._job_of_run(parent_of(request), match[2], match[3])
            found.append(self._data(request, job, match[4], _POINTS))
        return JSONResponse({"timeSeriesData": found})

    def _data(self, request: Request, job: Job, series: str, limit: int) -> dict[str, Any]:
        points = _sampled(self._store.points(job.id, self._last(job, series).metric), limit)
        values = [{"wallTime": p.wall_time, "step": p.step, "scalar": {"value": p.value}} for p in points]
        data = {"tensorboardTimeSeriesId": series, "valueType": "SCALAR", "values": values}
        return TIME_SERIES_DATA.write(data, enum_numbers=enum_numbers(request))

    def _last(self, job: Job, series: str) -> Point:
        for point in self._store.last_points(job.id):
            if _series_id(job, point.metric) == series:
                return point
        raise not_found(f"TensorboardTimeSeries {_run_name(job)}/timeSeries/{series} not found.")

    def _job(self, request: Request) -> Job:
        parent = parent_of(request)
        if f"{parent}/tensorboards/{request.path_params['tensorboard']}" != _tensorboard(parent):
            raise not_found(f"Tensorboard {request.path_params['tensorboard']} not found.")
        return self._job_of_run(parent, request.path_params["experiment"], request.path_params["run"])

    def _job_of_run(self, parent: str, experiment: str, run: str) -> Job:
        job = self._store.job_of_experiment(f"{parent}/{_CONTEXTS}/{experiment}")
        if job is None or _run_id(job) != run:
            raise not_found(f"TensorboardRun {_tensorboard(parent)}/experiments/{experiment}/runs/{run} not found.")
        return job


_RUN_MARK = "-tuning-experiment-run-"


def _tensorboard(parent: str) -> str:
    return f"{parent}/tensorboards/{derived_id(parent)}"


def _experiment_id(job: Job) -> str:
    return str(job.document["experiment"]).rpartition("/")[2]


def _run_id(job: Job) -> str:
    return "tuning-experiment-run-" + _experiment_id(job).rpartition("-")[2]


def _run_name(job: Job) -> str:
    return f"{_tensorboard(job.parent)}/experiments/{_experiment_id(job)}/runs/{_run_id(job)}"


def _series_id(job: Job, metric: str) -> str:
    return derived_id(job.id, metric)


def _series(job: Job, last: Point) -> dict[str, Any]:
    return {
        "name": f"{_run_name(job)}/timeSeries/{_series_id(job, last.metric)}",
        "displayName": f"/{last.metric}",
        "valueType": "SCALAR",
        "pluginName": "scalars",
        "createTime": job.document["startTime"],
        "updateTime": last.wall_time,
        "metadata": {"maxStep": last.step, "maxWallTime": last.wall_time},
    }


def _sampled(points: list[Point], limit: int) -> list[Point]:
    """Take ``limit`` points evenly, with the first and the last; all of them when ``limit`` is negative."""
    if limit < 0 or len(points) <= limit:
        return points
    if limit == 1:
        return points[-1:]
    return [points[round(index * (len(points) - 1) / (limit - 1))] for index in range(limit)]


def _context(job: Job, context: str, title: str, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"{job.parent}/{_CONTEXTS}/{context}",
        "displayName": context,
        "etag": derived_id(context),
        "createTime": job.document["startTime"],
        "updateTime": job.document["startTime"],
        "schemaTitle": title,
        "schemaVersion": "0.0.1",
        **more,
    }


def _experiment_context(job: Job) -> dict[str, Any]:
    metadata = {"experiment_deleted": False, "backing_tensorboard_resource": _tensorboard(job.parent)}
    return _context(job, _experiment_id(job), _EXPERIMENT, {"metadata": metadata})


def _run_context(job: Job) -> dict[str, Any]:
    context = f"{_experiment_id(job)}-{_run_id(job)}"
    parents = [str(job.document["experiment"])]
    return _context(job, context, _EXPERIMENT_RUN, {"displayName": _run_id(job), "parentContexts": parents})
