"""When a failed try is followed by another."""

from __future__ import annotations

import datetime as dt

import pytest
import structlog
from airflow.sdk.definitions.retry_policy import RetryAction
from airflow.sdk.exceptions import AirflowFailException

from gemini_tuning.airflow_errors import TransientFault, airflow_errors
from gemini_tuning.errors import CredentialsRefusedError, ServiceRefusedError, TransientError
from gemini_tuning.retries import RetryWhatMayPass
from gemini_tuning.settings import RETRY_VARIABLE


def decide(error, *, try_number=1):
    return RetryWhatMayPass().evaluate(error, try_number, 5)


def fault(**fields):
    """What a task raises for a transient error."""
    with pytest.raises(TransientFault) as caught, airflow_errors(structlog.get_logger()):
        raise TransientError("Creating the tuning job failed.", **fields)
    return caught.value


@pytest.fixture(autouse=True)
def fifteen_seconds(monkeypatch):
    monkeypatch.setenv(RETRY_VARIABLE, "15")


def test_a_broken_connection_is_retried_at_the_pace_of_the_task():
    assert decide(fault()).action is RetryAction.DEFAULT
    assert decide(ValueError("a fault of the program")).action is RetryAction.DEFAULT


@pytest.mark.parametrize(("try_number", "seconds"), [(1, 60), (2, 120), (3, 240), (5, 600)])
def test_a_used_up_quota_is_given_time(try_number, seconds):
    decision = decide(fault(code=429), try_number=try_number)
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, dt.timedelta(seconds=seconds))


def test_nothing_is_asked_before_the_service_wants_it():
    assert decide(fault(code=429, retry_after=900.0)).retry_delay == dt.timedelta(seconds=900)
    assert decide(fault(code=503, retry_after=40.0)).retry_delay == dt.timedelta(seconds=40)


def test_a_pause_is_never_shorter_than_the_tasks_own():
    assert decide(fault(code=503, retry_after=1.0), try_number=2).retry_delay == dt.timedelta(seconds=30)


def test_what_stays_wrong_fails_at_once():
    with pytest.raises(AirflowFailException, match="no role"), airflow_errors(structlog.get_logger()):
        raise ServiceRefusedError("no role", 403)


def test_refused_credentials_are_loaded_anew_by_the_next_try():
    with pytest.raises(TransientFault, match="not accepted") as caught, airflow_errors(structlog.get_logger()):
        raise CredentialsRefusedError("The credentials were not accepted.")
    assert decide(caught.value).action is RetryAction.DEFAULT
