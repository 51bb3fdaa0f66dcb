"""Gathers the evidence when all is over: from the service's ledger and request log, and from Airflow."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from tests.chaos.conductor import Conductor
from tests.chaos.evidence import Evidence, JobLine, RunLine, Strike
from tests.chaos.plan import LOCATIONS, PlannedRun

from gemini_tuning.tuning.buying import RECORD_NAME
from gemini_tuning.tuning.spec import ATTEMPT_LABEL, KEY_LABEL, RUN_LABEL
from gemini_tuning.tuning.states import JobState

LAST_LINES = 25
DIED = "Process terminated by signal"
DONE_ALL_THE_SAME = "after"  # only the answer was spoilt
AIRFLOWS_OWN = {  # what a task's log says when Airflow, short of its parts, ends a try
    "the task shouldn't be running anymore": "Airflow took the try away",
    "AirflowRuntimeError: API_SERVER_ERROR": "Airflow's API server did not answer",
}
NEAR_SECONDS = 5.0
DULL = re.compile(
    r"::(end)?group::|GitWildMatchPattern|Filling up the DagBag|bundles loaded|startup parse|NewConnectionError"
)
_KEY = re.compile(r"[0-9a-f]{40}")


def collect(conductor: Conductor) -> Evidence:
    """Return everything, and count among the conductor's ``counts`` the faults and kills that really struck."""
    requests = conductor.stage.cloud.requests()
    jobs = tuple(_jobs(conductor, requests))
    keys = {_number(job.name): job.key for job in jobs}
    _struck_by_faults(conductor, requests, keys)
    _killed_at_marks(conductor)
    runs = tuple(_run(conductor, run) for run in conductor.plan.runs if conductor.run_id(run) in conductor.begun)
    return Evidence(jobs, runs, frozenset(_meant(conductor, jobs, runs)))


def _jobs(conductor: Conductor, requests: Iterable[dict[str, Any]]) -> Iterator[JobLine]:
    stopped: dict[str, float] = {}
    for request in requests:
        taken = request["status"] == 200 or conductor.faults.get(request["fault"], "").endswith(DONE_ALL_THE_SAME)
        if request["path"].endswith(":cancel") and taken:
            stopped.setdefault(_number(request["path"].removesuffix(":cancel")), _unix(request["time"]))
    project = conductor.stage.cloud.project
    with conductor.stage.cloud.http() as client:
        for location in LOCATIONS:
            path, token = f"/v1beta1/projects/{project}/locations/{location}/tuningJobs", ""
            while True:
                page = client.get(path, params={"pageSize": 100, "pageToken": token}).raise_for_status().json()
                for job in page.get("tuningJobs", []):
                    yield _job(job, stopped)
                if not (token := page.get("nextPageToken", "")):
                    break


def _job(job: dict[str, Any], stopped: dict[str, float]) -> JobLine:
    labels = job.get("labels", {})
    return JobLine(
        name=job["name"],
        key=labels.get(KEY_LABEL, ""),
        attempt=int(labels.get(ATTEMPT_LABEL, 1)),
        run=labels.get(RUN_LABEL, ""),
        state=JobState(job["state"]),
        created_at=_unix(job["createTime"]),
        stopped_at=stopped.get(_number(job["name"])),
        ended_at=_unix(job["endTime"]) if "endTime" in job else None,
    )


def _struck_by_faults(conductor: Conductor, requests: Iterable[dict[str, Any]], keys: dict[str, str]) -> None:
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    by_location: defaultdict[str, list[str]] = defaultdict(list)
    for run in conductor.plan.runs:
        by_key[conductor.key(run)].append(conductor.run_id(run))
        by_location[conductor.purchase_of[run.number].location].append(conductor.run_id(run))
    for request in requests:
        words = conductor.faults.get(request["fault"])
        if words is None:
            words = "401" if request["status"] == 401 else None
        else:
            conductor.counts[words] += 1
        if words is None:
            continue
        at = _unix(request["time"])
        key = purchase_of(request, keys)
        location = request["path"].split("/locations/")[-1].partition("/")[0]
        for run_id in by_key[key] if key else by_location[location]:
            if conductor.begun.get(run_id, at) - 1 <= at <= conductor.ended.get(run_id, at):
                conductor.strikes[run_id].append(Strike(at, words))


def purchase_of(request: dict[str, Any], keys: dict[str, str]) -> str | None:
    """Return the purchase that a request was about; None for a list of all jobs."""
    if request["path"].endswith("/tuningJobs"):
        text = request["body"] if request["method"] == "POST" else unquote(request["query"])
        found = re.search(rf"{KEY_LABEL}\W+({_KEY.pattern})", text)
        return found[1] if found else None
    return keys.get(_number(request["path"].removesuffix(":cancel")))


