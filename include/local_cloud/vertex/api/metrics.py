"""Training metrics in TensorBoard, read only. The names of the six series are those of "Supervised fine-tuning".

Each location has one TensorBoard, with an experiment of one run for each job that has begun.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from local_cloud.vertex.api.http import body_of, enum_numbers, parent_of, regional, text, whole_number
from local_cloud.vertex.api.listing import chosen, cut, page_of
from local_cloud.vertex.api.metrics_names import (
    CONTEXTS,
    began,
    experiment_id,
    experiment_name,
    run_id,
    run_name,
    series_id,
    tensorboard_of,
)
from local_cloud.vertex.errors import invalid_argument, not_found
from local_cloud.vertex.names import numbered
from local_cloud.vertex.wire.kinds import INT32, STRING, Message
from local_cloud.vertex.wire.tuning import TIME_SERIES, TIME_SERIES_DATA

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import Route

    from local_cloud.vertex.jobs.store import Job, Point, Store

_BOARD = "tensorboards/{tensorboard}"
_EXPERIMENTS = f"{_BOARD}/experiments"
_RUNS = f"{_EXPERIMENTS}/{{experiment}}/runs"
_SERIES = f"{_RUNS}/{{run}}/timeSeries"
_FIELDS = {"name": "name", "displayName": "displayName"}
_EXPORT = Message({"filter": STRING, "pageSize": INT32, "pageToken": STRING, "orderBy": STRING})
_POINTS, _EXPORTED_POINTS = 1000, 10_000
_SERIES_PAGE = 50


class MetricsApi:
    """The TensorBoard service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def routes(self) -> list[Route]:
        """Return the routes of all versions."""
        return [
            *regional("GET", "tensorboards", self.list_tensorboards),
            *regional("GET", _BOARD + ":batchRead", self.batch_read),
            *regional("GET", _BOARD, self.get_tensorboard),
            *regional("GET", _EXPERIMENTS, self.list_experiments),
            *regional("GET", _EXPERIMENTS + "/{experiment}", self.get_experiment),
            *regional("GET", _RUNS, self.list_runs),
            *regional("GET", _RUNS + "/{run}", self.get_run),
            *regional("GET", _SERIES, self.list_series),
            *regional("GET", _SERIES + "/{series}:read", self.read),
            *regional("POST", _SERIES + "/{series}:exportTensorboardTimeSeries", self.export),
            *regional("GET", _SERIES + "/{series}", self.get_series),
        ]

    async def list_tensorboards(self, request: Request) -> JSONResponse:
        """Answer the location's TensorBoard."""
        documents = [_board(parent_of(request))]
        searched = [{**documents[0], "isDefault": "true"}]
        found = chosen(request, documents, searched, {**_FIELDS, "isDefault": "isDefault"})
        page, more = page_of(request, found)
        return JSONResponse({"tensorboards": page, **more} if page else {})

    async def get_tensorboard(self, request: Request) -> JSONResponse:
        """Answer the location's TensorBoard, by its name."""
        return JSONResponse(_board(self._parent(request)))

    async def list_experiments(self, request: Request) -> JSONResponse:
        """Answer a page of the experiments: one for each job that has begun, newest first."""
        jobs = self._store.jobs(self._parent(request))
        documents = [_experiment(job) for job in jobs if "experiment" in job.document]
        page, more = page_of(request, chosen(request, documents, documents, _FIELDS))
        return JSONResponse({"tensorboardExperiments": page, **more} if page else {})

    async def get_experiment(self, request: Request) -> JSONResponse:
        """Answer a job's experiment."""
        return JSONResponse(_experiment(self._job_of_experiment(request)))

    async def list_runs(self, request: Request) -> JSONResponse:
        """Answer the run of an experiment."""
        documents = [_run(self._job_of_experiment(request))]
        page, more = page_of(request, chosen(request, documents, documents, _FIELDS))
        return JSONResponse({"tensorboardRuns": page, **more} if page else {})

    async def get_run(self, request: Request) -> JSONResponse:
        """Answer a job's run."""
        return JSONResponse(_run(self._job(request)))

    async def list_series(self, request: Request) -> JSONResponse:
        """Answer a page of the run's series: the metrics that have a value so far."""
        job = self._job(request)
        numbers = enum_numbers(request)
        last = [_series(job, point) for point in self._store.last_points(job.id)]
        documents = [TIME_SERIES.write(item, enum_numbers=numbers) for item in last]
        page, more = page_of(request, chosen(request, documents, documents, _FIELDS), _SERIES_PAGE)
        return JSONResponse({"tensorboardTimeSeries": page, **more} if page else {})

    async def get_series(self, request: Request) -> JSONResponse:
        """Answer one series."""
        job = self._job(request)
        point = self._last(job, request.path_params["series"])
        return JSONResponse(TIME_SERIES.write(_series(job, point), enum_numbers=enum_numbers(request)))

    async def read(self, request: Request) -> JSONResponse:
        """Answer the values of one series: at most maxDataPoints, evenly sampled; -1 means all."""
        job = self._job(request)
        _refuse_filter(text(request, "filter"))
        limit = whole_number(request, "maxDataPoints", _POINTS)
        return JSONResponse({"timeSeriesData": self._data(request, job, request.path_params["series"], limit)})

    async def batch_read(self, request: Request) -> JSONResponse:
        """Answer the values of several series of one TensorBoard, each sampled to 1,000 points."""
        parent = self._parent(request)
        names = [*request.query_params.getlist("timeSeries"), *request.query_params.getlist("time_series")]
        if not names:
            raise invalid_argument("`time_series` is required.")
        if len(names) > _POINTS:
            raise invalid_argument(f"At most {_POINTS} time series can be read at once.")
        found = []
        for name in names:
            match = re.fullmatch(r"(.+)/experiments/([^/]+)/runs/([^/]+)/timeSeries/([^/]+)", name)
            if match is None:
                raise invalid_argument(f"Invalid time series name: {name[:300]}")
            if numbered(match[1]) != tensorboard_of(parent):
                raise invalid_argument(f"The time series is not one of {tensorboard_of(parent)}: {name[:300]}")
            job = self._job_of_run(parent, match[2], match[3])
            found.append(self._data(request, job, match[4], _POINTS))
        return JSONResponse({"timeSeriesData": found})

    async def export(self, request: Request) -> JSONResponse:
        """Answer a page of all values of one series, in the order of their steps."""
        job = self._job(request)
        last = self._last(job, request.path_params["series"])
        asked = await body_of(request, _EXPORT)
        _refuse_filter(asked.get("filter", "") or asked.get("orderBy", ""))
        points = self._store.points(job.id, last.metric)
        size = asked.get("pageSize") or _POINTS
        page, more = cut(points, size, asked.get("pageToken", ""), _EXPORTED_POINTS)
        data = TIME_SERIES_DATA.write({"values": [_value(point) for point in page]})
        return JSONResponse({"timeSeriesDataPoints": data["values"], **more} if page else {})

    def _data(self, request: Request, job: Job, series: str, limit: int) -> dict[str, Any]:
        points = _sampled(self._store.points(job.id, self._last(job, series).metric), limit)
        values = [_value(point) for point in points]
        data = {"tensorboardTimeSeriesId": series, "valueType": "SCALAR", "values": values}
        return TIME_SERIES_DATA.write(data, enum_numbers=enum_numbers(request))

    def _last(self, job: Job, series: str) -> Point:
        for point in self._store.last_points(job.id):
            if series_id(job, point.metric) == series:
                return point
        raise not_found(f"TensorboardTimeSeries {run_name(job)}/timeSeries/{series} not found.")

    def _parent(self, request: Request) -> str:
        parent = parent_of(request)
        name = f"{parent}/tensorboards/{request.path_params['tensorboard']}"
        if name != tensorboard_of(parent):
            raise not_found(f"Tensorboard {name} not found.")
        return parent

    def _job_of_experiment(self, request: Request) -> Job:
        parent, experiment = self._parent(request), request.path_params["experiment"]
        job = self._store.job_of_experiment(f"{parent}/{CONTEXTS}/{experiment}")
        if job is None:
            raise not_found(f"TensorboardExperiment {tensorboard_of(parent)}/experiments/{experiment} not found.")
        return job

    def _job(self, request: Request) -> Job:
        return self._job_of_run(self._parent(request), request.path_params["experiment"], request.path_params["run"])

    def _job_of_run(self, parent: str, experiment: str, run: str) -> Job:
        job = self._store.job_of_experiment(f"{parent}/{CONTEXTS}/{experiment}")
        if job is None or run_id(job) != run:
            raise not_found(f"TensorboardRun {tensorboard_of(parent)}/experiments/{experiment}/runs/{run} not found.")
        return job


