"""Cancel the tuning jobs of this Airflow that nobody wants any more, and say of every live one why it is left.

A job is cancelled when the task instance that bought it has ended or is gone, and no other has taken the job over.
Only jobs that carry this installation's name (`GEMINI_TUNING_INSTALLATION`) are touched. Scheduled runs only report,
unless `GEMINI_TUNING_REAP` is `cancel`.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param

from gemini_tuning.operators.reaping import ReapTuningJobsOperator
from gemini_tuning.pipeline import load_pipelines
from gemini_tuning.settings import include_root, reaps
from gemini_tuning.stages import DEFAULT_ARGS
from gemini_tuning.tuning.reaping import Place

PIPELINES, _ = load_pipelines(include_root() / "pipelines")
PLACES = {Place(gcp_conn_id=one.gcp_conn_id, project=one.project, location=one.location) for one in PIPELINES}

FORM = {
    "dry_run": Param(
        not reaps(),
        type="boolean",
        title="Dry run",
        description="Only say what would be cancelled.",
        section="Reaper",
    ),
    "grace_minutes": Param(
        15,
        type="number",
        minimum=0,
        title="Grace in minutes",
        description="Younger jobs are left alone.",
        section="Reaper",
    ),
    "places": Param(
        [place.to_json() for place in sorted(PLACES | {Place()}, key=str)],
        type="array",
        items={"type": "object"},
        minItems=1,
        title="Where to look",
        description="Connection, project (null: the connection's) and location; at first those of all pipeline files.",
        section="Google Cloud",
    ),
    "also_ask": Param(
        [],
        type="array",
        items={"type": "string", "pattern": r"^[\w.-]+(:[\w.-]+)?$"},
        title="Dags of your own",
        description="Besides all pipelines and tune_on_demand: DAG_ID (its task 'tune') or DAG_ID:TASK_ID, one a line.",
        section="Airflow",
    ),
}

with DAG(
    dag_id="reap_tuning_jobs",
    description="Cancel tuning jobs that nobody wants any more.",
    doc_md=__doc__,
    schedule="@hourly",
    catchup=False,
    max_active_runs=1,
    params=FORM,
    default_args={**DEFAULT_ARGS, "owner": "data-team"},
    tags=["gemini-tuning", "housekeeping"],
) as dag:
    ReapTuningJobsOperator(
        task_id="reap",
        tasks=["tune_on_demand", *(pipeline.dag_id for pipeline in PIPELINES)],
        places=dag.param("places"),
        also_ask=dag.param("also_ask"),
        dry_run=dag.param("dry_run"),
        grace_minutes=dag.param("grace_minutes"),
    )
