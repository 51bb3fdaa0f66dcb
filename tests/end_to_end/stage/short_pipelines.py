"""The one stage that costs money, by itself: as many runs as a test needs, each of what it is told to buy."""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from gemini_tuning.operators.tuning import TuneModelOperator
from gemini_tuning.settings import REQUEST_VARIABLE, SETTLE_VARIABLE
from gemini_tuning.stages import DEFAULT_ARGS, POOL, RETRIES_OF_TUNE

IMPATIENT = {SETTLE_VARIABLE: "1", REQUEST_VARIABLE: "1"}


def be_impatient(context):
    """Look again too soon, whatever the installation says."""
    os.environ.update(IMPATIENT)


for _dag_id, _options in {
    "tune_only": {},
    "tune_only_rescheduled": {"deferrable": False},
    "tune_only_impatient": {"pre_execute": be_impatient},
}.items():
    with DAG(
        dag_id=_dag_id,
        schedule=None,
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
            poke_interval=1,
            timeout=600,
            mode="reschedule",
            pool=POOL,
            retries=RETRIES_OF_TUNE,
            **_options,
        )
    globals()[_dag_id] = _dag
