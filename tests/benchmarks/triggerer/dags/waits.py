"""The benchmark's waits: a Dag for each group of jobs in the plan, and one for the pulse of the event loop."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from gemini_tuning.sensors.tuning import TuningJobSensor

_PLAN = json.loads(Path(os.environ["BENCHMARK_PLAN"]).read_text())


class NotedWait(TuningJobSensor):
    """Writes down when it was taken up again."""

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        with Path(_PLAN["resumed_file"]).open("a") as file:
            file.write(json.dumps({"name": self.job_name, "at": time.time()}) + "\n")
        return super().execute_complete(context, event)


for dag_id, names in _PLAN["waits"].items():
    with DAG(dag_id, schedule=None, is_paused_upon_creation=False, max_active_tasks=len(names)):
        NotedWait.partial(task_id="wait").expand(tuning_job=names)

with DAG(_PLAN["pulse_dag"], schedule=None, is_paused_upon_creation=False):
    TuningJobSensor(task_id="wait", tuning_job="no job")
