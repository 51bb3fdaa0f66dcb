"""The one stage that costs money, once for each way in which a run can be stopped or a job be waited for."""

from __future__ import annotations

import datetime as dt
import os

from airflow.sdk import DAG, Param

from gemini_tuning.operators.tuning import TuneModelOperator
from gemini_tuning.settings import SETTLE_VARIABLE
from gemini_tuning.stages import DEFAULT_ARGS, POOL, RETRIES_OF_TUNE

LONG_SETTLE_SECONDS = "30"
SHORT_TIMEOUT_SECONDS = 12.0
RUN_SECONDS = 75
HOUR = 3600.0


def settle_for_long(context):
    """Give a test the time to act while the task is still buying."""
    os.environ[SETTLE_VARIABLE] = LONG_SETTLE_SECONDS


BETWEEN_LOOKS = {"deferrable": False, "mode": "reschedule", "poke_interval": HOUR}
POKING = {"deferrable": False, "mode": "poke"}
OPTIONS = {
    "stop_deferred": {},
    "stop_buying": {"pre_execute": settle_for_long},
    "stop_buying_cancels_nothing": {"pre_execute": settle_for_long, "cancel_on_kill": False},
    "stop_poking": POKING,
    "stop_looking": {**BETWEEN_LOOKS, "poke_interval": 5.0},
    "stop_between_looks": BETWEEN_LOOKS,
    "stop_cancels_nothing": {"cancel_on_kill": False},
    "stop_late_cancel": {"timeout": SHORT_TIMEOUT_SECONDS, "on_timeout": "cancel"},
    "stop_late_leave": {"timeout": SHORT_TIMEOUT_SECONDS, "on_timeout": "leave"},
    "stop_late_looking": {
        **BETWEEN_LOOKS,
        "poke_interval": 1.0,
        "timeout": SHORT_TIMEOUT_SECONDS,
        "on_timeout": "cancel",
    },
    "stop_run_timeout": {},
}

for _dag_id, _options in OPTIONS.items():
    with DAG(
        dag_id=_dag_id,
        schedule=None,
        dagrun_timeout=dt.timedelta(seconds=RUN_SECONDS) if _dag_id == "stop_run_timeout" else None,
        params={
            "datasets": Param({}, type="object"),
            "hyperparameters": Param({}, type="object"),
            "location": Param("us-central1"),
            "force_new": Param(False),
        },
        render_template_as_native_obj=True,
        default_args=DEFAULT_ARGS,
    ) as _dag:
        TuneModelOperator(
            task_id="tune",
            datasets="{{ params.datasets }}",
            hyperparameters="{{ params.hyperparameters }}",
            location="{{ params.location }}",
            force_new="{{ params.force_new }}",
            base_model="gemini-2.5-flash",
            pipeline=_dag_id,
            pool=POOL,
            retries=RETRIES_OF_TUNE,
            **{"poke_interval": 1.0, "timeout": HOUR, **_options},
        )
    globals()[_dag_id] = _dag
