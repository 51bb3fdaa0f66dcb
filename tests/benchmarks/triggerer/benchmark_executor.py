"""An executor that gets a thousand waits into the triggerer without a thousand task processes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.executors.base_executor import get_execution_api_server_url
from airflow.executors.local_executor import LocalExecutor
from benchmark_triggers import Pulse, trigger_for

_THREADS = 4


class DeferringExecutor(LocalExecutor):
    """Does itself, for each wait's first try, what a worker would: start the task, and defer it; no process is made.

    Both are said to Airflow's execution API with the task's own token. A task that its trigger resumes gets a real
    process of its own. Airflow's ``start_from_trigger`` would need no worker either, but hands each trigger a copy of
    its whole Dag to keep.
    """

    def start(self) -> None:
        super().start()
        self._plan: dict[str, Any] = json.loads(Path(os.environ["BENCHMARK_PLAN"]).read_text())
        self._first_tries = {
            (dag_id, index) for dag_id, names in self._plan["waits"].items() for index in range(len(names))
        } | {(self._plan["pulse_dag"], -1)}
        self._threads = ThreadPoolExecutor(_THREADS)

    def _process_workloads(self, workload_list: Sequence[Any]) -> None:
        resumed = []
        for workload in workload_list:
            key = (workload.ti.dag_id, workload.ti.map_index)
            if key in self._first_tries:
                self._first_tries.discard(key)
                del self.queued_tasks[workload.key]
                self._threads.submit(self._play_the_worker, workload)
            else:
                resumed.append(workload)
        if resumed:
            super()._process_workloads(resumed)

    def _play_the_worker(self, workload: Any) -> None:
        from airflow.sdk.api.client import Client
        from airflow.sdk.execution_time.comms import DeferTask
        from airflow.sdk.serde import serialize

        state, fault = workload.success_state, None
        try:
            client = Client(base_url=get_execution_api_server_url(self.conf), token=workload.token)
            client.task_instances.start(workload.ti.id, os.getpid(), datetime.now(UTC))
            classpath, arguments = self._trigger(workload.ti).serialize()
            message = DeferTask(
                classpath=classpath, trigger_kwargs=serialize(arguments), next_method="execute_complete", next_kwargs={}
            )
            client.task_instances.defer(workload.ti.id, message)
        except Exception as error:
            self.log.exception("%s could not be deferred", workload.key)
            state, fault = workload.failure_state, error
        self.result_queue.put((workload.key, state, fault))

    def _trigger(self, task: Any) -> Any:
        if task.map_index < 0:
            return Pulse(self._plan["pulse_file"])
        name = self._plan["waits"][task.dag_id][task.map_index]
        return trigger_for(self._plan["design"], name, self._plan["interval"])
