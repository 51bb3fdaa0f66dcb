from __future__ import annotations

from collections import Counter

import pytest
from tests.chaos.conductor import fault_words
from tests.chaos.plan import (
    DAGS,
    FOREVER,
    LONGEST_DELAY,
    LONGEST_LAG,
    REQUEST_SECONDS,
    SETTLE_SECONDS,
    Act,
    Blow,
    make_plan,
)

from gemini_tuning.tuning.marks import Mark
from local_cloud.vertex.control.script import Fault, JobScenario

PLAN = make_plan(7, 200)
SEEDS = range(20)


def test_a_seed_is_a_plan():
    assert make_plan(7, 200) == PLAN
    assert make_plan(8, 200) != PLAN


@pytest.mark.parametrize("runs", [1, 2, 20, 200])
def test_there_are_as_many_runs_as_asked_for_each_with_a_number_of_its_own(runs):
    assert sorted(run.number for run in make_plan(3, runs).runs) == list(range(1, runs + 1))


def test_everything_there_is_happens_in_a_long_run():
    runs = PLAN.runs
    assert {run.dag_id for run in runs} == set(DAGS)
    assert {mark for run in runs for mark in run.kill_at} == set(Mark)
    assert {run.act.act for run in runs if run.act} == set(Act)
    assert {blow.blow for blow in PLAN.blows} == set(Blow)
    assert {len(one.runs) for one in PLAN.purchases} == {1, 2, 3}
    assert any(run.force_new for run in runs)
    assert any(one.cancelled_after for one in PLAN.purchases)
    faults = Counter(fault_words(fault).partition(":")[0] for one in PLAN.purchases for fault in one.faults)
    assert set(faults) == {"create", "list", "get", "cancel"}


def test_some_are_bought_at_once_and_some_later():
    gaps = [run.at - one.runs[0].at for one in PLAN.purchases for run in one.runs[1:]]
    assert min(gaps) < 1.5
    assert max(gaps) > 30


def test_the_local_vertex_ai_takes_every_fault_and_every_fate():
    for seed in SEEDS:
        for purchase in make_plan(seed, 100).purchases:
            JobScenario.model_validate(purchase.fate)
            for fault in purchase.faults:
                Fault.model_validate(fault)


def test_nothing_is_hidden_for_longer_than_the_installation_says():
    assert LONGEST_LAG < SETTLE_SECONDS
    assert LONGEST_DELAY < REQUEST_SECONDS
    assert all(blow.value <= LONGEST_LAG for blow in PLAN.blows if blow.blow is Blow.LAG)
    faults = [fault for one in PLAN.purchases for fault in one.faults]
    assert all(fault.get("delay_seconds", 0) <= LONGEST_DELAY for fault in faults)


def test_a_429_never_comes_after_the_work_was_done():
    faults = [fault for seed in SEEDS for one in make_plan(seed, 100).purchases for fault in one.faults]
    refused = [fault for fault in faults if fault.get("status") == 429]
    assert refused
    assert all(fault["when"] == "before" for fault in refused)


def test_a_job_goes_on_for_ever_only_where_every_run_is_ended_by_its_user():
    for seed in SEEDS:
        for purchase in make_plan(seed, 100).purchases:
            for_ever = purchase.fate.get("seconds", {}).get("PENDING") == FOREVER
            assert for_ever == all(run.act is not None and run.act.act.ends for run in purchase.runs)
