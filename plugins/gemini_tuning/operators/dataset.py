"""Operators on datasets: check, then upload."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.cost import budget
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reports.markdown import report_markdown
from gemini_tuning.dataset.reports.report import DatasetReport
from gemini_tuning.dataset.upload import UploadedDataset, UploadedDatasets, upload_dataset
from gemini_tuning.errors import DatasetRejectedError
from gemini_tuning.operators.base import GeminiTuningOperator
from gemini_tuning.pipeline import Hyperparameters
from gemini_tuning.settings import data_root, include_root
from gemini_tuning.smoke.suite import SmokeSuite
from gemini_tuning.tuning.models import ModelTable, check_tunable

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gemini_tuning.dataset.reports.report import DatasetFile

REJECTED_REPORT_KEY = "rejected_report"
MARKDOWN_KEY = "report_markdown"
LARGEST_REPORT = 150_000  # bytes of JSON as XCom: it goes through the API and a row of Airflow's database


class ValidateDatasetOperator(GeminiTuningOperator):
    """Check everything that can be checked before anything is uploaded or paid for.

    The base model, its adapter size and location, the smoke suite, and both dataset files, which are compared.
    Returns a ``DatasetReport``; a rejected dataset fails the task, its report kept as XCom ``rejected_report``. For
    people, either way, XCom ``report_markdown`` holds it as a page.

    :param train: JSONL below the data root, or ``gs://`` (templated).
    :param validation: the same, or None (templated).
    :param base_model: the model to tune (templated).
    :param hyperparameters: ``epochs``, ``adapter_size``, ``learning_rate_multiplier``; None or unset = the service's
        recommendation (templated).
    :param smoke_suite: suite file that the tuned model will have to pass, read now so that a broken one
        is found before the job is paid for (templated). Its prompts must not be in the training data either.
    :param checks: ``severities``, ``second_reading``, ``exact_tokens``, ``private_data``; see
        ``dataset.options.Checks`` (templated).
    :param budget_usd: a job estimated to cost more is rejected; None = no limit (templated).
    """

    template_fields: ClassVar[Sequence[str]] = (
        *GeminiTuningOperator.template_fields,
        "train",
        "validation",
        "base_model",
        "hyperparameters",
        "smoke_suite",
        "checks",
        "budget_usd",
    )

    def __init__(
        self,
        *,
        train: str,
        validation: str | None = None,
        base_model: str,
        hyperparameters: dict[str, Any] | None = None,
        smoke_suite: str | None = None,
        checks: dict[str, Any] | None = None,
        budget_usd: float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.train = train
        self.validation = validation
        self.base_model = base_model
        self.hyperparameters = hyperparameters
        self.smoke_suite = smoke_suite
        self.checks = checks
        self.budget_usd = budget_usd

    def run_stage(self, context: Context) -> dict[str, Any]:
        """Return the report of an accepted dataset."""
        models = ModelTable.load()
        chosen = Hyperparameters.from_json(self.hyperparameters or {})
        today = dt.datetime.now(dt.UTC).date()
        for warning in check_tunable(models, self.base_model, chosen.adapter_size, self.location, today):
            self.log.warning("%s", warning)
        prompts: Sequence[str] = ()
        if self.smoke_suite:
            suite = SmokeSuite.load(include_root() / "smoke_tests" / self.smoke_suite)
            prompts = [test.prompt for test in suite.tests]
        report = check_dataset(
            self.train,
            self.validation,
            base_model=self.base_model,
            epochs=chosen.epochs,
            models=models,
            root=data_root(),
            storage=lambda: self.hook.storage(),
            counter=lambda: self.hook.token_counter(self.base_model, models.find(self.base_model)),
            checks=Checks.from_json(self.checks or {}),
            budget_usd=budget(self.budget_usd),
            smoke_prompts=prompts,
        )
        self._log(report)
        kept = report.within(LARGEST_REPORT).to_json()
        page = report_markdown(report, base_model=self.base_model, models=models)
        context["ti"].xcom_push(MARKDOWN_KEY, page)
        self.log.info("The whole report:\n\n%s", page)
        if not report.accepted:
            context["ti"].xcom_push(REJECTED_REPORT_KEY, kept)
            raise DatasetRejectedError(
                f"{report.headline()}. Nothing was uploaded or paid for. First: {report.errors[0]}"
            )
        return kept

    def _log(self, report: DatasetReport) -> None:
        for finding in report.errors:
            self.log.error("%s", finding)
        for finding in report.warnings:
            self.log.warning("%s", finding)
        if report.truncated:
            self.log.info("Only the first findings of each code are listed; all are counted: %s", report.counts.by_code)
        self.log.info("%s. Estimated cost: %s.", report.headline(), report.estimate)


class UploadDatasetOperator(GeminiTuningOperator):
    """Put the checked files into Cloud Storage under names made of their content; the same bytes are sent once.

    Returns ``UploadedDatasets``.

    :param report: the ``DatasetReport`` of ``ValidateDatasetOperator`` (templated). Files that changed since are
        refused.
    :param bucket: bucket name without ``gs://`` (templated).
    :param prefix: folder in the bucket (templated).
    :param pipeline: the pipeline's name, part of the object names (templated).
    """

    template_fields: ClassVar[Sequence[str]] = (
        *GeminiTuningOperator.template_fields,
        "report",
        "bucket",
        "prefix",
        "pipeline",
    )

    def __init__(self, *, report: dict[str, Any], bucket: str, prefix: str = "", pipeline: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report = report
        self.bucket = bucket
        self.prefix = prefix
        self.pipeline = pipeline

    def run_stage(self, context: Context) -> dict[str, Any]:
        """Return where both files lie."""
        report = DatasetReport.from_json(self.report)
        client = self.hook.storage()

        def upload(file: DatasetFile) -> UploadedDataset:
            uploaded = upload_dataset(
                client, file, bucket=self.bucket, prefix=self.prefix, pipeline=self.pipeline, root=data_root()
            )
            verb = "Already there" if uploaded.reused else "Uploaded"
            self.log.info("%s: %s#%s (%s bytes)", verb, uploaded.uri, uploaded.generation, uploaded.bytes)
            return uploaded

        validation = upload(report.validation) if report.validation else None
        return UploadedDatasets(train=upload(report.train), validation=validation).to_json()
