"""Requests break on their way, and a new job is missing from the service's list for half a minute.

All runs go through one Airflow at the same time, each in a location of its own, where its requests are broken.
"""

from __future__ import annotations

import pytest
from tests.end_to_end.rehearsal import (
    BOUGHT_ONCE,
    PATIENCE_SECONDS,
    TUNE_ONLY,
    TUNE_ONLY_IMPATIENT,
    TUNE_ONLY_RESCHEDULED,
    rehearsal,
)

from gemini_tuning.settings import REQUEST_VARIABLE, SETTLE_VARIABLE
from gemini_tuning.tuning.marks import Mark

LAG_SECONDS = 30
PATIENT = {SETTLE_VARIABLE: "33", REQUEST_VARIABLE: "3", "AIRFLOW__CORE__PARALLELISM": "16"}  # most of them only wait
LONGER_THAN_A_CLIENT_WAITS = 65
FAULTS = {
    "connection cut before anything was done": {"drop": True},
    "connection cut after the job was made": {"drop": True, "when": "after"},
    "500 after the job was made": {"status": 500, "when": "after"},
    "503 after the job was made": {"status": 503, "when": "after"},
    "no answer in time, job made": {"delay_seconds": LONGER_THAN_A_CLIENT_WAITS, "when": "after"},
    "half an answer": {"truncate": True},
    "an answer that is no JSON": {"invalid_json": True},
    "quota used up": {"status": 429},
    "unavailable twice": {"status": 503, "times": 2},
}
MARKS = (Mark.AFTER_REQUEST, Mark.AFTER_NAME, Mark.AFTER_SETTLE)
CANCELLED_IN_TIME = {"seconds": {"PENDING": 75}}  # cancelled before, or it would succeed

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(PATIENCE_SECONDS + 100)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    lag = ("--list-lag-seconds", str(LAG_SECONDS))
    with rehearsal(tmp_path_factory.mktemp("broken"), extra_env=PATIENT, cloud_options=lag) as stage:
        yield stage


@pytest.fixture(scope="module")
def runs(stage):
    """Every run, all under way at once."""
    started = {}

    def start(name, *marks, dag_id=TUNE_ONLY, fault=None, fate=None, goods=None):
        goods = goods or stage.goods(stage.own_location())
        if fault:
            stage.fault(goods.location, "tuningJobs$", method="POST", **fault)
        started[name] = (goods, stage.start(dag_id, goods, kill_at=marks, fate=fate))
        return goods

    for name, fault in FAULTS.items():
        start(name, fault=fault)
    for mark in MARKS:
        start(mark, mark)
    cut = {"drop": True, "when": "after"}
    start("cut and killed", Mark.AFTER_REQUEST, fault=cut)
    start("cut and rescheduled", dag_id=TUNE_ONLY_RESCHEDULED, fault=cut)
    start("impatient", dag_id=TUNE_ONLY_IMPATIENT, fault=cut)
    start("second", fate=CANCELLED_IN_TIME, goods=start("first", fate=CANCELLED_IN_TIME))
    return started


@pytest.mark.parametrize("name", [*FAULTS, *MARKS, "cut and killed", "cut and rescheduled"])
def test_what_breaks_while_the_list_lags_behind_is_paid_once(stage, runs, name):
    goods, run = runs[name]
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert stage.armed(run.run_id) == []
    if name in FAULTS:
        assert [request for request in stage.requests(goods.location, method="POST") if request["fault"]]


def test_of_two_runs_of_one_purchase_whose_jobs_are_hidden_from_each_other_one_job_is_left(stage, runs):
    (goods, first), (_, second) = runs["first"], runs["second"]
    assert {first.wait(PATIENCE_SECONDS), second.wait(PATIENCE_SECONDS)} == {"success"}
    assert [job["state"] for job in stage.bought(goods.key)] == ["JOB_STATE_SUCCEEDED", "JOB_STATE_CANCELLED"]
    assert first.result("tune")["name"] == second.result("tune")["name"] == stage.bought(goods.key)[0]["name"]
    assert stage.living(goods.key) == []


def test_a_settle_time_shorter_than_the_lag_pays_twice_for_a_lost_answer(stage, runs):
    goods, run = runs["impatient"]
    assert run.wait(PATIENCE_SECONDS) == "success"
    assert len(stage.bought(goods.key)) == 2
