"""``gemini-tuning``: the same checks and calls from a terminal, without Airflow.

Exit status: 0 = accepted or passed, 1 = rejected or failed verdict, 2 = wrong usage or unusable input. Results go to
stdout (with ``--format json`` one document and nothing else), progress and errors to stderr.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gemini_tuning import cli_google
from gemini_tuning.dataset.check import check_dataset
from gemini_tuning.dataset.report import DatasetReport
from gemini_tuning.errors import GeminiTuningError
from gemini_tuning.pipeline import Hyperparameters, PipelineConfig
from gemini_tuning.smoke.suite import SmokeSuite
from gemini_tuning.tuning.models import ModelTable, check_tunable

ACCEPTED, REJECTED, UNUSABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        command: Callable[[argparse.Namespace], int] = parsed.command
        return command(parsed)
    except GeminiTuningError as error:
        print(f"gemini-tuning: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("gemini-tuning: stopped", file=sys.stderr)
        return 130


def show(parsed: argparse.Namespace, document: Any, text: str) -> None:
    """Print a result in the format asked for."""
    print(json.dumps(document, indent=2, ensure_ascii=False) if parsed.format == "json" else text)


def validate(parsed: argparse.Namespace) -> int:
    """Check a dataset and print its report."""
    if parsed.smoke_suite:
        SmokeSuite.load(Path(parsed.smoke_suite))
    report = _check(parsed)
    findings = [f"error    {finding}" for finding in report.errors]
    findings += [f"warning  {finding}" for finding in report.warnings]
    if report.truncated:
        findings.append(f"Only the first findings of each code are listed; all are counted: {report.counts.by_code}")
    show(parsed, report.to_json(), "\n".join([*findings, report.headline(), f"Estimated cost: {report.estimate}"]))
    return ACCEPTED if report.accepted else REJECTED


def estimate(parsed: argparse.Namespace) -> int:
    """Print what tuning on a dataset would be billed."""
    report = _check(parsed)
    if report.estimate is None or not report.accepted:
        print(f"gemini-tuning: {report.headline()}; see 'gemini-tuning validate'.", file=sys.stderr)
        return REJECTED
    rule = "Billed are the training tokens times the epochs; tokens are estimated from characters, four to one."
    show(parsed, report.estimate.to_json(), f"{report.estimate}\n{rule}")
    return ACCEPTED


def check_pipelines(parsed: argparse.Namespace) -> int:
    """Check pipeline files; every fault of every file is printed."""
    status = ACCEPTED
    for file in parsed.files:
        try:
            pipeline = PipelineConfig.load(Path(file))
            print(f"{file}: good, becomes the Dag {pipeline.dag_id}")
        except GeminiTuningError as error:
            print(error)
            status = REJECTED
    return status


def _check(parsed: argparse.Namespace) -> DatasetReport:
    models = ModelTable.load()
    for warning in check_tunable(models, parsed.model, None, None, dt.datetime.now(dt.UTC).date()):
        print(f"gemini-tuning: {warning}", file=sys.stderr)
    return check_dataset(
        parsed.train,
        getattr(parsed, "validation", None),
        base_model=parsed.model,
        epochs=Hyperparameters.from_json({"epochs": parsed.epochs}).epochs,
        models=models,
        root=None,
        storage=lambda: cli_google.storage(parsed.project),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gemini-tuning", description="Tune Gemini models on Vertex AI, with care.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    dataset = argparse.ArgumentParser(add_help=False)
    dataset.add_argument("train", metavar="TRAIN", help="JSONL file, or gs://bucket/path/file.jsonl")
    dataset.add_argument("--model", required=True, metavar="ID", help="base model, such as gemini-2.5-flash")
    dataset.add_argument("--epochs", type=int, metavar="N", help="planned epochs, for the estimate")
    dataset.add_argument("--project", help="Google Cloud project, for gs:// files")

    formats = argparse.ArgumentParser(add_help=False)
    formats.add_argument("--format", choices=("text", "json"), default="text")

    command = _add(commands, "validate", validate, "check a dataset before anything is paid for", dataset, formats)
    command.add_argument("--validation", metavar="FILE", help="the validation file")
    command.add_argument("--smoke-suite", metavar="FILE", help="check this suite file too")
    _add(commands, "estimate", estimate, "tokens and cost of a tuning job", dataset, formats)

    pipeline = commands.add_parser("pipeline", help="work on pipeline files").add_subparsers(required=True)
    checker = _add(pipeline, "check", check_pipelines, "check pipeline files")
    checker.add_argument("files", nargs="+", metavar="FILE")

    cli_google.add_commands(commands, formats, show)
    return parser


def _add(
    commands: Any,
    name: str,
    command: Callable[[argparse.Namespace], int],
    help_: str,
    *parents: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help_, description=help_, parents=list(parents))
    parser.set_defaults(command=command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
