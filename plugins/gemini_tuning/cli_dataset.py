"""The commands on datasets: ``validate`` and ``estimate``."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gemini_tuning import cli_google
from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.cost import budget
from gemini_tuning.dataset.options import Checks
from gemini_tuning.dataset.reading.progress import Report, to_terminal
from gemini_tuning.dataset.reading.source import in_cloud_storage
from gemini_tuning.dataset.reports.html import report_html
from gemini_tuning.dataset.reports.parts import estimate_rule
from gemini_tuning.dataset.reports.quarantine import RejectedLine, check_target, write_quarantine
from gemini_tuning.dataset.reports.report import DatasetReport, plural
from gemini_tuning.dataset.reports.text import report_text, wants_colour
from gemini_tuning.errors import ConfigError, UnusableInputError
from gemini_tuning.pipeline import Hyperparameters
from gemini_tuning.smoke.suite import SmokeSuite
from gemini_tuning.tuning.models import ModelTable, check_tunable

ACCEPTED, REJECTED, UNUSABLE = 0, 1, 2
_CHECK = "check a dataset before anything is paid for"
_EPILOG = (
    "Exit status: 0 = accepted, 1 = rejected, 2 = wrong usage or unusable input. "
    "What is looked for, code by code, is in include/datasets/README.md."
)


def add_commands(commands: Any, formats: argparse.ArgumentParser, show: cli_google.Show) -> None:
    """Add ``validate`` and ``estimate``.

    :param show: prints a result in the format asked for.
    """
    where = "JSONL file, or gs://bucket/path/file.jsonl"
    dataset = argparse.ArgumentParser(add_help=False)
    dataset.add_argument("--model", required=True, metavar="ID", help="base model, such as gemini-2.5-flash")
    dataset.add_argument("--epochs", type=int, metavar="N", help="planned epochs, for the estimate")
    dataset.add_argument(
        "--exact-tokens",
        action="store_true",
        help="send examples to Vertex AI to have their tokens counted: a sample, and all that may be too long",
    )
    dataset.add_argument("--project", help="Google Cloud project, for gs:// files and --exact-tokens")
    dataset.add_argument("--location", default="us-central1", help="location of the tuning job, for --exact-tokens")

    parser = commands.add_parser(
        "validate", help=_CHECK, description=_CHECK, epilog=_EPILOG, parents=[dataset, formats]
    )
    parser.set_defaults(command=lambda parsed: _validate(parsed, show))
    parser.add_argument("train", nargs="+", metavar="TRAIN", help=f"{where}; each of several is a dataset of its own")
    parser.add_argument("--validation", metavar="FILE", help="the validation file, compared with the training file")
    parser.add_argument(
        "--smoke-suite", metavar="FILE", help="check this suite too: training must not hold its prompts"
    )
    parser.add_argument("--budget-usd", metavar="X", help="reject a dataset whose job is estimated to cost more")
    parser.add_argument(
        "--second-reading",
        action=argparse.BooleanOptionalAction,
        help="look for near-duplicates and the like too (default: where that takes less than a minute)",
    )
    parser.add_argument(
        "--private-data", choices=("warn", "block"), help="look for e-mail addresses, phone and card numbers, keys …"
    )
    parser.add_argument(
        "--severity",
        action="append",
        default=[],
        metavar="CODE=LEVEL",
        help="make a code an error, a warning, or ignore it; may be repeated",
    )
    parser.add_argument("--html", metavar="FILE", help="write the report as a page too")
    parser.add_argument("--quarantine", metavar="FILE", help="write the rejected lines with their reasons to this file")
    parser.add_argument("--force", action="store_true", help="replace these files if they exist")

    help_ = "tokens and cost of a tuning job"
    parser = commands.add_parser("estimate", help=help_, description=help_, parents=[dataset, formats])
    parser.set_defaults(command=lambda parsed: _estimate(parsed, show))
    parser.add_argument("train", metavar="TRAIN", help=where)


def _validate(parsed: argparse.Namespace, show: cli_google.Show) -> int:
    """Check training files, each by itself, and print their reports; the worst one is the exit status."""
    for option in ("validation", "html", "quarantine"):
        if getattr(parsed, option) and len(parsed.train) > 1:
            raise ConfigError(f"--{option} belongs to one training file; name only that one.")
    _check_targets(parsed)
    checks, budget_usd = _checks(parsed), budget(parsed.budget_usd)
    suite = SmokeSuite.load(Path(parsed.smoke_suite)) if parsed.smoke_suite else None
    prompts = [test.prompt for test in suite.tests] if suite else []
    models = _models(parsed)
    aside = _Quarantine(parsed) if parsed.quarantine else None
    reports, status = [], ACCEPTED
    for train in parsed.train:
        try:
            report = _check(
                parsed, train, models, checks=checks, budget_usd=budget_usd, smoke_prompts=prompts, rejected=aside
            )
        except UnusableInputError as error:
            print(f"gemini-tuning: {error}", file=sys.stderr)
            status = UNUSABLE
            continue
        reports.append(report)
        status = status if report.accepted else max(status, REJECTED)
        if parsed.format == "text":
            print("\n" * (len(reports) > 1) + report_text(report, colour=wants_colour(sys.stdout)))
    if parsed.format == "json" and reports:
        documents = [report.to_json() for report in reports]
        show(parsed, documents if len(parsed.train) > 1 else documents[0], "")
    if parsed.html and reports:
        _write(parsed.html, report_html(reports[0], base_model=parsed.model, models=models))
    if aside is not None:
        aside.tell(status == ACCEPTED)
    return status


def _estimate(parsed: argparse.Namespace, show: cli_google.Show) -> int:
    """Print what tuning on a dataset would be billed."""
    report = _check(
        parsed, parsed.train, _models(parsed), checks=Checks(second_reading=False, exact_tokens=parsed.exact_tokens)
    )
    if report.estimate is None or not report.accepted:
        print(f"gemini-tuning: {report.headline()}; see 'gemini-tuning validate'.", file=sys.stderr)
        return REJECTED
    notes = [note for note in report.notes if "second time" not in note]  # nobody expects that of an estimate
    show(parsed, report.estimate.to_json(), "\n".join([str(report.estimate), estimate_rule(report.estimate), *notes]))
    return ACCEPTED


class _Quarantine:
    """Writes the rejected lines as the check yields them; a failure is told after the report, which is worth more."""

    def __init__(self, parsed: argparse.Namespace) -> None:
        self._target, self._inputs, self._force = Path(parsed.quarantine), _inputs(parsed), parsed.force
        self._outcome: str | UnusableInputError = ""
        self._empty = False

    def __call__(self, lines: Iterator[RejectedLine]) -> None:
        try:
            written = write_quarantine(self._target, lines, inputs=self._inputs, force=self._force)
        except UnusableInputError as error:
            self._outcome = error
        else:
            set_aside = plural(written, "rejected line")
            self._outcome = f"{self._target}: {set_aside} with {'its' if written == 1 else 'their'} reasons"
            self._empty = not written

    def tell(self, accepted: bool) -> None:
        """Say what became of it.

        :param accepted: whether the dataset is.
        :raises UnusableInputError: when it couldn't be written.
        """
        if isinstance(self._outcome, UnusableInputError):
            raise self._outcome
        if self._empty:
            why = "no line is rejected" if accepted else "what is rejected is the dataset as a whole, no single line"
            self._outcome = f"{self._target}: is empty, for {why}"
        if self._outcome:
            print(f"gemini-tuning: {self._outcome}", file=sys.stderr)


def _checks(parsed: argparse.Namespace) -> Checks:
    severities = {}
    for choice in parsed.severity:
        code, equals, severity = choice.partition("=")
        if not equals:
            raise ConfigError(f"--severity {choice}: write CODE=LEVEL, such as duplicate-example=error.")
        severities[code] = severity
    return Checks.from_json({
        "severities": severities,
        "second_reading": parsed.second_reading,
        "exact_tokens": parsed.exact_tokens,
        "private_data": {"found": parsed.private_data} if parsed.private_data else None,
    })


def _inputs(parsed: argparse.Namespace) -> list[Path]:
    named = [*parsed.train, parsed.validation, parsed.smoke_suite]
    return [Path(name) for name in named if name and not in_cloud_storage(name)]


def _check_targets(parsed: argparse.Namespace) -> None:
    """Refuse to write over anything before the check takes its time."""
    for name in (parsed.html, parsed.quarantine):
        if name and in_cloud_storage(name):
            raise ConfigError(f"{name}: is written on this machine; name a local file.")
        if name:
            check_target(Path(name), _inputs(parsed), force=parsed.force)
    if parsed.html and parsed.quarantine and Path(parsed.html).resolve() == Path(parsed.quarantine).resolve():
        raise ConfigError(f"{parsed.html}: --html and --quarantine name one file; name another.")


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnusableInputError(f"{name}: can't be written: {error.strerror or error}; name another.") from None


def _models(parsed: argparse.Namespace) -> ModelTable:
    models = ModelTable.load()
    for warning in check_tunable(models, parsed.model, None, None, dt.datetime.now(dt.UTC).date()):
        print(f"gemini-tuning: {warning}", file=sys.stderr)
    return models


def _check(
    parsed: argparse.Namespace,
    train: str,
    models: ModelTable,
    *,
    checks: Checks,
    budget_usd: float | None = None,
    smoke_prompts: Sequence[str] = (),
    rejected: Callable[[Iterator[RejectedLine]], None] | None = None,
) -> DatasetReport:
    with _progress() as progress:
        return check_dataset(
            train,
            getattr(parsed, "validation", None),
            base_model=parsed.model,
            epochs=Hyperparameters.from_json({"epochs": parsed.epochs}).epochs,
            models=models,
            root=None,
            storage=lambda: cli_google.storage(parsed.project),
            counter=lambda: cli_google.token_counter(parsed, models),
            checks=checks,
            budget_usd=budget_usd,
            smoke_prompts=smoke_prompts,
            rejected=rejected,
            progress=progress,
        )


@contextmanager
def _progress() -> Iterator[Report | None]:
    """Show progress to somebody who sits there, and leave a clean line behind."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        yield to_terminal()
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
