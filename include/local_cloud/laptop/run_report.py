"""What to tell about a Dag run: pure functions from the REST API's answers to lines of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Airflow's words for the states of a task instance, in the words of somebody who watches; others are shown as they are.
_WORDS = {
    "scheduled": None,  # on its way: not worth a line
    "queued": None,
    "running": "running",
    "success": "done",
    "failed": "FAILED",
    "deferred": "waiting in the triggerer, no worker occupied",
    "up_for_reschedule": "waiting between two looks, no worker occupied",
    "up_for_retry": "failed, will be tried again",
    "upstream_failed": None,  # the failure before it has its own line
    "skipped": "skipped",
}


def stage_changes(before: Mapping[str, str | None], instances: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """``(stage, what happened)`` for each task instance whose state differs from ``before``.

    :param before: state by task id, as last seen.
    :param instances: ``task_instances`` of ``GET /dags/…/dagRuns/…/taskInstances``.
    """
    changes = []
    for instance in sorted(instances, key=_order):
        stage, state = instance["task_id"], instance["state"]
        if before.get(stage) == state or (words := _WORDS.get(state, state) if state else None) is None:
            continue
        # After a wait the task runs once more, for a moment, to take the result.
        if state == "running" and before.get(stage) in {"deferred", "up_for_reschedule"}:
            words = "woken up"
        if state in {"success", "failed"} and instance.get("duration") is not None:
            words += f" in {instance['duration']:.1f} s"
        changes.append((stage, words))
    return changes


def states(instances: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """State by task id."""
    return {instance["task_id"]: instance["state"] for instance in instances}


def failed_stage(instances: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The task instance that failed first; the ones behind it are only ``upstream_failed``."""
    failed = [instance for instance in instances if instance["state"] == "failed"]
    return min(failed, key=_order) if failed else None


def failure_reason(content: Sequence[Mapping[str, Any] | str]) -> str:
    """The sentence for which a task failed, out of its log.

    :param content: ``content`` of ``GET …/taskInstances/{task}/logs/{try}`` as JSON: one object per event, the
        exception of an event in ``error_detail``, its causes behind it.
    """
    errors = [event for event in content if isinstance(event, Mapping) and _is_error(event)]
    for event in reversed(errors):
        for detail in event.get("error_detail") or []:
            if value := str(detail.get("exc_value") or "").strip():
                return value
            if kind := detail.get("exc_type"):
                return f"{kind} without a message"
    return str(errors[-1].get("event", "")).strip() if errors else "its log has no error; it may have been killed"


def error_events(content: Sequence[Mapping[str, Any] | str]) -> list[str]:
    """Each error-level message of a log, in order, without the exception that ended the task."""
    return [
        str(event.get("event", "")).strip()
        for event in content
        if isinstance(event, Mapping) and _is_error(event) and not event.get("error_detail")
    ]


def import_error(errors: Sequence[Mapping[str, Any]]) -> str | None:
    """One sentence on why Dag files could not be loaded, or None when all could.

    :param errors: ``import_errors`` of ``GET /importErrors``.
    """
    sentences = [f"{error['filename']}: {_last_line(error['stack_trace'])}" for error in errors]
    return "; ".join(sentences) or None


def _is_error(event: Mapping[str, Any]) -> bool:
    return str(event.get("level", "")).lower() in {"error", "critical"}


def _last_line(trace: str) -> str:
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _order(instance: Mapping[str, Any]) -> str:
    return instance.get("start_date") or "9999"
