"""Lets the reaper see to what only it can catch."""

from __future__ import annotations

import time
import uuid

from tests.chaos.plan import DAGS, LOCATIONS
from tests.chaos.stage_api import Dags
from tests.end_to_end.rehearsal import Rehearsal

REAPER = "reap_tuning_jobs"
REAP_SECONDS = 180.0
ENDING_SECONDS = 30.0


def reap(stage: Rehearsal, dags: Dags) -> list[str]:
    """Run the reaper once over all locations, and return what it said of the jobs it found."""
    stage.cloud.control("DELETE", "faults")
    stage.settings(list_lag_seconds=0)
    alive = {job["name"] for job in stage.living()}
    if not alive:
        return []
    run_id = f"reap-{uuid.uuid4().hex[:8]}"
    conf = {
        "dry_run": False,
        "grace_minutes": 0,
        "places": [{"location": location} for location in LOCATIONS],
        "also_ask": list(DAGS),
    }
    dags.unpause(REAPER)
    dags.start(REAPER, run_id, conf)
    deadline = time.monotonic() + REAP_SECONDS
    while (run := dags.run(REAPER, run_id)) and run["state"] not in {"success", "failed"}:
        if time.monotonic() > deadline:
            break
        time.sleep(1)
    while stage.living() and time.monotonic() < deadline + ENDING_SECONDS:
        time.sleep(1)
        if run and run["state"] in {"success", "failed"}:
            deadline = min(deadline, time.monotonic())
    found = dags.below(REAPER, run_id, "/taskInstances/reap/xcomEntries/return_value")
    report = (found or {}).get("value") or {}
    verdicts = report.get("verdicts", []) if isinstance(report, dict) else []
    return [f"{one['job']}: {one['fate']}. {one['why']}" for one in verdicts] or [
        f"{name}: the reaper said nothing" for name in alive
    ]
