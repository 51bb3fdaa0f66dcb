"""Airflow's REST API for somebody whose API server is killed again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from local_cloud.laptop.airflow_api import AirflowApiError

PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.5

T = TypeVar("T")


def insist(call: Callable[[], T]) -> T | None:
    """Make a call until it is answered; None when there is no such thing, or no longer.

    :raises AirflowApiError: refused, or nothing answered for two minutes.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except AirflowApiError as error:
            if error.status in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
                return None
            if error.status is not None and error.status < httpx.codes.INTERNAL_SERVER_ERROR:
                raise
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_SECONDS)


class Dags:
    """The Dags and runs of a stage."""

    def __init__(self, api: Any) -> None:
        self._api = api

    def unpause(self, dag_id: str) -> None:
        """Let a Dag run."""
        insist(lambda: self._api.patch(f"/dags/{dag_id}", {"is_paused": False}))

    def start(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> None:
        """Trigger a run; one that is there already was triggered by a call whose answer was lost."""
        body = {"logical_date": None, "dag_run_id": run_id, "conf": conf}
        insist(lambda: self._api.post(f"/dags/{dag_id}/dagRuns", body))

    def run(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """Return a run, or None if it is deleted."""
        return insist(lambda: self._api.get(f"/dags/{dag_id}/dagRuns/{run_id}"))

    def unfinished(self, dag_id: str) -> set[str]:
        """Return the ids of the runs that are under way."""
        asked = {"state": ["running", "queued"], "limit": 500}
        return {
            run["dag_run_id"]
            for run in (insist(lambda: self._api.get(f"/dags/{dag_id}/dagRuns", **asked)) or {})["dag_runs"]
        }

    def running_tasks(self) -> list[dict[str, Any]]:
        """Return the task instances that occupy a worker."""
        found = insist(lambda: self._api.get("/dags/~/dagRuns/~/taskInstances", state="running", limit=100))
        return list((found or {})["task_instances"])

    def below(self, dag_id: str, run_id: str, path: str) -> Any:
        """GET something of a run, or None."""
        return insist(lambda: self._api.get(f"/dags/{dag_id}/dagRuns/{run_id}{path}"))

    def mark_run(self, dag_id: str, run_id: str, state: str) -> bool:
        """Mark a run; return whether Airflow did, as for all that follow."""
        return _done(lambda: self._api.patch(f"/dags/{dag_id}/dagRuns/{run_id}", {"state": state}))

    def mark_task(self, dag_id: str, run_id: str, task_id: str, state: str) -> bool:
        """Mark a task."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        return _done(lambda: self._api.patch(path, {"new_state": state}))

    def clear(self, dag_id: str, run_id: str, task_id: str) -> bool:
        """Clear a task."""
        body = {"dag_run_id": run_id, "task_ids": [task_id], "dry_run": False, "only_failed": False}
        return _done(lambda: self._api.post(f"/dags/{dag_id}/clearTaskInstances", body))

    def delete(self, dag_id: str, run_id: str) -> bool:
        """Delete a run."""
        return _done(lambda: self._api.delete(f"/dags/{dag_id}/dagRuns/{run_id}"))


def _done(call: Callable[[], Any]) -> bool:
    def told() -> bool:
        call()
        return True

    return insist(told) is not None
