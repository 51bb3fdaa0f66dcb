"""Ask the tuned endpoint real prompts, and judge its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gemini_tuning.errors import SmokeTestFailedError, TuningJobFailedError
from gemini_tuning.operators.base import GeminiTuningOperator
from gemini_tuning.settings import include_root
from gemini_tuning.smoke.runner import run_suite
from gemini_tuning.smoke.suite import SmokeSuite
from gemini_tuning.tuning.models import ModelTable
from gemini_tuning.tuning.spec import TuningJob

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gemini_tuning.smoke.report import SmokeReport

FAILED_REPORT_KEY = "failed_report"


class SmokeTestOperator(GeminiTuningOperator):
    """Run a smoke suite against a tuned endpoint.

    Returns the ``SmokeReport`` with every prompt, answer and verdict. A failed suite fails the task, its report kept as
    XCom ``failed_report``. The log shows verdicts only: prompts and answers may be private.

    :param tuning_job: the ``TuningJob`` of ``TuneModelOperator`` or ``TuningJobSensor`` (templated).
    :param suite: file in the folder of smoke suites (templated).
    """

    template_fields: ClassVar[Sequence[str]] = (*GeminiTuningOperator.template_fields, "tuning_job", "suite")

    def __init__(self, *, tuning_job: dict[str, Any] | None, suite: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tuning_job = tuning_job
        self.suite = suite

    def run_stage(self, context: Context) -> dict[str, Any]:
        """Return the report of a suite that passed."""
        suite = SmokeSuite.load(include_root() / "smoke_tests" / self.suite)
        if self.tuning_job is None:
            raise TuningJobFailedError(
                "There is no tuned model to ask: the task before was marked without one. Clear it to have one tuned."
            )
        job = TuningJob.from_json(self.tuning_job)
        if job.tuned_model is None or job.tuned_model.endpoint is None:
            raise TuningJobFailedError(f"there is no endpoint to ask. {job.outcome()}")
        info = ModelTable.load().find(job.base_model or "")
        endpoint = self.hook.endpoint(job.tuned_model.endpoint, info.thinking if info else None)
        report = run_suite(suite, endpoint, name=self.suite)
        self._log(report)
        if not report.passed:
            context["ti"].xcom_push(FAILED_REPORT_KEY, report.to_json())
            failed = "; ".join(result.verdict().rstrip(".") for result in report.results if not result.passed)
            raise SmokeTestFailedError(f"{report.headline()}. {failed}. The model is kept, and not to be used.")
        return report.to_json()

    def _log(self, report: SmokeReport) -> None:
        for result in report.results:
            level = self.log.info if result.passed else self.log.error
            level("%s (%.2f s)", result.verdict(), result.latency_seconds)
        self.log.info("%s", report.headline())
