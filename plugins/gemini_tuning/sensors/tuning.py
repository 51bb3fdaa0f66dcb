"""Wait for a tuning job that somebody else answers for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gemini_tuning.links import VertexTuningJobLink
from gemini_tuning.sensors.waiting import TuningJobWait
from gemini_tuning.tuning.wait import OnTimeout


class TuningJobSensor(TuningJobWait):
    """Wait until a tuning job has succeeded; fail with its own error when it ended otherwise. It never cancels the job.

    Returns the ``TuningJob`` as it ended. Deferred by default; ``deferrable=False, mode="reschedule"`` gives the same
    answers where the triggerer can't import this package. The sensor's ``timeout``
    (seconds) counts from the first look of a try.

    :param tuning_job: a ``TuningJob``, or a job's full resource name (templated).
    :param gcp_conn_id: Airflow's Google Cloud connection (templated).
    :param project_id: Google Cloud project (templated); None = the connection's.
    :param impersonation_chain: service accounts to act as (templated).
    :param deferrable: wait in the triggerer.
    :param max_dropped_share: share of the examples, from 0 to 1, that the service may have left out; None = any.
    :param report: the ``DatasetReport`` of the job's training data, to name the lines left out (templated).
    """

    template_fields: ClassVar[Sequence[str]] = ("tuning_job", *TuningJobWait.template_fields)
    operator_extra_links = (VertexTuningJobLink(),)

    def __init__(
        self,
        *,
        tuning_job: dict[str, Any] | str,
        gcp_conn_id: str = "google_cloud_default",
        project_id: str | None = None,
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = True,
        max_dropped_share: float | None = None,
        report: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            gcp_conn_id=gcp_conn_id,
            project_id=project_id,
            impersonation_chain=impersonation_chain,
            deferrable=deferrable,
            max_dropped_share=max_dropped_share,
            report=report,
            on_timeout=OnTimeout.LEAVE.value,
            cancel_on_kill=False,
            **kwargs,
        )
        self.tuning_job = tuning_job

    @property
    def job_name(self) -> str:
        """The full resource name of the job waited for."""
        name = self.tuning_job.get("name") if isinstance(self.tuning_job, dict) else self.tuning_job
        return str(name)
