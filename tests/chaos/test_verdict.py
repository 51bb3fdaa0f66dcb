"""Ledgers that are made up: the guilty must be found guilty, and nobody else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.chaos.evidence import Evidence, JobLine, RunLine, Strike
from tests.chaos.verdict import BACK_SECONDS, BOUND_SECONDS, Wrong, judge

from gemini_tuning.tuning.states import JobState

KEY = "a" * 40
PARENT = "projects/1/locations/chaos-1/tuningJobs"
FIRST = JobLine(f"{PARENT}/1", KEY, 1, "run-1", JobState.SUCCEEDED, created_at=100.0, ended_at=130.0)
SECOND = replace(FIRST, name=f"{PARENT}/2", run="run-2", created_at=101.0, ended_at=131.0)
RUN = RunLine("run-1", "tune_only", KEY, "success", begun_at=90.0, ended_at=140.0, tune="success", result=FIRST.name)
FAILED = replace(RUN, state="failed", tune="failed", result=None, last_job=FIRST.name, how="created")
CANCELLED = replace(FIRST, state=JobState.CANCELLED)


def wrongs(*jobs, runs=(RUN,), meant=()):
    return [one.wrong for one in judge(Evidence(tuple(jobs), tuple(runs), frozenset(meant))).violations]


def test_one_job_for_two_runs_is_innocent():
    assert wrongs(FIRST, runs=[RUN, replace(RUN, run_id="run-2")]) == []


def test_two_jobs_of_one_key_that_succeeded_are_paid_twice():
    later = replace(SECOND, attempt=2, created_at=200.0, ended_at=230.0)
    assert wrongs(FIRST, later) == [Wrong.PAID_TWICE]


def test_a_run_that_forces_a_new_job_may_buy_one_but_not_two():
    forced = replace(RUN, run_id="run-2", force_new=True, result=f"{PARENT}/2")
    later = replace(SECOND, created_at=200.0, ended_at=230.0)
    third = replace(later, name=f"{PARENT}/3", created_at=300.0, ended_at=330.0)
    assert wrongs(FIRST, later, runs=[RUN, forced]) == []
    assert wrongs(FIRST, later, third, runs=[RUN, forced]) == [Wrong.PAID_TWICE]


def test_jobs_of_two_keys_have_nothing_to_do_with_each_other():
    other = replace(RUN, run_id="run-2", key="b" * 40, result=SECOND.name)
    assert wrongs(FIRST, replace(SECOND, key="b" * 40), runs=[RUN, other]) == []


def test_a_job_under_a_key_that_no_run_buys_is_paid_twice():
    assert wrongs(FIRST, replace(SECOND, key="b" * 40)) == [Wrong.PAID_TWICE]


def surplus(seconds):
    return replace(SECOND, state=JobState.CANCELLED, stopped_at=101.0 + seconds, ended_at=102.0 + seconds)


LONG = replace(FIRST, ended_at=1000.0)


def test_a_surplus_job_within_the_bound_is_reported_and_no_violation():
    verdict = judge(Evidence((LONG, surplus(5.0)), (RUN,)))
    assert verdict.violations == ()
    assert [pair.seconds for pair in verdict.surplus] == [5.0]


def test_two_jobs_live_for_longer_than_the_bound_are_paid_twice():
    assert wrongs(LONG, surplus(BOUND_SECONDS - 1)) == []
    assert wrongs(LONG, surplus(BOUND_SECONDS + 1)) == [Wrong.PAID_TWICE]


def test_who_is_killed_has_the_time_to_come_back_but_not_for_ever():
    hit = replace(RUN, strikes=(Strike(110.0, "kill -9 of a task process"),))
    after = 110.0 - 101.0 + BOUND_SECONDS + BACK_SECONDS
    assert wrongs(LONG, surplus(after - 1), runs=[hit]) == []
    assert wrongs(LONG, surplus(after + 1), runs=[hit]) == [Wrong.PAID_TWICE]


def test_a_strike_long_before_excuses_nothing():
    hit = replace(RUN, strikes=(Strike(100.0 - BACK_SECONDS, "kill -9 of a task process"),))
    assert wrongs(LONG, surplus(BOUND_SECONDS + 1), runs=[hit]) == [Wrong.PAID_TWICE]


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLING, JobState.QUEUED])
def test_a_job_that_goes_on_when_all_is_over_is_left_running(state):
    left = replace(SECOND, attempt=2, created_at=200.0, state=state, ended_at=None)
    assert wrongs(FIRST, left) == [Wrong.LEFT_RUNNING]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED, JobState.PARTIALLY_SUCCEEDED])
def test_a_green_run_whose_job_ended_badly_is_found(state):
    assert wrongs(replace(FIRST, state=state), meant=[FIRST.name]) == [Wrong.GREEN]


def test_a_green_run_with_another_purchases_job_or_none_is_found():
    other = replace(SECOND, key="b" * 40)
    theirs = replace(RUN, run_id="run-2", key=other.key, result=other.name)
    assert wrongs(FIRST, other, runs=[replace(RUN, result=other.name), theirs]) == [Wrong.GREEN]
    assert wrongs(FIRST, runs=[replace(RUN, result=None)]) == [Wrong.GREEN]


def test_a_user_may_call_a_run_green():
    marked = replace(RUN, result=None, strikes=(Strike(110.0, "mark tune success", user=True),))
    assert wrongs(CANCELLED, runs=[marked]) == []


@pytest.mark.parametrize("state", ["running", "queued"])
def test_a_run_that_never_ends_is_lost(state):
    assert wrongs(FIRST, runs=[replace(RUN, state=state)]) == [Wrong.LOST]


def test_a_run_that_failed_without_a_reason_is_lost():
    assert wrongs(FIRST, runs=[FAILED]) == [Wrong.LOST]
    assert wrongs(runs=[replace(FAILED, last_job=None)]) == [Wrong.LOST]


def test_a_user_may_fail_or_delete_a_run_but_clearing_it_is_no_reason_to_fail():
    marked = replace(FAILED, strikes=(Strike(110.0, "mark the run failed", user=True),))
    cleared = replace(FAILED, strikes=(Strike(110.0, "clear tune", user=True),))
    assert wrongs(FIRST, runs=[marked]) == []
    assert wrongs(FIRST, runs=[cleared]) == [Wrong.LOST]
    assert wrongs(FIRST, runs=[replace(RUN, state="deleted", result=None)]) == []


def test_a_run_may_fail_with_its_job_only_if_that_was_meant():
    broken = replace(FIRST, state=JobState.FAILED)
    assert wrongs(broken, runs=[FAILED], meant=[FIRST.name]) == []
    assert wrongs(broken, runs=[FAILED]) == [Wrong.LOST]


def test_who_only_waited_for_a_job_that_others_cancelled_has_to_recover_once():
    waited = replace(FAILED, run_id="run-2", how="adopted")
    assert wrongs(CANCELLED, runs=[FAILED], meant=[FIRST.name]) == []
    assert wrongs(CANCELLED, runs=[waited], meant=[FIRST.name]) == [Wrong.LOST]
    assert wrongs(CANCELLED, runs=[replace(waited, recovered=True)], meant=[FIRST.name]) == []


def test_a_run_may_fail_when_its_tries_are_used_up_by_as_many_strikes():
    strikes = tuple(Strike(float(at), "create: 503 before") for at in range(100, 106))
    used_up = replace(FAILED, tries=6, allowed=6, last_job=None)
    assert wrongs(runs=[replace(used_up, strikes=strikes)]) == []
    assert wrongs(runs=[replace(used_up, strikes=strikes[:3])]) == [Wrong.LOST]
    assert wrongs(runs=[replace(used_up, tries=4, strikes=strikes)]) == [Wrong.LOST]


def test_another_task_may_use_up_its_tries_too():
    failed = replace(FAILED, tune="success", others=(("smoke_test", 3, 3),))
    strikes = tuple(Strike(float(at), "kill -9 of a task process") for at in range(100, 103))
    assert wrongs(FIRST, runs=[replace(failed, strikes=strikes)]) == []
    assert wrongs(FIRST, runs=[failed]) == [Wrong.LOST]
