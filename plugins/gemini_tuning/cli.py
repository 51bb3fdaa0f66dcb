"""``gemini-tuning``: the same checks and calls from a terminal, without Airflow.

Exit status: 0 = accepted or passed, 1 = rejected or failed verdict, 2 = wrong usage or unusable input. Results go to
stdout (with ``--format json`` one document and nothing else), progress and errors to stderr.
"""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gemini_tuning import cli_convert, cli_dataset, cli_google
from gemini_tuning.cli_dataset import ACCEPTED, REJECTED, UNUSABLE
from gemini_tuning.errors import GeminiTuningError
from gemini_tuning.pipeline import PipelineConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an answer in escapes is better than none
    if sys.stderr is None:  # closed; what is meant for it would be printed on stdout
        sys.stderr = io.StringIO()
    parsed = _parser().parse_args(arguments)
    if sys.stdout is None:
        _tell("stdout is closed, so that nothing can be answered; leave it open, or redirect it to a file.")
        return UNUSABLE
    try:
        command: Callable[[argparse.Namespace], int] = parsed.command
        status = command(parsed)
        print(end="", flush=True)
        return status
    except GeminiTuningError as error:
        _tell(str(error))
        return UNUSABLE
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        _forget_output()
        return 141
    except OSError as error:  # of inputs and files to write, each is told where it is met
        place = os.fsdecode(error.filename) if error.filename else "can't go on"
        _tell(f"{place}: {error.strerror or error}; look where the output and temporary files go.")
        _forget_output()
        return UNUSABLE
    except ModuleNotFoundError as error:
        advice = "install the whole package: pip install 'gemini-tuning[airflow]'"
        _tell(f"this command needs {error.name}, which isn't installed; {advice}.")
        return UNUSABLE
    except KeyboardInterrupt:
        _tell("stopped")
        return 130


def _tell(sentence: str) -> None:
    with suppress(OSError):  # there is nobody left to tell
        print(f"gemini-tuning: {sentence}", file=sys.stderr)


def _forget_output() -> None:
    """Keep the interpreter from failing at its end to write what is left."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(parsed: argparse.Namespace, document: Any, text: str) -> None:
    """Print a result in the format asked for."""
    if parsed.format == "json":
        # escapes that stand for what an encoding lacks would be no JSON
        plain = codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8"
        text = json.dumps(document, indent=2, ensure_ascii=plain)
    print(text)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gemini-tuning", description="Tune Gemini models on Vertex AI, with care.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    formats = argparse.ArgumentParser(add_help=False)
    formats.add_argument("--format", choices=("text", "json"), default="text")

    cli_dataset.add_commands(commands, formats, show)
    pipeline = commands.add_parser("pipeline", help="work on pipeline files").add_subparsers(required=True)
    help_ = "check pipeline files"
    checker = pipeline.add_parser("check", help=help_, description=help_)
    checker.set_defaults(command=check_pipelines)
    checker.add_argument("files", nargs="+", metavar="FILE")

    cli_convert.add_convert(commands, formats, show)
    cli_google.add_commands(commands, formats, show)
    return parser


if __name__ == "__main__":
    sys.exit(main())
