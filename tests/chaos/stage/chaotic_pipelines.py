"""The whole pipeline, each run of what it is told to buy."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from gemini_tuning.pipeline import PipelineConfig, Wait
from gemini_tuning.stages import DEFAULT_ARGS, tuning_stages

SETTINGS = PipelineConfig(
    name="chaos_whole",
    bucket="gemini-tuning-demo",
    base_model="gemini-2.5-flash",
    train="rehearsal.jsonl",
    smoke_suite="rehearsal.yaml",
).to_json()

with DAG(
    dag_id="chaos_whole",
    schedule=None,
    params={
        "datasets": Param({}, type="object"),
        "hyperparameters": Param({}, type="object"),
        "location": Param("us-central1"),
        "force_new": Param(False),
    },
    render_template_as_native_obj=True,
    default_args=DEFAULT_ARGS,
):
    settings = SETTINGS | {name: f"{{{{ params.{name} }}}}" for name in ("hyperparameters", "location", "force_new")}
    tuning_stages(settings, Wait(poll_interval_seconds=1.0))
