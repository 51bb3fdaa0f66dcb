"""The one stage that costs money, by itself: as many runs as a test needs, each of what it is told to buy."""

from __future__ import annotations

import os

from airflow.sdk import DAG, Param

from gemini_tuning.operators.tuning import TuneModelOperator

IMPATIENT = {"GEMINI_TUNING_SETTLE_SECONDS": "1", "GEMINI_TUNING_REQUEST_SECONDS": "1"}


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
        default_args={"retries": 2},
    ) as _dag:
        TuneModelOperator(
            task_id="tune",
            datasets="{{ params.datasets }}",
            hyperparameters="{{ params.hyperparameters }}",
            location="{{ params.location }}",
            base_model="gemini-2.5-flash",
            pipeline=_dag_id,
            poke_interval=1,
            timeout=600,
            mode="reschedule",
            **_options,
        )
    globals()[_dag_id] = _dag
