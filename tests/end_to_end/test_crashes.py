"""Processes are killed at every point of a purchase and a wait; the service's ledger says what was paid for.

All runs go through one Airflow at the same time, each buying something of its own. What must hold after every crash:
one job was created, or the ones too many were cancelled; the run ends with the tuned model; nothing goes on running.
"""

from __future__ import annotations

import pytest
from tests.end_to_end.rehearsal import (
    BOUGHT_ONCE,
    FORM,
    PATIENCE_SECONDS,
    PIPELINE,
    TUNE_ONLY,
    TUNE_ONLY_RESCHEDULED,
    rehearsal,
)
from tests.local_cloud.services import wait_until

from gemini_tuning.tuning.marks import Mark

CANCELLING = (Mark.BEFORE_CANCEL, Mark.AFTER_CANCEL)
BUYING = tuple(mark for mark in Mark if mark not in CANCELLING)
RESCHEDULED = (Mark.BEFORE_LOOK, Mark.AFTER_REQUEST, Mark.AFTER_NAME, Mark.BEFORE_SETTLED)
FAILING = (Mark.AFTER_REQUEST, Mark.AFTER_NAME, Mark.AFTER_SETTLED)
TELLING = "while it tells of the end"
THREE_TIMES = (Mark.AFTER_INTENT, Mark.AFTER_REQUEST, Mark.BEFORE_SETTLED)

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(PATIENCE_SECONDS + 100)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with rehearsal(tmp_path_factory.mktemp("crashes")) as stage:
        yield stage


@pytest.fixture(scope="module")
def runs(stage):
    """Every run whose death is arranged beforehand, all under way at once."""
    started = {}

    def start(name, goods, *marks, dag_id=TUNE_ONLY, **fate):
        started[name] = (goods, stage.start(dag_id, goods, kill_at=marks, fate=fate))

    for mark in BUYING:
        start(mark, stage.goods(), mark)
    start("three times", stage.goods(), *THREE_TIMES)
    start("form", stage.goods(), Mark.AFTER_REQUEST, dag_id=FORM)
    for mark in RESCHEDULED:
        start(("rescheduled", mark), stage.goods(), mark, dag_id=TUNE_ONLY_RESCHEDULED)
    failed = {"state": "JOB_STATE_FAILED", "stage": "PENDING"}
    for mark in FAILING:
        start(("failing", mark), stage.goods(), mark, end=failed, seconds={"PENDING": 15})
    start(("failing", TELLING), stage.goods(), Mark.AFTER_SETTLED, end=failed, seconds={"PENDING": 1})
    for mark in CANCELLING:
        goods = stage.goods()
        stage.plant(goods, "SUCCEEDED")
        stage.plant(goods, "RUNNING")
        start(mark, goods, mark)
    for second in (PIPELINE, FORM):
        goods = stage.goods_of_the_pipeline() if second == PIPELINE else stage.goods()
        start(("first", second), goods, dag_id=FORM)
        start(("second", second), goods, dag_id=second)
    return started


@pytest.mark.parametrize("mark", BUYING)
def test_a_task_that_is_killed_while_it_buys_pays_once(stage, runs, mark):
    goods, run = runs[mark]
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert stage.armed(run.run_id) == []
    assert run.result("tune")["name"] == stage.bought(goods.key)[0]["name"]


@pytest.mark.parametrize("mark", RESCHEDULED)
def test_a_task_that_is_killed_in_reschedule_mode_pays_once(stage, runs, mark):
    goods, run = runs["rescheduled", mark]
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert stage.armed(run.run_id) == []


def test_a_task_that_is_killed_in_each_of_its_tries_pays_once(stage, runs):
    goods, run = runs["three times"]
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert stage.armed(run.run_id) == []


def test_a_whole_pipeline_ends_with_its_model_after_a_crash(stage, runs):
    goods, run = runs["form"]
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert set(run.tasks().values()) == {"success"}
    assert run.result("summary")["passed"]


@pytest.mark.parametrize("mark", CANCELLING)
def test_a_task_that_is_killed_while_it_cancels_a_job_too_many_cancels_it_and_takes_the_good_one(stage, runs, mark):
    goods, run = runs[mark]
    assert stage.outcome(run, goods) == ("success", [], [])
    assert sorted(job["state"] for job in stage.jobs(goods.key)) == ["JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED"]
    assert stage.armed(run.run_id) == []


@pytest.mark.parametrize("mark", [*FAILING, TELLING])
def test_a_crash_turns_no_failed_job_into_a_good_run_or_a_second_one(stage, runs, mark):
    goods, run = runs["failing", mark]
    assert stage.outcome(run, goods) == ("failed", ["FAILED"], [])
    assert stage.armed(run.run_id) == []
    last = len(run.tries("tune"))
    assert [event for event in run.errors("tune", last) if "ended FAILED" in event]


