"""Retrain a model by hand: the stages of every pipeline, their settings from the trigger form."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from gemini_tuning.airflow_errors import airflow_errors
from gemini_tuning.on_demand import pipeline_of_form
from gemini_tuning.pipeline import PipelineConfig, Wait, load_pipelines
from gemini_tuning.settings import include_root
from gemini_tuning.stages import DEFAULT_ARGS, tuning_stages
from gemini_tuning.tuning.models import ModelTable
from gemini_tuning.tuning.spec import ADAPTER_SIZES

log = logging.getLogger(__name__)

MODELS = ModelTable.load()
PIPELINES, _ = load_pipelines(include_root() / "pipelines")
BUCKETS = sorted({pipeline.bucket for pipeline in PIPELINES})
SUITES = sorted(path.name for path in (include_root() / "smoke_tests").glob("*.y*ml"))
UNSET = "the service's recommendation"


def optional(kind: str, title: str, description: str, section: str, **rules: Any) -> Param:
    """Return a form field that may stay empty."""
    return Param(None, type=["null", kind], title=title, description=description, section=section, **rules)


FORM = {
    "train": Param(
        # no default: one careless click must not buy anything
        type="string",
        minLength=1,
        examples=sorted({pipeline.train for pipeline in PIPELINES}),
        title="Training data",
        description="JSONL: a path below the data root, or gs://bucket/path/file.jsonl.",
        section="Data",
    ),
    "validation": optional("string", "Validation data", "Like the training data; never trained on.", "Data"),
    "smoke_suite": Param(
        SUITES[0] if SUITES else None,
        type="string",
        examples=SUITES,
        title="Smoke suite",
        description="Prompts the tuned model must answer well: a file in include/smoke_tests/.",
        section="Data",
    ),
    "base_model": Param(
        "gemini-2.5-flash",
        type="string",
        enum=MODELS.tunable(),
        values_display={name: f"{name} ({info.status})" for name, info in MODELS.models.items()},
        title="Base model",
        description=f"As of {MODELS.as_of}; see include/models.yaml.",
        section="Model",
    ),
    "tuned_model_display_name": optional(
        "string", "Name of the tuned model", "Unset: the service makes one up.", "Model", maxLength=128
    ),
    "epochs": optional(
        "integer",
        "Epochs",
        f"Full passes over the training data. Unset: {UNSET}. Cost grows with it.",
        "Hyperparameters",
        minimum=1,
        maximum=1000,
    ),
    "adapter_size": optional(
        "integer",
        "Adapter size",
        f"Bigger learns more from more data, and takes longer. Unset: {UNSET}.",
        "Hyperparameters",
        enum=[None, *ADAPTER_SIZES],
        values_display={"null": UNSET},
    ),
    "learning_rate_multiplier": optional(
        "number",
        "Learning rate multiplier",
        f"Factor on the recommended learning rate, such as 0.5 or 2. Unset: {UNSET}.",
        "Hyperparameters",
        exclusiveMinimum=0,
        maximum=100,
    ),
    "budget_usd": optional(
        "number",
        "Budget in USD",
        "A job estimated to cost more is not bought. Unset: no limit.",
        "Hyperparameters",
        exclusiveMinimum=0,
    ),
    "force_new": Param(
        False,
        type="boolean",
        title="Pay again",
        description="Tune even if the same data was tuned with the same settings before.",
        section="Hyperparameters",
    ),
    "gcp_conn_id": Param(
        "google_cloud_default",
        type="string",
        minLength=1,
        title="Connection",
        description="Airflow's Google Cloud connection: credentials, and the project unless one is named here.",
        section="Google Cloud",
    ),
    "project": optional("string", "Project", "Unset: the connection's.", "Google Cloud"),
    "location": Param(
        "us-central1",
        type="string",
        pattern="^[a-z0-9-]+$",
        title="Location",
        description="Where the tuning job runs.",
        section="Google Cloud",
    ),
    "bucket": Param(
        *BUCKETS[:1],
        type="string",
        examples=BUCKETS,
        minLength=3,
        title="Bucket",
        description="Where the datasets are uploaded, without gs://.",
        section="Google Cloud",
    ),
    "prefix": Param(
        "gemini-tuning",
        type="string",
        title="Folder",
        description="Folder in the bucket.",
        section="Google Cloud",
    ),
    "name": Param(
        "by_hand",
        type="string",
        pattern="^[a-z][a-z0-9_-]{0,62}$",
        title="Pipeline name",
        description="Part of the object names and of the job's labels.",
        section="Google Cloud",
    ),
}

with DAG(
    dag_id="tune_on_demand",
    description="Retrain a model with settings from a form.",
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    max_active_runs=4,
    params=FORM,
    default_args={**DEFAULT_ARGS, "owner": "data-team"},
    tags=["gemini-tuning", "on-demand"],
):

    @task(multiple_outputs=True, retries=0)
    def configure() -> dict[str, Any]:
        """Check the form's fields together and pass them on as a pipeline's settings."""
        with airflow_errors(log):
            return pipeline_of_form(get_current_context()["params"]).to_json()

    configured = configure()
    settings = {field: configured[field] for field in PipelineConfig.model_fields}
    tuning_stages(settings, Wait(poll_interval_seconds=15))
