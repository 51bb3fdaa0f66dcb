"""Chaos: ``python -m tests.chaos [SEED [RUNS]]``, by hand; minutes long.

Pipelines run in a real Airflow against the local Vertex AI while everything that can go wrong does, as a plan made from
the seed says (``plan``). At the end the service's ledger is compared with what Airflow says (``verdict``): the table
must show no violation, or the exit status is 1. What the stage wrote is left in ``.local/chaos``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from tests.chaos.collecting import collect
from tests.chaos.conductor import Conductor
from tests.chaos.plan import REQUEST_SECONDS, SETTLE_SECONDS, make_plan
from tests.chaos.reaping import reap
from tests.chaos.report import story, table
from tests.chaos.verdict import judge
from tests.end_to_end.rehearsal import rehearsal
from tests.local_cloud.services import wait_until

from gemini_tuning.settings import REQUEST_VARIABLE, RETRY_VARIABLE, SETTLE_VARIABLE

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".local" / "chaos"
STAGE = Path(__file__).with_name("stage")
RUNS = 200
SETTINGS = {
    SETTLE_VARIABLE: str(SETTLE_SECONDS),
    REQUEST_VARIABLE: str(REQUEST_SECONDS),
    RETRY_VARIABLE: "3",  # so that an API server is back before the few tries of a short task are used up
    "PYTHONPATH": os.pathsep.join(map(str, (STAGE, PROJECT / "plugins"))),
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",  # nobody changes a Dag
}
# a surplus job must be found while it lives
CLOUD = ("--pending-seconds", str(SETTLE_SECONDS + REQUEST_SECONDS))


def main(seed: int, runs: int) -> int:
    """Perform the plan of a seed; return the exit status."""
    plan = make_plan(seed, runs)
    say(f"seed {seed}: {len(plan.runs)} runs of {len(plan.purchases)} purchases, {len(plan.blows)} blows; {FOLDER}")
    shutil.rmtree(FOLDER, ignore_errors=True)
    began = time.monotonic()
    with rehearsal(FOLDER, extra_env=SETTINGS, cloud_options=CLOUD) as stage:
        shutil.copy(STAGE / "chaotic_pipelines.py", stage.stack.settings.dags)
        wait_until(lambda: stage.stack.api.find("/dags/chaos_whole") is not None, 120, "the Dags to be read")
        say(f"The stage is up after {time.monotonic() - began:.0f} s.")
        conductor = Conductor(stage, plan, say)
        conductor.perform()
        reaped = reap(stage, conductor.dags)
        evidence = collect(conductor)
        figures = {
            "requests": f"{len(stage.cloud.requests())}",
            "live jobs that only the reaper found": f"{len(reaped)}",
            "wall time": f"{time.monotonic() - began:.0f} s",
        }
    verdict = judge(evidence)
    lines = list(table(verdict, evidence, conductor.counts, figures))
    for line in reaped:
        lines += [f"reaped: {line}"]
    for violation in verdict.violations:
        lines += ["", *story(violation, evidence)]
    say("\n".join(lines))
    (FOLDER / "report.txt").write_text("\n".join(lines) + "\n")
    (FOLDER / "evidence.json").write_text(json.dumps(dataclasses.asdict(evidence), default=sorted, indent=1))
    return 1 if verdict.violations else 0


def say(text: str) -> None:
    """Tell it at once, also through a pipe."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    seed = given[0] if given else random.SystemRandom().randrange(10**6)
    sys.exit(main(seed, given[1] if given[1:] else RUNS))
