"""What is done to a stage by force, or by its users."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import httpx
import psutil
from tests.chaos.plan import Act, Blow, PlannedBlow
from tests.chaos.stage_api import Dags
from tests.end_to_end.rehearsal import Rehearsal, kill_at_once

from local_cloud.laptop.processes import MARK, family

_COMPONENTS = {
    Blow.TRIGGERER: "triggerer",
    Blow.SCHEDULER: "scheduler",
    Blow.SCHEDULER_FAMILY: "scheduler",
    Blow.API_SERVER: "api-server",
}


class Hands:
    """Strikes blows and does what users do."""

    def __init__(self, stage: Rehearsal, dags: Dags) -> None:
        self._stage, self._dags = stage, dags

    def strike(self, blow: PlannedBlow, under_way: Sequence[str]) -> Sequence[str]:
        """Strike, and return the runs that may feel it."""
        kind = blow.blow
        if kind in {Blow.TASK, Blow.WORKER}:
            return self._kill_a_task(blow.value, under_way, with_worker=kind is Blow.WORKER)
        if kind is Blow.LAG:
            self._stage.settings(list_lag_seconds=blow.value)
            return ()
        if kind is Blow.TOKENS:
            self._stage.cloud.control("POST", "tokens:expire")
        else:
            pid = self._stage.pid(_COMPONENTS[kind])
            # the triggerer and the API server work in children of theirs, which would go on
            kill_at_once({pid} if kind is Blow.SCHEDULER else family(pid))
        return under_way

    def _kill_a_task(self, value: float, under_way: Sequence[str], *, with_worker: bool) -> Sequence[str]:
        running = [
            task for task in self._dags.running_tasks() if task["dag_run_id"] in under_way and self._ours(task["pid"])
        ]
        if not running:
            return ()
        task = sorted(running, key=lambda task: str(task["dag_run_id"]))[int(value * len(running))]
        pids = {task["pid"]}
        if with_worker:
            with contextlib.suppress(psutil.Error):
                pids.add(psutil.Process(task["pid"]).ppid())
        kill_at_once(pids)
        return (task["dag_run_id"],)

    def _ours(self, pid: int | None) -> bool:
        """Whether it is a process of this stage: an id may have been given to somebody else since."""
        if not pid:
            return False
        try:
            process = psutil.Process(pid)
            return process.environ().get(MARK) == str(self._stage.stack.settings.state_dir)
        except (psutil.Error, OSError):
            return False

    def do(self, act: Act, dag_id: str, run_id: str) -> bool:
        """Do what a user does; return whether Airflow took it."""
        if act is Act.FAIL_RUN:
            return self._dags.mark_run(dag_id, run_id, "failed")
        if act is Act.FAIL_TASK:
            return self._dags.mark_task(dag_id, run_id, "tune", "failed")
        if act is Act.PASS_TASK:
            return self._dags.mark_task(dag_id, run_id, "tune", "success")
        if act is Act.CLEAR:
            return self._dags.clear(dag_id, run_id, "tune")
        # Airflow deletes no run that is under way, and its scheduler hangs when one goes that it is just scheduling
        if not self._dags.mark_run(dag_id, run_id, "failed"):
            return False
        time.sleep(3)
        return self._dags.delete(dag_id, run_id)

    def cancel(self, name: str) -> None:
        """Cancel a job in the console."""
        with self._stage.cloud.http() as client, contextlib.suppress(httpx.HTTPError):
            client.post(f"/v1beta1/{name}:cancel")
