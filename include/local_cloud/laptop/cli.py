"""Command line behind the Makefile: ``up``, ``down``, ``demo``, ``demo-rejected``."""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from local_cloud.laptop.airflow_api import AirflowApiError
from local_cloud.laptop.dag_run import DemoError
from local_cloud.laptop.demo import demo, demo_rejected, login_lines
from local_cloud.laptop.narrator import Narrator
from local_cloud.laptop.settings import StackSettings, project_settings
from local_cloud.laptop.stack import attach, start_detached, stop
from local_cloud.laptop.supervisor import StackError, Supervisor

DEMO_DAG = "tune_support_replies"
REJECTED_DAG = "tune_on_demand"
REJECTED_DATA = "support_replies_broken/train.jsonl"
_PIPELINE_SECONDS = 600.0


class Interrupted(BaseException):
    """The user or the system asked this command to end.

    :param number: the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    :return: 0 when it did what it is for, 1 when it failed, 2 for a wrong command line, 128 + signal when ended by one.
    """
    options = _parser().parse_args(arguments)
    if options.command == "supervise":
        return _supervise(options.settings)
    _interrupt_once()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    try:
        return _run(options)
    except Interrupted as interrupted:
        print(f"Interrupted by {signal.Signals(interrupted.number).name}.", file=sys.stderr)
        return 128 + interrupted.number
    except (DemoError, StackError, AirflowApiError) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    settings = project_settings()
    match options.command:
        case "up":
            _up(settings)
        case "down":
            print("Stopped." if stop(settings) else "Nothing was running.")
        case "demo":
            demo(settings, options.dag_id, options.conf, seconds=options.timeout)
        case "demo-rejected":
            conf = options.conf or {"train": REJECTED_DATA, "bucket": settings.buckets[0]}
            demo_rejected(settings, options.dag_id, conf, stage="validate", seconds=options.timeout)
    return 0


def _up(settings: StackSettings) -> None:
    narrator = Narrator()
    stack = attach(settings)
    if stack is None:
        narrator.title(f"Starting the local cloud and Airflow in {settings.state_dir}")
        stack = start_detached(settings, on_progress=narrator.event)
        narrator.event("everything is up")
    else:
        narrator.line("It is running already.")
    narrator.line(f"\n{login_lines(stack)}")
    narrator.line(f"Local Vertex AI: {stack.vertex_url}   local Cloud Storage: {stack.storage_url}")
    narrator.line(f"For the command line: . {settings.env_file}")
    narrator.line("To stop it: make down")


def _supervise(settings: str) -> int:
    from local_cloud.laptop.services import start_stack

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return Supervisor(StackSettings.from_json(settings)).run(start_stack)


def _interrupt_once() -> None:
    """Turn the first signal into ``Interrupted``; while that is being handled, further ones change nothing."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for number in numbers:
        signal.signal(number, interrupt)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_cloud.laptop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the local cloud and Airflow, and leave them running")
    commands.add_parser("down", help="stop what `up` started")
    for name, dag_id, words in (
        ("demo", DEMO_DAG, "run a pipeline and show what came of it"),
        ("demo-rejected", REJECTED_DAG, "run a pipeline on bad data and show its rejection"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("--dag-id", default=dag_id)
        command.add_argument("--conf", type=json.loads, help="values for the Dag's params, a JSON object")
        command.add_argument("--timeout", type=float, default=_PIPELINE_SECONDS, help="seconds the pipeline may take")
    supervise = commands.add_parser("supervise", help="own the stack's processes (used by the others)")
    supervise.add_argument("settings", help="the stack's settings as JSON")
    return parser
