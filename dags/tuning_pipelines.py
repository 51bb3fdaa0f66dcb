"""One Dag for each good pipeline file in ``include/pipelines/``; ``broken_pipelines.py`` reports the others."""

from __future__ import annotations

from airflow.sdk import DAG

from gemini_tuning.pipeline import PipelineConfig, load_pipelines
from gemini_tuning.settings import include_root
from gemini_tuning.stages import DEFAULT_ARGS, notification_callbacks, tuning_stages


def tuning_dag(pipeline: PipelineConfig) -> DAG:
    """Return the Dag of one pipeline."""
    settings = pipeline.to_json()
    with (
        DAG(
            dag_id=pipeline.dag_id,
            description=pipeline.description,
            doc_md=f"{pipeline.description or ''}\n\nRetrains `{pipeline.base_model}` on `{pipeline.train}`.",
            schedule=pipeline.schedule,
            catchup=False,  # and no start date: the first scheduled run is the next one, not one that was missed
            max_active_runs=1,
            default_args={**DEFAULT_ARGS, "owner": pipeline.owner},
            tags=["gemini-tuning", pipeline.base_model.rpartition("/")[2][:100]],
            **notification_callbacks(settings),
        ) as dag
    ):
        tuning_stages(settings, pipeline.wait)
    return dag


for _pipeline in load_pipelines(include_root() / "pipelines")[0]:
    globals()[_pipeline.dag_id] = tuning_dag(_pipeline)
