"""Put the run's results on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gemini_tuning.dataset.reports.report import DatasetReport
from gemini_tuning.dataset.upload import UploadedDatasets
from gemini_tuning.errors import GeminiTuningError
from gemini_tuning.operators.base import GeminiTuningOperator
from gemini_tuning.smoke.report import SmokeReport
from gemini_tuning.summary import summarise
from gemini_tuning.tuning.metrics import Metrics
from gemini_tuning.tuning.spec import TuningJob

if TYPE_CHECKING:
    from airflow.sdk import Context


class SummariseRunOperator(GeminiTuningOperator):
    """Log and return the ``RunSummary``: dataset, cost, objects, job, model, endpoint, losses, verdicts.

    :param report: the ``DatasetReport`` (templated).
    :param datasets: the ``UploadedDatasets`` (templated).
    :param tuning_job: the ``TuningJob`` as it ended (templated).
    :param smoke_report: the ``SmokeReport`` (templated).
    :param purchase: who has paid for the job, in words (templated).
    """

    template_fields: ClassVar[Sequence[str]] = (
        *GeminiTuningOperator.template_fields,
        "report",
        "datasets",
        "tuning_job",
        "smoke_report",
        "purchase",
    )

    def __init__(
        self,
        *,
        report: dict[str, Any],
        datasets: dict[str, Any],
        tuning_job: dict[str, Any],
        smoke_report: dict[str, Any],
        purchase: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report = report
        self.datasets = datasets
        self.tuning_job = tuning_job
        self.smoke_report = smoke_report
        self.purchase = purchase

    def run_stage(self, context: Context) -> dict[str, Any]:
        """Return the summary."""
        job = TuningJob.from_json(self.tuning_job)
        datasets = UploadedDatasets.from_json(self.datasets)
        summary = summarise(
            DatasetReport.from_json(self.report),
            datasets.train,
            datasets.validation,
            job,
            self._metrics(job),
            SmokeReport.from_json(self.smoke_report),
            self.purchase,
        )
        self.log.info("Run summary\n%s", summary.text())
        return summary.to_json()

    def _metrics(self, job: TuningJob) -> Metrics:
        try:
            return self.hook.metrics(job)
        except GeminiTuningError as error:
            self.log.warning("The curves are left out: %s", error)  # no reason to fail a run that has proved itself
            return Metrics()
