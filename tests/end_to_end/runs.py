"""A Dag run, and what a user's script asks Airflow's REST API about it."""

from __future__ import annotations

import time
import uuid

import httpx

from local_cloud.laptop.airflow_api import AirflowApiError

RUN_SECONDS = 270
PATIENCE_SECONDS = 120


def patiently(ask):
    """Ask Airflow's API; a server that was killed, or whose database is busy, is waited for."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except AirflowApiError as error:
            refused = error.status is not None and error.status < httpx.codes.INTERNAL_SERVER_ERROR
            if refused or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class Run:
    """A Dag run, triggered the way a user's script does it.

    :param run_id: its name; a new one when left out.
    :param paused: the Dag may be paused.
    """

    def __init__(self, stack, dag_id, conf=None, *, run_id=None, paused=True):
        self.api, self.dag_id = stack.api, dag_id
        self.run_id = run_id or f"user__{uuid.uuid4()}"
        if paused:
            patiently(lambda: self.api.patch(f"/dags/{dag_id}", {"is_paused": False}))
        body = {"logical_date": None, "conf": conf or {}, "dag_run_id": self.run_id}
        try:
            patiently(lambda: self.api.post(f"/dags/{dag_id}/dagRuns", body))
        except AirflowApiError as error:
            if error.status != httpx.codes.CONFLICT:  # an answer that came too late: the run is there
                raise

    @property
    def path(self):
        return f"/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def get(self, path=""):
        return patiently(lambda: self.api.get(f"{self.path}{path}"))

    @property
    def state(self):
        return self.get()["state"]

    def wait(self, seconds=RUN_SECONDS):
        deadline = time.monotonic() + seconds
        while (state := self.state) not in {"success", "failed"}:
            assert time.monotonic() < deadline, f"{self.run_id} of {self.dag_id} is still {state}: {self.tasks()}"
            time.sleep(0.5)
        return state

    def tasks(self):
        return {task["task_id"]: task["state"] for task in self.get("/taskInstances")["task_instances"]}

    def task(self, task_id):
        """Everything Airflow says about a task: its state, try, process id, pool, times."""
        return self.get(f"/taskInstances/{task_id}")

    def tries(self, task_id):
        """The state of each try that is over, and of the current one."""
        return [one["state"] for one in self.get(f"/taskInstances/{task_id}/tries")["task_instances"]]

    def xcom(self, task_id, key):
        """An XCom of a task, or None."""
        entry = patiently(lambda: self.api.find(f"{self.path}/taskInstances/{task_id}/xcomEntries/{key}"))
        return entry and entry["value"]

    def result(self, task_id):
        return self.xcom(task_id, "return_value")

    def remembered(self, task_id):
        """What a task has put into its task state store."""
        entries = self.get(f"/taskInstances/{task_id}/state-store")
        return {
            entry["key"]: entry["value"] for entry in next(iter(v for v in entries.values() if isinstance(v, list)))
        }

    def log(self, task_id, number=1):
        content = self.get(f"/taskInstances/{task_id}/logs/{number}")["content"]
        return [entry for entry in content if isinstance(entry, dict)]

    def events(self, task_id, number=1):
        return [str(entry.get("event")) for entry in self.log(task_id, number)]

    def errors(self, task_id, number=1):
        return [entry["event"] for entry in self.log(task_id, number) if entry.get("level") == "error"]

    def mark(self, task_id, state):
        """Mark a task ``failed`` or ``success``, as a user does."""
        patiently(lambda: self.api.patch(f"{self.path}/taskInstances/{task_id}", {"new_state": state}))

    def mark_run(self, state):
        patiently(lambda: self.api.patch(self.path, {"state": state}))

    def clear(self, task_id):
        body = {"dag_run_id": self.run_id, "task_ids": [task_id], "dry_run": False, "only_failed": False}
        patiently(lambda: self.api.post(f"/dags/{self.dag_id}/clearTaskInstances", body))

    def delete(self):
        patiently(lambda: self.api.delete(self.path))
