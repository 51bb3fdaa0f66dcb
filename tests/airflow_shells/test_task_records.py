"""The record store over Airflow's own accessor; only the pipe to its supervisor is replaced."""

from __future__ import annotations

import uuid

import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import (
    ErrorResponse,
    GetTaskStateStore,
    SetTaskStateStore,
    TaskStateStoreResult,
)
from airflow.sdk.execution_time.context import TaskStateStoreAccessor

from gemini_tuning.airflow_state import TaskRecords
from gemini_tuning.tuning.buying import RECORD_NAME


class Supervisor:
    """Keeps what it is told, as the API server does."""

    def __init__(self):
        self.rows, self.expiries = {}, {}

    def send(self, message):
        if isinstance(message, SetTaskStateStore):
            self.rows[message.key], self.expiries[message.key] = message.value, message.expires_at
            return None
        assert isinstance(message, GetTaskStateStore)
        if message.key not in self.rows:
            return ErrorResponse(error=ErrorType.TASK_STORE_NOT_FOUND)
        return TaskStateStoreResult(value=self.rows[message.key])


@pytest.fixture
def supervisor(monkeypatch):
    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.fixture
def records(supervisor):
    return TaskRecords({"task_state_store": TaskStateStoreAccessor(uuid.uuid4(), None)})


def test_what_was_never_set_is_none(records):
    assert records.get(RECORD_NAME) is None


def test_what_was_set_is_kept_and_never_expires(records, supervisor):
    records.set(RECORD_NAME, {"attempt": 1, "job": None})
    assert records.get(RECORD_NAME) == {"attempt": 1, "job": None}
    assert supervisor.expiries == {RECORD_NAME: None}


def test_without_never_expire_airflow_would_forget_it(supervisor):
    TaskStateStoreAccessor(uuid.uuid4(), None).set("other", 1)
    assert supervisor.expiries["other"] is not None