def _board(parent: str) -> dict[str, Any]:
    return {"name": tensorboard_of(parent), "displayName": "Tuning jobs", "isDefault": True}


def _experiment(job: Job) -> dict[str, Any]:
    times = {"createTime": began(job), "updateTime": job.document["updateTime"]}
    return {"name": experiment_name(job), "displayName": experiment_id(job), **times}


def _run(job: Job) -> dict[str, Any]:
    times = {"createTime": began(job), "updateTime": job.document["updateTime"]}
    return {"name": run_name(job), "displayName": run_id(job), **times}


def _series(job: Job, last: Point) -> dict[str, Any]:
    return {
        "name": f"{run_name(job)}/timeSeries/{series_id(job, last.metric)}",
        "displayName": f"/{last.metric}",
        "valueType": "SCALAR",
        "pluginName": "scalars",
        "createTime": began(job),
        "updateTime": last.wall_time,
        "metadata": {"maxStep": last.step, "maxWallTime": last.wall_time},
    }


def _value(point: Point) -> dict[str, Any]:
    return {"wallTime": point.wall_time, "step": point.step, "scalar": {"value": point.value}}


def _sampled(points: list[Point], limit: int) -> list[Point]:
    """Take ``limit`` points evenly, with the first and the last; all of them when ``limit`` is negative."""
    if limit < 0 or len(points) <= limit:
        return points
    if limit == 1:
        return points[-1:]
    return [points[round(index * (len(points) - 1) / (limit - 1))] for index in range(limit)]


def _refuse_filter(text: str) -> None:
    if text:
        raise invalid_argument(f"Filtering and ordering of data points is not supported: {text[:200]}")