def assert_one_is_left(stage, goods, both):
    """Both runs have the earliest job; any other was cancelled."""
    first, *others = stage.bought(goods.key)
    assert first["state"] == "JOB_STATE_SUCCEEDED"
    assert {job["state"] for job in others} <= {"JOB_STATE_CANCELLED"}
    assert {run.result("tune")["name"] for run in both} == {first["name"]}
    assert stage.living(goods.key) == []


@pytest.mark.parametrize("second", [PIPELINE, FORM])
def test_two_runs_of_one_purchase_at_the_same_moment_end_with_one_job(stage, runs, second):
    goods = runs["first", second][0]
    both = [runs[place, second][1] for place in ("first", "second")]
    assert {run.wait(PATIENCE_SECONDS) for run in both} == {"success"}
    assert_one_is_left(stage, goods, both)


def test_a_task_that_is_killed_while_it_takes_up_its_work_after_the_wait_starts_over(stage, runs):
    goods = stage.goods()
    run = stage.start(TUNE_ONLY, goods)
    wait_until(lambda: run.tasks()["tune"] == "deferred", PATIENCE_SECONDS, "the wait")
    wait_until(lambda: run.tasks()["tune"] == "running", PATIENCE_SECONDS, "the end of the wait")
    stage.kill_task(run)
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert run.tries("tune")[0] == "failed"


def test_a_task_that_is_killed_at_a_later_look_in_reschedule_mode_goes_on(stage, runs):
    goods = stage.goods()
    run = stage.start(TUNE_ONLY_RESCHEDULED, goods)
    wait_until(lambda: run.tasks()["tune"] == "up_for_reschedule", PATIENCE_SECONDS, "the first look")
    stage.arm(run.run_id, Mark.BEFORE_LOOK)
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert stage.armed(run.run_id) == []


def deferred(stage):
    """A run whose task waits in the triggerer."""
    goods = stage.goods()
    run = stage.start(TUNE_ONLY, goods, fate={"seconds": {"PENDING": 12}})
    wait_until(lambda: run.tasks()["tune"] == "deferred", PATIENCE_SECONDS, "the wait")
    return goods, run


def awaiting_their_answers(stage, number, seconds, life):
    """Runs whose jobs have just been made, and whose tasks will be told so after some seconds.

    :param life: seconds before the jobs begin their work.
    """
    started = []
    for _ in range(number):
        goods = stage.goods(stage.own_location())
        stage.fault(goods.location, "tuningJobs$", method="POST", delay_seconds=seconds, when="after")
        started.append((goods, stage.start(TUNE_ONLY, goods, fate={"seconds": {"PENDING": life}})))
    for goods, _ in started:
        wait_until(lambda key=goods.key: stage.jobs(key), PATIENCE_SECONDS, "the job")
    return started


def test_a_wait_outlives_its_triggerer(stage, runs):
    goods, run = deferred(stage)
    stage.kill("triggerer")
    assert stage.outcome(run, goods) == BOUGHT_ONCE
    assert run.tries("tune") == ["success"]


def test_a_purchase_outlives_the_api_server(stage, runs):
    [(goods, run)] = awaiting_their_answers(stage, 1, seconds=1, life=6)
    stage.kill("api-server")
    assert stage.outcome(run, goods) == BOUGHT_ONCE


def test_nothing_is_paid_twice_when_the_scheduler_dies_with_or_without_its_tasks(stage, runs):
    waiting = deferred(stage)
    killed, orphaned = awaiting_their_answers(stage, 2, seconds=55, life=60)
    stage.kill("scheduler", along=stage.processes(killed[1]))
    for goods, run in (waiting, killed):
        assert stage.outcome(run, goods) == BOUGHT_ONCE
    # the task that was left behind is told to stop when a new one is to begin, and may cancel its job by that
    goods, run = orphaned
    state, bought, living = stage.outcome(run, goods)
    assert (state, bought[-1], living) == ("success", "SUCCEEDED", [])
    assert bought in (["SUCCEEDED"], ["CANCELLED", "SUCCEEDED"])


def test_two_runs_of_one_purchase_under_two_schedulers_end_with_one_job(stage, runs):
    stage.second("scheduler")
    query = {"job_type": "SchedulerJob", "is_alive": True}
    wait_until(lambda: stage.stack.api.get("/jobs", **query)["total_entries"] == 2, 60, "two schedulers")
    goods = stage.goods()
    both = [stage.start(TUNE_ONLY, goods) for _ in range(2)]
    assert {run.wait(PATIENCE_SECONDS) for run in both} == {"success"}
    assert_one_is_left(stage, goods, both)
