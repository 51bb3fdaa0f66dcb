"""The command ``convert``: other formats into Gemini's ``contents``."""

from __future__ import annotations

import argparse
from typing import Any

from gemini_tuning import cli_google
from gemini_tuning.dataset.convert.files import convert_file
from gemini_tuning.dataset.convert.report import ConversionReport
from gemini_tuning.dataset.lines.formats import Format, as_argument
from gemini_tuning.dataset.reading.progress import to_terminal
from gemini_tuning.dataset.reports.parts import visible

AUTO = "auto"
_DESCRIPTION = "convert a dataset in another format into Gemini's contents, and report all that can't be carried over"
_EPILOG = (
    "Exit status: 0 = everything was carried over, 1 = something was lost or refused, 2 = wrong usage or unusable "
    "input. "
    "What each format becomes, and what can't, is in include/datasets/CONVERTING.md."
)


def add_convert(commands: Any, formats: argparse.ArgumentParser, show: cli_google.Show) -> None:
    """Add ``convert``.

    :param show: prints a result in the format asked for.
    """
    parser = commands.add_parser(
        "convert", help=_DESCRIPTION, description=_DESCRIPTION, epilog=_EPILOG, parents=[formats]
    )
    parser.set_defaults(command=lambda parsed: _convert(parsed, show))
    known = [AUTO, *(known.value for known in Format if known.convertible)]
    parser.add_argument("file", metavar="FILE", help="JSONL file, also compressed, or gs://bucket/path/file.jsonl")
    parser.add_argument("--to", required=True, metavar="FILE", help="the file to write")
    parser.add_argument("--from", dest="wanted", choices=known, default=AUTO, help="default: look at each line")
    parser.add_argument(
        "--weights",
        choices=("refuse", "keep"),
        default="refuse",
        help="lines with turns that are not to be learned: refuse them, or keep them though Gemini learns every turn",
    )
    parser.add_argument("--loss-report", metavar="FILE", help="write every loss to this file, one JSON object per line")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--project", help="Google Cloud project, for gs:// files")


def _convert(parsed: argparse.Namespace, show: cli_google.Show) -> int:
    report = convert_file(
        parsed.file,
        parsed.to,
        wanted=None if parsed.wanted == AUTO else Format(parsed.wanted),
        keep_weights=parsed.weights == "keep",
        loss_report=parsed.loss_report,
        force=parsed.force,
        storage=lambda: cli_google.storage(parsed.project),
        progress=to_terminal(),
    )
    show(parsed, report.to_json(), _text(report))
    return 0 if report.complete else 1


def _text(report: ConversionReport) -> str:
    lines = [str(loss) for loss in report.losses]
    if report.truncated:
        counts = ", ".join(f"{code} {count:,}" for code, count in report.counts.items())
        lines.append(f"Only the first of each code are listed, all are counted: {counts}")
    lines.append(report.headline())
    if report.output is not None:
        check = f"gemini-tuning validate {as_argument(report.output)} --model ID"
        correct = (
            "Correct the refused lines and convert again, or check what there is"
            if report.lines.refused
            else "Check it"
        )
        lines.append(f"{correct}: {check}")
    return "\n".join(map(visible, lines))