def _killed_at_marks(conductor: Conductor) -> None:
    for run in conductor.plan.runs:
        run_id = conductor.run_id(run)
        left = conductor.stage.armed(run_id)
        killed = [mark for mark in run.kill_at if mark not in left] if run_id in conductor.begun else []
        others = [strike.at for strike in conductor.strikes[run_id] if "kill -9" in strike.what]
        deaths = [line.at for line in log_of(_logs(conductor), run.dag_id, run_id) if DIED in line.text]
        unexplained = [at for at in deaths if all(abs(at - other) > NEAR_SECONDS for other in others)]
        for mark, at in itertools.zip_longest(killed, unexplained[: len(killed)]):
            conductor.counts["kill -9 at a mark"] += 1
            conductor.counts[f"kill -9 at mark {mark}"] += 1
            conductor.strikes[run_id].append(Strike(at or conductor.begun[run_id], f"kill -9 at mark {mark}"))


def _run(conductor: Conductor, run: PlannedRun) -> RunLine:
    run_id, dags = conductor.run_id(run), conductor.dags
    strikes = tuple(sorted((*conductor.strikes[run_id], *_by_airflow(conductor, run)), key=lambda strike: strike.at))
    line = {
        "run_id": run_id,
        "dag_id": run.dag_id,
        "key": conductor.key(run),
        "begun_at": conductor.begun[run_id],
        "ended_at": conductor.ended.get(run_id),
        "force_new": run.force_new,
        "strikes": strikes,
        "log": _last_lines(conductor, run),
    }
    found = dags.run(run.dag_id, run_id)
    if found is None:
        return RunLine(state="deleted", **line)
    tasks = {task["task_id"]: task for task in dags.below(run.dag_id, run_id, "/taskInstances")["task_instances"]}
    tune = tasks["tune"]
    others = tuple(
        (name, task["try_number"], task["max_tries"] + 1)
        for name, task in tasks.items()
        if name != "tune" and task["state"] == "failed"
    )
    result = dags.below(run.dag_id, run_id, "/taskInstances/tune/xcomEntries/return_value")
    record = _record(dags.below(run.dag_id, run_id, "/taskInstances/tune/state-store"))
    return RunLine(
        state=found["state"],
        tune=tune["state"],
        tries=tune["try_number"],
        allowed=tune["max_tries"] + 1,
        result=_as_json(result["value"]).get("name") if result else None,
        last_job=record.get("job"),
        how=record.get("how"),
        recovered=bool(record.get("recovered")),
        others=others,
        **line,
    )


def _by_airflow(conductor: Conductor, run: PlannedRun) -> Iterator[Strike]:
    """Yield when Airflow ended a try by itself: without a heartbeat, or while its API server was gone; once a try."""
    seen: set[str] = set()
    for line in log_of(_logs(conductor), run.dag_id, conductor.run_id(run), "*"):
        what = next((what for words, what in AIRFLOWS_OWN.items() if words in line.text), None)
        if what and line.attempt not in seen:
            seen.add(line.attempt)
            yield Strike(line.at, f"{what} ({line.attempt})")


def _record(store: Any) -> dict[str, Any]:
    entries = next((value for value in (store or {}).values() if isinstance(value, list)), [])
    return next((_as_json(entry["value"]) for entry in entries if entry["key"] == RECORD_NAME), {})


def _as_json(value: Any) -> dict[str, Any]:
    return json.loads(value) if isinstance(value, str) else value or {}


def _meant(conductor: Conductor, jobs: Iterable[JobLine], runs: Iterable[RunLine]) -> Iterator[str]:
    """Yield the jobs that the plan, a hand or a user's act on their run let end."""
    acted = {run.run_id for run in runs if any(strike.user for strike in run.strikes)}
    first: dict[str, JobLine] = {}
    for job in sorted(jobs, key=lambda job: job.created_at):
        first.setdefault(job.key, job)
        if job.name in conductor.by_hand or job.run in acted:
            yield job.name
    for purchase in conductor.plan.purchases:
        job = first.get(conductor.goods[purchase.number].key)
        if job and (purchase.ends_badly or (purchase.fate.get("cancel") and job.stopped_at)):
            yield job.name


def _last_lines(conductor: Conductor, run: PlannedRun) -> tuple[str, ...]:
    lines = log_of(_logs(conductor), run.dag_id, conductor.run_id(run))
    return tuple([line.text for line in lines if not DULL.search(line.text)][-LAST_LINES:])


def _logs(conductor: Conductor) -> Path:
    return conductor.stage.stack.settings.airflow_home / "logs"


class Line(NamedTuple):
    """A line of a task's log; ``attempt`` names the task and its try."""

    at: float
    attempt: str
    text: str


def log_of(logs: Path, dag_id: str, run_id: str, task_id: str = "tune") -> list[Line]:
    """Return a task's log, of all its tries, also of a run that is deleted; ``*`` stands for every task."""
    files = logs.glob(f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/attempt=*.log*")
    return sorted(line for file in files for line in _lines(file))


def _lines(file: Path) -> Iterator[Line]:
    attempt = f"{file.parent.name.removeprefix('task_id=')} {file.name.partition('.')[0].removeprefix('attempt=')}"
    for text in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(text)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("timestamp") and "event" in entry:
            raised = [f" {one.get('exc_type')}: {one.get('exc_value')}" for one in entry.get("error_detail") or ()]
            words = f"{entry.get('level', '')}: {entry['event']}{''.join(raised)}"
            yield Line(_unix(entry["timestamp"]), attempt, f"{entry['timestamp'][11:23]} {attempt} {words}")


def _number(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _unix(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
