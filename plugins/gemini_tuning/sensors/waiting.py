"""What waiting for a tuning job is, whoever submitted it: deferred, or rescheduled with the same answers."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowSensorTimeout

from gemini_tuning.airflow_errors import airflow_errors
from gemini_tuning.dataset.reports.report import DatasetReport
from gemini_tuning.errors import GeminiTuningError, ServiceRefusedError, TransientError, TuningJobFailedError
from gemini_tuning.links import CONSOLE_URL_KEY, PROGRESS_KEY, TUNING_JOB_KEY, TUNING_JOB_LEFT_KEY
from gemini_tuning.tuning.cancelling import cancel
from gemini_tuning.tuning.dropped import dropped_of
from gemini_tuning.tuning.service import check_job_name
from gemini_tuning.tuning.spec import TuningJob, location_of
from gemini_tuning.tuning.wait import Look, OnTimeout, judge, require_success, timed_out

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gemini_tuning.hooks.tuning import GeminiTuningHook


class TuningJobWait(BaseSensorOperator):
    """Base of what waits for a tuning job.

    Returns the ``TuningJob`` as it ended. ``judge`` and ``require_success`` decide, wherever the wait takes place. The
    ``timeout`` (seconds) counts from the first look of a try.

    :param gcp_conn_id: Airflow's Google Cloud connection (templated).
    :param project_id: Google Cloud project (templated); None = the connection's.
    :param impersonation_chain: service accounts to act as (templated).
    :param deferrable: wait in the triggerer.
    :param on_timeout: ``cancel`` or ``leave``: what becomes of a job that hasn't ended in time.
    :param cancel_on_kill: cancel the job when somebody marks or clears the task.
    :param max_dropped_share: share of the examples, from 0 to 1, that the service may have left out; None = any.
    :param report: the ``DatasetReport`` of the job's training data, to name the lines left out (templated).
    """

    template_fields: ClassVar[Sequence[str]] = ("gcp_conn_id", "project_id", "impersonation_chain", "report")

    def __init__(
        self,
        *,
        gcp_conn_id: str = "google_cloud_default",
        project_id: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = True,
        on_timeout: str = OnTimeout.LEAVE.value,
        cancel_on_kill: bool = False,
        max_dropped_share: float | None = None,
        report: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.gcp_conn_id = gcp_conn_id
        self.project_id = project_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = deferrable
        self.on_timeout = OnTimeout(on_timeout)
        self.cancel_on_kill = cancel_on_kill
        self.max_dropped_share = max_dropped_share
        self.report = report
        self._deadline = math.inf
        self._killed = False

    @property
    @abstractmethod
    def job_name(self) -> str:
        """The full resource name of the job waited for."""

    def execute(self, context: Context) -> Any:
        """Look once; then defer, or go on poking."""
        self._deadline = self._started(context) + self.timeout
        if not self.deferrable:
            return self._poke_to_the_end(context)
        with airflow_errors(self.log):
            return self._go_on(context, self._look(context))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take up the task again with what the trigger saw."""
        with airflow_errors(self.log):
            if event["look"] == "failed":
                raise ServiceRefusedError(event["message"])
            job = TuningJob.from_json(event["job"])
            if event["look"] == Look.TIMED_OUT.value:
                policy = OnTimeout(event.get("on_timeout", OnTimeout.LEAVE))
                raise self._out_of_time(context, job, policy)
            return self._concluded(context, job)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once, in reschedule and poke mode; broken connections and overload are waited out."""
        with airflow_errors(self.log):
            try:
                job = self._look(context)
            except TransientError as error:
                self.log.warning("%s Looking again in %s s.", error, self.poke_interval)
                return PokeReturnValue(is_done=False)
            look = judge(job, time.time(), self._deadline)
            if look is Look.TIMED_OUT:
                return PokeReturnValue(is_done=True, xcom_value=self._timed_out(context, job))
            if look is Look.WAIT:
                return PokeReturnValue(is_done=False)
            return PokeReturnValue(is_done=True, xcom_value=self._concluded(context, job))

    def on_kill(self) -> None:
        """Cancel the job when a user ended a task that was looking at it just then."""
        if not self.cancel_on_kill or self._killed:
            return
        self._killed = True
        self._cancel_killed()

    def _poke_to_the_end(self, context: Context) -> Any:
        try:
            return super().execute(context)
        except AirflowSensorTimeout:  # the service could not be asked at the deadline
            with airflow_errors(self.log):
                return self._timed_out(context, self._look(context))

    def _go_on(self, context: Context, job: TuningJob) -> dict[str, Any]:
        if judge(job, time.time(), self._deadline) is Look.ENDED:
            return self._concluded(context, job)
        self._defer(job)
        raise AssertionError("unreachable: defer() raises")

    def _timed_out(self, context: Context, job: TuningJob) -> dict[str, Any]:
        """Do with a job whose time is over what the policy says; return it if it has succeeded meanwhile."""
        policy = self._policy()
        if policy is OnTimeout.CANCEL and not job.state.ended:
            try:
                cancelled = cancel(self._hook().jobs, job.name)
            except GeminiTuningError as error:
                raise ServiceRefusedError(f"The wait is over. {error} {job.name} may go on and be billed.") from error
            job, over = cancelled.job, cancelled.too_late
        else:
            over = job.state.ended
        if not over:
            raise self._out_of_time(context, job, policy)
        return self._concluded(context, job)

    def _out_of_time(self, context: Context, job: TuningJob, policy: OnTimeout) -> TuningJobFailedError:
        if policy is OnTimeout.LEAVE:
            context["ti"].xcom_push(TUNING_JOB_LEFT_KEY, job.name)
        return timed_out(job, self.timeout / 3600, policy)

    def _policy(self) -> OnTimeout:
        """What becomes of the job at hand when its time is over."""
        return self.on_timeout

    def _cancels_on_kill(self) -> bool:
        """Whether the job at hand is cancelled when somebody ends the task."""
        return self.cancel_on_kill

    def _cancel_killed(self) -> None:
        """Cancel what the task is ended with; there is little time, and nobody to raise an error to."""
        try:
            self.log.info("%s", cancel(self._hook().urgent_jobs(), self.job_name).sentence())
        except GeminiTuningError as error:
            self.log.error("%s %s may go on and be billed.", error, self.job_name)

    def _concluded(self, context: Context, job: TuningJob) -> dict[str, Any]:
        """Return the job of a wait that is over, or raise what is wrong with it."""
        self.log.info("%s", job.outcome())
        file = DatasetReport.from_json(self.report).train if self.report else None
        if left_out := dropped_of(job, file):
            self.log.warning("%s", left_out.sentence())
        return require_success(job, self.max_dropped_share, file).to_json()

    def _look(self, context: Context) -> TuningJob:
        check_job_name(self.job_name)
        job = self._hook().jobs.get(self.job_name)
        self._show(context, job)
        return job

    def _show(self, context: Context, job: TuningJob) -> None:
        """Tell how the job is doing, in the log and among the task's XComs."""
        context["ti"].xcom_push(CONSOLE_URL_KEY, job.console_url)
        context["ti"].xcom_push(TUNING_JOB_KEY, job.name)
        context["ti"].xcom_push(PROGRESS_KEY, job.progress())
        if not self.cancel_on_kill:
            context["ti"].xcom_push(TUNING_JOB_LEFT_KEY, job.name)
        self.log.info("%s: %s", job.name, job.progress())

    def _started(self, context: Context) -> float:
        first = context["ti"].get_first_reschedule_date(context) if self.reschedule and not self.deferrable else None
        return first.timestamp() if first else time.time()

    def _hook(self) -> GeminiTuningHook:
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        return GeminiTuningHook(self.gcp_conn_id, self.project_id, location_of(self.job_name), self.impersonation_chain)

    def _defer(self, job: TuningJob) -> None:
        from gemini_tuning.triggers.tuning import TuningJobTrigger

        chain = self.impersonation_chain
        self.defer(
            trigger=TuningJobTrigger(
                name=job.name,
                gcp_conn_id=self.gcp_conn_id,
                project_id=self.project_id,
                impersonation_chain=chain if isinstance(chain, str) or chain is None else list(chain),
                poll_interval=self.poke_interval,
                deadline=self._deadline,
                on_timeout=self._policy().value,
                cancel_on_kill=self._cancels_on_kill(),
            ),
            method_name="execute_complete",
        )
