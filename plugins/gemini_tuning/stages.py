"""The stages of every pipeline, put together from the operators; Dags differ only in where the settings come from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from airflow.sdk import XComArg

from gemini_tuning.links import PURCHASE_KEY
from gemini_tuning.operators.dataset import UploadDatasetOperator, ValidateDatasetOperator
from gemini_tuning.operators.smoke import SmokeTestOperator
from gemini_tuning.operators.summary import SummariseRunOperator
from gemini_tuning.operators.tuning import TuneModelOperator
from gemini_tuning.pipeline import Wait
from gemini_tuning.retries import RetryWhatMayPass
from gemini_tuning.settings import retry_seconds, wait_mode

POOL = "vertex_tuning"
RETRIES_OF_TUNE = 5  # nothing is bought by a retry, and a purchase has more points at which a process can die
DEFAULT_ARGS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": dt.timedelta(seconds=retry_seconds()),
    "retry_exponential_backoff": True,
    "max_retry_delay": dt.timedelta(minutes=10),
    "retry_policy": RetryWhatMayPass(),
}


def tuning_stages(settings: Mapping[str, Any], wait: Wait) -> ValidateDatasetOperator:
    """Add validate → upload → tune → smoke_test → summary to the Dag being defined; return the first.

    :param settings: the fields of ``PipelineConfig``, each a JSON value or the XCom argument that will hold it.
    """
    google = {
        "gcp_conn_id": settings["gcp_conn_id"],
        "project_id": settings["project"],
        "location": settings["location"],
    }
    validate = ValidateDatasetOperator(
        task_id="validate",
        train=settings["train"],
        validation=settings["validation"],
        base_model=settings["base_model"],
        hyperparameters=settings["hyperparameters"],
        smoke_suite=settings["smoke_suite"],
        checks=settings["checks"],
        budget_usd=settings["budget_usd"],
        **google,
    )
    upload = UploadDatasetOperator(
        task_id="upload",
        report=validate.output,
        bucket=settings["bucket"],
        prefix=settings["prefix"],
        pipeline=settings["name"],
        **google,
    )
    tune = TuneModelOperator(
        task_id="tune",
        datasets=upload.output,
        base_model=settings["base_model"],
        pipeline=settings["name"],
        hyperparameters=settings["hyperparameters"],
        tuned_model_display_name=settings["tuned_model_display_name"],
        labels=settings["labels"],
        checkpoint_id=settings["checkpoint_id"],
        export_last_checkpoint_only=settings["export_last_checkpoint_only"],
        kms_key_name=settings["kms_key_name"],
        service_account=settings["service_account"],
        description=settings["description"],
        force_new=settings["force_new"],
        deferrable=(wait.mode or wait_mode()) == "deferrable",
        mode="reschedule",
        poke_interval=wait.poll_interval_seconds,
        timeout=wait.timeout_hours * 3600,
        on_timeout=wait.on_timeout,
        max_dropped_share=wait.max_dropped_share,
        report=validate.output,
        pool=POOL,
        retries=RETRIES_OF_TUNE,
        **google,
    )
    smoke_test = SmokeTestOperator(
        task_id="smoke_test", tuning_job=tune.output, suite=settings["smoke_suite"], **google
    )
    SummariseRunOperator(
        task_id="summary",
        report=validate.output,
        datasets=upload.output,
        tuning_job=tune.output,
        smoke_report=smoke_test.output,
        purchase=XComArg(tune, key=PURCHASE_KEY),
        **google,
    )
    return validate


def notification_callbacks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Dag's callbacks for its pipeline's notifications, or none."""
    notifications = settings["notifications"]
    if not notifications:
        return {}
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    def mail(outcome: str) -> SmtpNotifier:
        return SmtpNotifier(
            to=list(notifications["email"]),
            subject=f"Tuning pipeline {settings['name']} {outcome}: {{{{ dag_run.run_id }}}}",
            html_content=(
                f"<p>Run <b>{{{{ dag_run.run_id }}}}</b> of <b>{{{{ dag.dag_id }}}}</b> {outcome}.</p>"
                "<p>The log of its last task says why; the summary task of a good run shows the result.</p>"
            ),
            smtp_conn_id=notifications["smtp_conn_id"],
        )

    outcomes = {"success": "succeeded", "failure": "failed"}
    return {f"on_{on}_callback": mail(outcomes[on]) for on in notifications["when"]}
