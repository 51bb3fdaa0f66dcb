from __future__ import annotations

from typing import Any

import pytest

from local_cloud.laptop.run_report import (
    error_events,
    failed_stage,
    failure_reason,
    import_error,
    stage_changes,
    states,
)


def _instance(stage: str, state: str | None, start: str | None = None, duration: float | None = None) -> dict[str, Any]:
    """The fields that matter of an entry of Airflow's ``task_instances``."""
    return {"task_id": stage, "state": state, "start_date": start, "duration": duration, "try_number": 1}


# What Airflow 3.3 answers for the log of a task that raised one error from another, shortened.
LOG: list[dict[str, Any] | str] = [
    {"event": "::group::Log message source details"},
    {"event": "/airflow/logs/dag_id=d/run_id=r/task_id=validate/attempt=1.log"},
    {"timestamp": "2026-11-22T10:49:57Z", "event": "Filling up the DagBag", "level": "info"},
    {"timestamp": "2026-11-22T10:49:57Z", "event": "train.jsonl:3: role is 'assistant'", "level": "error"},
    {
        "timestamp": "2026-11-22T10:49:57Z",
        "event": "Task failed with exception",
        "level": "error",
        "error_detail": [
            {"exc_type": "AirflowFailException", "exc_value": "the dataset is rejected: 1 error", "is_cause": False},
            {"exc_type": "KeyError", "exc_value": "'role'", "is_cause": True},
        ],
    },
    {"timestamp": "2026-11-22T10:49:57Z", "event": "::endgroup::", "level": "info"},
]


class TestStageChanges:
    def test_each_change_is_told_once(self) -> None:
        first = [_instance("validate", "running", "10:00"), _instance("upload", None)]
        assert stage_changes({}, first) == [("validate", "running")]
        assert stage_changes(states(first), first) == []

    def test_stages_are_told_in_the_order_they_started(self) -> None:
        now = [_instance("upload", "running", "10:02"), _instance("validate", "success", "10:01", 1.25)]
        assert stage_changes({}, now) == [("validate", "done in 1.2 s"), ("upload", "running")]

    @pytest.mark.parametrize("state", [None, "scheduled", "queued", "upstream_failed"])
    def test_states_that_say_nothing_new_are_left_out(self, state: str | None) -> None:
        assert stage_changes({"wait": "before"}, [_instance("wait", state)]) == []

    def test_a_wait_is_not_told_as_a_second_run(self) -> None:
        assert stage_changes({"wait": "deferred"}, [_instance("wait", "running")]) == [("wait", "woken up")]

    def test_a_state_this_release_does_not_know_is_shown_as_it_is(self) -> None:
        assert stage_changes({}, [_instance("wait", "awaiting_input")]) == [("wait", "awaiting_input")]


def test_the_failed_stage_is_the_one_that_failed_not_those_behind_it() -> None:
    instances = [
        _instance("submit", "upstream_failed", "10:00"),
        _instance("upload", "failed", "10:02"),
        _instance("validate", "failed", "10:01"),
    ]
    failed = failed_stage(instances)
    assert failed
    assert failed["task_id"] == "validate"
    assert failed_stage([_instance("validate", "success")]) is None


def test_the_reason_is_the_error_that_was_raised_not_what_caused_it() -> None:
    assert failure_reason(LOG) == "the dataset is rejected: 1 error"


def test_an_error_without_a_message_is_named_by_its_type() -> None:
    event = {"event": "Task failed", "level": "error", "error_detail": [{"exc_type": "ValueError", "exc_value": ""}]}
    assert failure_reason([event]) == "ValueError without a message"


def test_without_an_exception_the_last_error_is_the_reason() -> None:
    assert failure_reason(LOG[:4]) == "train.jsonl:3: role is 'assistant'"
    assert "may have been killed" in failure_reason([])
    assert "may have been killed" in failure_reason(["a line of plain text"])


def test_error_events_are_the_reports_before_the_exception() -> None:
    assert error_events(LOG) == ["train.jsonl:3: role is 'assistant'"]


def test_import_errors_are_told_by_file_and_last_line() -> None:
    trace = 'Traceback (most recent call last):\n  File "x"\nConfigError: a.yaml: bucket: missing\n\n'
    assert import_error([{"filename": "dags/p.py", "stack_trace": trace}]) == (
        "dags/p.py: ConfigError: a.yaml: bucket: missing"
    )
    assert import_error([]) is None
