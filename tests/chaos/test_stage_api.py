from __future__ import annotations

import pytest
from tests.chaos import stage_api
from tests.chaos.stage_api import insist

from local_cloud.laptop.airflow_api import AirflowApiError


def fails(*errors):
    """Return a call that raises each error once, then answers."""
    left = list(errors)

    def call():
        if left:
            raise left.pop(0)
        return "answer"

    return call


def refused(status):
    return AirflowApiError(f"POST /api/v2/dags/d/dagRuns: {status} because", status)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(stage_api, "PAUSE_SECONDS", 0)


@pytest.mark.parametrize("error", [refused(None), refused(500), refused(503)])
def test_an_api_server_that_is_away_is_asked_again(error):
    assert insist(fails(error, error)) == "answer"


@pytest.mark.parametrize("status", [404, 409])
def test_what_is_gone_is_gone(status):
    assert insist(fails(refused(status))) is None


def test_a_refusal_is_an_error():
    with pytest.raises(AirflowApiError, match="422"):
        insist(fails(refused(422)))
