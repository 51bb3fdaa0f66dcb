"""Wait for a tuning job to end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowSensorTimeout

from gemini_tuning.airflow_errors import airflow_errors
from gemini_tuning.errors import ServiceRefusedError, TransientError
from gemini_tuning.links import CONSOLE_URL_KEY, VertexTuningJobLink
from gemini_tuning.tuning.service import check_job_name
from gemini_tuning.tuning.spec import TuningJob, location_of
from gemini_tuning.tuning.wait import Look, judge, require_success, timed_out

if TYPE_CHECKING:
    from airflow.sdk import Context


class TuningJobSensor(BaseSensorOperator):
    """Wait until a tuning job has succeeded; fail with its own error when it ended otherwise.

    Returns the ``TuningJob`` as it ended. Deferred by default; ``deferrable=False, mode="reschedule"`` gives the same
    answers where the triggerer can't import this package. The sensor's ``timeout``
    (seconds) counts from the first look of a try.

    :param tuning_job: the ``TuningJob`` of ``SubmitTuningJobOperator``, or a job's full resource name (templated).
    :param gcp_conn_id: Airflow's Google Cloud connection (templated).
    :param project_id: Google Cloud project (templated); None = the connection's.
    :param impersonation_chain: service accounts to act as (templated).
    :param deferrable: wait in the triggerer.
    """

    template_fields: ClassVar[Sequence[str]] = ("tuning_job", "gcp_conn_id", "project_id", "impersonation_chain")
    operator_extra_links = (VertexTuningJobLink(),)

    def __init__(
        self,
        *,
        tuning_job: dict[str, Any] | str,
        gcp_conn_id: str = "google_cloud_default",
        project_id: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tuning_job = tuning_job
        self.gcp_conn_id = gcp_conn_id
        self.project_id = project_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look once; then defer, or go on poking."""
        if not self.deferrable:
            return self._poke_to_the_end(context)
        with airflow_errors(self.log):
            job = self._look(context)
            deadline = time.time() + self.timeout
            if judge(job, time.time(), deadline) is Look.ENDED:
                return require_success(job).to_json()
        self._defer(job, deadline)
        raise AssertionError("unreachable: defer() raises")

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take up the task again with what the trigger saw."""
        with airflow_errors(self.log):
            if event["look"] == "failed":
                raise ServiceRefusedError(event["message"])
            job = TuningJob.from_json(event["job"])
            if event["look"] == Look.TIMED_OUT.value:
                raise timed_out(job, self.timeout / 3600)
            self.log.info("%s", job.outcome())
            return require_success(job).to_json()

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once, in reschedule and poke mode; broken connections and overload are waited out."""
        with airflow_errors(self.log):
            try:
                job = self._look(context)
            except TransientError as error:
                self.log.warning("%s Looking again in %s s.", error, self.poke_interval)
                return PokeReturnValue(is_done=False)
            if not job.state.ended:
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=require_success(job).to_json())

    def _poke_to_the_end(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except AirflowSensorTimeout:
            with airflow_errors(self.log):
                raise timed_out(self._look(context), self.timeout / 3600) from None

    def _look(self, context: Context) -> TuningJob:
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        name = self.job_name
        check_job_name(name)
        hook = GeminiTuningHook(self.gcp_conn_id, self.project_id, location_of(name), self.impersonation_chain)
        job = hook.jobs.get(name)
        context["ti"].xcom_push(CONSOLE_URL_KEY, job.console_url)
        self.log.info("%s: %s", job.name, job.progress())
        return job

    def _defer(self, job: TuningJob, deadline: float) -> None:
        from gemini_tuning.triggers.tuning import TuningJobTrigger

        chain = self.impersonation_chain
        self.defer(
            trigger=TuningJobTrigger(
                name=job.name,
                gcp_conn_id=self.gcp_conn_id,
                project_id=self.project_id,
                impersonation_chain=chain if isinstance(chain, str) or chain is None else list(chain),
                poll_interval=self.poke_interval,
                deadline=deadline,
            ),
            method_name="execute_complete",
        )

    @property
    def job_name(self) -> str:
        """The full resource name of the job waited for."""
        name = self.tuning_job.get("name") if isinstance(self.tuning_job, dict) else self.tuning_job
        return str(name)
