"""The one page about a finished run: what went in, what was bought, what came out, and whether it holds up."""

from __future__ import annotations

from gemini_tuning.dataset.reports.report import DatasetReport, Estimate
from gemini_tuning.dataset.upload import UploadedDataset
from gemini_tuning.smoke.report import SmokeReport
from gemini_tuning.tuning.dropped import Dropped, dropped_of
from gemini_tuning.tuning.metrics import TRAIN_LOSS, VALIDATION_LOSS, Metrics, Point
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.values import Value


class LossSpan(Value):
    """The first and the last point of a loss curve."""

    first: Point
    last: Point

    def __str__(self) -> str:
        """Return both points."""
        return f"{self.first.value:.4f} (step {self.first.step}) → {self.last.value:.4f} (step {self.last.step})"


class SmokeVerdict(Value):
    """One smoke test's verdict, without its prompt and answer."""

    description: str
    passed: bool


class RunSummary(Value):
    """What the last task of a run publishes."""

    dataset: str
    training_examples: int
    validation_examples: int
    warnings: int
    estimate: Estimate | None
    training_uri: str
    validation_uri: str | None
    base_model: str | None
    purchase: str | None
    tuning_job: str
    console_url: str
    billable_tokens_per_epoch: int | None
    dropped: Dropped | None
    tuned_model: str | None
    endpoint: str | None
    train_loss: LossSpan | None
    validation_loss: LossSpan | None
    smoke_tests: tuple[SmokeVerdict, ...]
    passed: bool

    def text(self) -> str:
        """Return the summary as aligned lines."""
        rows = [
            ("Dataset", self.dataset),
            ("Estimated cost", str(self.estimate) if self.estimate else "unknown"),
            ("Tokens per epoch", self._tokens()),
            *([("Left out", self.dropped.sentence())] if self.dropped else []),
            ("Training data", self.training_uri),
            ("Validation data", self.validation_uri or "none"),
            *([("Purchase", self.purchase)] if self.purchase else []),
            ("Tuning job", self.tuning_job),
            ("Tuned model", self.tuned_model or "none"),
            ("Endpoint", self.endpoint or "none"),
            ("Train loss", str(self.train_loss or "not recorded")),
            ("Validation loss", str(self.validation_loss or "not recorded")),
            *(("Smoke test", f"{'passed' if t.passed else 'FAILED'}  {t.description}") for t in self.smoke_tests),
            ("Console", self.console_url),
        ]
        return "\n".join(f"{label:<16} {text}" for label, text in rows)

    def _tokens(self) -> str:
        """Return what was estimated and what the service counted, side by side."""
        estimated = self.estimate.tokens_per_epoch if self.estimate else None
        billable = self.billable_tokens_per_epoch
        words = [
            "not estimated" if estimated is None else f"{estimated:,} estimated",
            "billable ones not told" if billable is None else f"{billable:,} billable",
        ]
        if estimated and billable:
            words.append(f"{billable / estimated - 1:+.1%}")
        return ", ".join(words)


def summarise(
    report: DatasetReport,
    train: UploadedDataset,
    validation: UploadedDataset | None,
    job: TuningJob,
    metrics: Metrics,
    smoke: SmokeReport,
    purchase: str | None = None,
) -> RunSummary:
    """Put the stages' results side by side."""
    tuned = job.tuned_model
    return RunSummary(
        dataset=report.headline(),
        training_examples=report.train.examples,
        validation_examples=report.validation.examples if report.validation else 0,
        warnings=report.counts.warnings,
        estimate=report.estimate,
        training_uri=train.uri,
        validation_uri=validation.uri if validation else None,
        base_model=job.base_model,
        purchase=purchase,
        tuning_job=job.name,
        console_url=job.console_url,
        billable_tokens_per_epoch=job.billable_tokens,
        dropped=dropped_of(job, report.train),
        tuned_model=tuned.model if tuned else None,
        endpoint=tuned.endpoint if tuned else None,
        train_loss=_span(metrics, TRAIN_LOSS),
        validation_loss=_span(metrics, VALIDATION_LOSS),
        smoke_tests=tuple(SmokeVerdict(description=r.description, passed=r.passed) for r in smoke.results),
        passed=smoke.passed,
    )


def _span(metrics: Metrics, name: str) -> LossSpan | None:
    first, last = metrics.first(name), metrics.last(name)
    return LossSpan(first=first, last=last) if first and last else None
