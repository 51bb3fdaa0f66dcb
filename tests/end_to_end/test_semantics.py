"""What becomes of job, run and bill when somebody stops, clears, repeats or deletes: the rows of docs/semantics.md.

Everything is done over Airflow's API, as a click does it, and judged by the service's own list of jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from tests.end_to_end.rehearsal import BASE_MODEL, BUCKET, DATA, STAGE, rehearsal
from tests.end_to_end.rows import Glance, play
from tests.end_to_end.runs import Run
from tests.local_cloud.services import wait_until

from gemini_tuning.settings import INCLUDE_VARIABLE
from gemini_tuning.tuning.spec import ATTEMPT_LABEL, KEY_LABEL, PIPELINE_LABEL
from local_cloud.laptop.airflow_api import AirflowApiError

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(900)]  # the first test waits for all rows

FOR_EVER = 3600
DAILY = "tune_daily"
CHANGING = "tune_changing"
LASTING = "tune_lasting"
AT_ONCE = 8
CALM = {
    # Nothing dies here, so nothing is to be taken for dead because the machine is busy.
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "300",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "300",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "300",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "300",
    "AIRFLOW__CORE__PARALLELISM": "8",
    # Each task that runs holds some of the API server's connections to the database: with the 15 there are as a rule,
    # its threads come to wait for each other, for 30 s.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "100",
}

# what is waited for


def is_(run, state, task_id="tune", number=None):
    return lambda glance: glance.task(run, task_id)[0] == state and number in (None, glance.task(run, task_id)[1])


def jobs(goods, *states):
    """The jobs of a purchase are these, such as ``CANCELLED 1``."""
    return lambda glance: glance.jobs(goods.key) == list(states)


def said(run, *sentences, number=1, task_id="tune"):
    """The log of a try holds these."""

    def condition(_):
        text = " ".join(run.events(task_id, number))
        return all(sentence in text for sentence in sentences)

    return condition


def both(*conditions):
    return lambda glance: all(condition(glance) for condition in conditions)


def later(seconds):
    until = time.monotonic() + seconds
    return lambda _: time.monotonic() > until


# how a run begins


def begin(stage, dag_id, goods=None, *, cancelling=0, lasts=FOR_EVER, kill_at=(), **conf):
    """Start a run whose first job lasts for as long as the test needs it; every later one ends by itself, soon."""
    goods = goods or stage.goods()
    fate = {"seconds": {"PENDING": lasts, "CANCELLING": cancelling}} if lasts else None
    return stage.start(dag_id, goods, kill_at=kill_at, fate=fate, **conf), goods


def waiting(stage, dag_id="stop_deferred", goods=None, **options):
    """Start a run and return it once its task waits for its job."""
    run, goods = begin(stage, dag_id, goods, **options)
    yield both(jobs(goods, "PENDING 1"), is_(run, "deferred"), said(run, "trigger ", " starting"))
    return run, goods


def buying(stage, dag_id="stop_buying", **options):
    """Start a run and return it while its task buys: the job is there, and the second look at the list is to come."""
    run, goods = begin(stage, dag_id, **options)
    yield both(jobs(goods, "PENDING 1"), said(run, "Looking again in"))
    return run, goods


def poking(stage):
    """Start a run that waits on its worker."""
    run, goods = begin(stage, "stop_poking")
    yield both(jobs(goods, "PENDING 1"), said(run, "Bought tuning job"))
    return run, goods


def between_looks(stage, dag_id="stop_between_looks"):
    """Start a run that waits by being rescheduled, and is not there just now."""
    run, goods = begin(stage, dag_id)
    yield both(jobs(goods, "PENDING 1"), is_(run, "up_for_reschedule"))
    return run, goods


def looking(stage):
    """Start a run that waits by being rescheduled, and return it while it looks: the service takes its time."""
    location = stage.own_location()
    run, goods = begin(stage, "stop_looking", stage.goods(location))
    yield both(jobs(goods, "PENDING 1"), is_(run, "up_for_reschedule"))
    fault = stage.fault(location, "tuningJobs", delay_seconds=60, method="GET")
    yield lambda _: fault not in [left["id"] for left in stage.cloud.control("GET", "faults")["faults"]]
    return run, goods


BEGINNINGS = {"waiting": waiting, "buying": buying, "poking": poking, "looking": looking}
ROWS = {}


def row(*beginnings):
    """Make a story a row of the table; one for each of the things that its task may be doing."""

    def register(story):
        name = story.__name__
        if not beginnings:
            ROWS[name] = story
        for beginning in beginnings:
            ROWS[f"{name}-{beginning}"] = lambda stage, of=BEGINNINGS[beginning]: story(stage, of)
        return story

    return register


# rows that take long come first


@row()
def the_run_times_out(stage):
    run, goods = begin(stage, "stop_run_timeout")
    yield jobs(goods, "CANCELLED 1")
    yield is_(run, "skipped")
    assert run.state == "failed"


@row()
def a_backfill_of_two_days(stage):
    api = stage.stack.api
    api.patch(f"/dags/{DAILY}", {"is_paused": False})
    days = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"}
    api.post("/backfills", {"dag_id": DAILY, **days, "max_active_runs": 2})
    yield lambda _: _states(api.get(f"/dags/{DAILY}/dagRuns", run_type="backfill")) == ["success", "success"]
    # of two that are asked for at the same moment the later one is cancelled at once
    assert [job["state"] for job in _jobs_of(stage, "daily")].count("JOB_STATE_SUCCEEDED") == 1
    assert {job["state"] for job in _jobs_of(stage, "daily")} <= {"JOB_STATE_SUCCEEDED", "JOB_STATE_CANCELLED"}


def _states(answer):
    return [run["state"] for run in answer["dag_runs"]]


def _jobs_of(stage, pipeline):
    return [job for job in stage.all_jobs() if job["labels"].get(PIPELINE_LABEL) == pipeline]


@row()
def its_data_changes_and_it_is_cleared(stage):
    data = Path(stage.stack.settings.extra_env[INCLUDE_VARIABLE]) / "datasets" / "changing.jsonl"
    run = Run(stage.stack, CHANGING, run_id="changing")
    stage.fate(run.run_id, seconds={"PENDING": FOR_EVER})
    yield is_(run, "up_for_reschedule")
    data.write_text("".join(data.read_text().splitlines(keepends=True)[1:]))
    everything = {"task_ids": ["validate"], "include_downstream": True, "only_failed": False, "dry_run": False}
    stage.stack.api.post(f"/dags/{CHANGING}/clearTaskInstances", {"dag_run_id": run.run_id, **everything})
    yield lambda _: len(_jobs_of(stage, "changing")) == 2
    old, new = _jobs_of(stage, "changing")
    assert old["state"] == "JOB_STATE_CANCELLED"
    assert old["labels"][KEY_LABEL] != new["labels"][KEY_LABEL]
    assert new["labels"][ATTEMPT_LABEL] == "1"


@row()
def it_is_marked_success_in_a_pipeline(stage):
    run = Run(stage.stack, LASTING, run_id="lasting")
    stage.fate(run.run_id, seconds={"PENDING": FOR_EVER})
    yield both(is_(run, "deferred"), said(run, "trigger ", " starting"))
    run.mark("tune", "success")
    yield is_(run, "failed", "smoke_test")
    yield lambda _: run.state == "failed"
    (job,) = _jobs_of(stage, "lasting")
    assert job["state"] == "JOB_STATE_CANCELLED"


# stopped


@row("waiting", "buying", "poking", "looking")
def it_is_marked_failed(stage, beginning):
    run, goods = yield from beginning(stage)
    run.mark("tune", "failed")
    yield jobs(goods, "CANCELLED 1")
    assert run.tasks() == {"tune": "failed"}


@row("waiting", "buying", "looking")
def it_is_marked_success(stage, beginning):
    run, goods = yield from beginning(stage)
    run.mark("tune", "success")
    yield jobs(goods, "CANCELLED 1")
    assert run.tasks() == {"tune": "success"}


@row("waiting", "buying")
def the_run_is_marked_failed(stage, beginning):
    run, goods = yield from beginning(stage)
    run.mark_run("failed")
    yield jobs(goods, "CANCELLED 1")
    assert run.tasks() == {"tune": "failed"}


@row("waiting")
def the_run_is_marked_success(stage, beginning):
    run, goods = yield from beginning(stage)
    run.mark_run("success")
    yield jobs(goods, "CANCELLED 1")
    assert run.tasks() == {"tune": "success"}


@row("waiting", "buying")
def the_run_is_deleted(stage, beginning):
    run, goods = yield from beginning(stage)
    with pytest.raises(AirflowApiError, match="cannot be deleted in running state"):
        run.delete()
    run.mark_run("failed")
    yield jobs(goods, "CANCELLED 1")
    yield later(3)  # Airflow 3.3's scheduler hangs when a run is deleted that it is just scheduling
    run.delete()
    again, _ = begin(stage, "stop_deferred", goods, lasts=None)
    yield jobs(goods, "CANCELLED 1", "SUCCEEDED 2")
    yield is_(again, "success")


@row("waiting", "buying", "poking")
def it_is_cleared(stage, beginning):
    run, goods = yield from beginning(stage)
    run.clear("tune")
    yield is_(run, "success", number=2)
    yield jobs(goods, "CANCELLED 1", "SUCCEEDED 2")


@row()
def it_is_cleared_and_the_old_job_takes_its_time(stage):
    run, goods = yield from waiting(stage, cancelling=15)
    run.clear("tune")

    def never_two_at_once(glance):
        states = glance.jobs(goods.key)
        assert len(states) == 1 or states[0] == "CANCELLED 1"
        return states == ["CANCELLED 1", "SUCCEEDED 2"]

    yield never_two_at_once
    yield is_(run, "success", number=2)


@row("buying", "poking")
def its_worker_is_told_to_end(stage, beginning):
    run, goods = yield from beginning(stage)
    worker = psutil.Process(run.task("tune")["pid"]).parent()
    worker.send_signal(signal.SIGTERM)
    yield jobs(goods, "CANCELLED 1", "SUCCEEDED 2")
    yield is_(run, "success", number=2)


@row("waiting")
def it_is_marked_failed_and_cleared_later(stage, beginning):
    run, goods = yield from beginning(stage)
    run.mark("tune", "failed")
    yield jobs(goods, "CANCELLED 1")
    run.clear("tune")
    yield is_(run, "success", number=2)
    yield jobs(goods, "CANCELLED 1", "SUCCEEDED 2")


@row()
def it_is_marked_failed_before_it_has_asked_for_anything(stage):
    location = stage.own_location()
    goods = stage.goods(location)
    stage.fault(location, "tuningJobs", delay_seconds=20, method="GET")
    run, _ = begin(stage, "stop_deferred", goods)
    yield lambda _: not stage.cloud.control("GET", "faults") or is_(run, "running")(_)
    yield said(run, "Worker startup parse complete")
    run.mark("tune", "failed")
    yield said(run, "Task killed!")
    yield later(2)
    assert stage.jobs(goods.key) == []


# left alone


@row()
def it_is_marked_failed_and_cancels_nothing(stage):
    run, goods = yield from waiting(stage, "stop_cancels_nothing")
    run.mark("tune", "failed")
    yield said(run, "is left as it is, and may still be billed")
    assert jobs(goods, "PENDING 1")(Glance(stage))


@row()
def it_is_marked_failed_while_buying_and_cancels_nothing(stage):
    run, goods = yield from buying(stage, "stop_buying_cancels_nothing")
    run.mark("tune", "failed")
    yield said(run, "Task killed!")
    assert jobs(goods, "PENDING 1")(Glance(stage))


@row()
def it_is_marked_failed_between_two_looks(stage):
    run, goods = yield from between_looks(stage)
    run.mark("tune", "failed")
    yield later(5)
    assert jobs(goods, "PENDING 1")(Glance(stage))
    assert run.state == "failed"


@row()
def it_is_cleared_between_two_looks(stage):
    run, goods = yield from between_looks(stage)
    run.clear("tune")
    yield both(is_(run, "up_for_reschedule", number=2), said(run, "not paid for again", number=2))
    assert jobs(goods, "PENDING 1")(Glance(stage))


@row()
def it_is_out_of_time_and_cancels(stage):
    run, goods = begin(stage, "stop_late_cancel")
    yield jobs(goods, "CANCELLED 1")
    yield is_(run, "failed")
    assert "It was cancelled and is CANCELLED now" in run.errors("tune")[0]


@row()
def it_is_out_of_time_and_leaves(stage):
    run, goods = begin(stage, "stop_late_leave")
    yield is_(run, "failed")
    assert jobs(goods, "PENDING 1")(Glance(stage))
    assert "It was left as it is and may still be billed" in run.errors("tune")[0]


@row()
def it_is_out_of_time_while_it_is_rescheduled_and_cancels(stage):
    run, goods = begin(stage, "stop_late_looking")
    yield jobs(goods, "CANCELLED 1")
    yield is_(run, "failed")
    assert any("It was cancelled and is CANCELLED now" in error for error in run.errors("tune"))


# repeated


@row()
def its_process_dies_and_it_is_tried_again(stage):
    run, goods = begin(stage, "stop_deferred", lasts=None, kill_at=["after-request"])
    yield is_(run, "success")
    assert len(stage.jobs(goods.key)) == 1
    assert run.task("tune")["try_number"] == 2


@row()
def it_is_cleared_after_its_success(stage):
    run, goods = begin(stage, "stop_deferred", lasts=None)
    yield is_(run, "success")
    run.clear("tune")
    yield both(is_(run, "success", number=2), said(run, "Already tuned", "not paid for again", number=2))
    yield jobs(goods, "SUCCEEDED 1")


@row()
def it_is_cleared_after_its_job_failed(stage):
    goods = stage.goods()
    end = {"state": "JOB_STATE_FAILED", "stage": "TUNING", "code": 8, "message": "No capacity."}
    run = stage.start("stop_deferred", goods, fate={"end": end})
    yield is_(run, "failed")
    assert run.task("tune")["try_number"] == 1
    run.clear("tune")
    yield is_(run, "success", number=2)
    yield jobs(goods, "FAILED 1", "SUCCEEDED 2")


@row()
def another_run_buys_the_same(stage):
    run, goods = begin(stage, "stop_deferred", lasts=None)
    yield is_(run, "success")
    again, _ = begin(stage, "stop_deferred", goods, lasts=None)
    yield both(is_(again, "success"), said(again, "Already tuned on", "Set 'force_new' to buy it anew"))
    anew, _ = begin(stage, "stop_deferred", goods, lasts=None, force_new=True)
    yield is_(anew, "success")
    yield jobs(goods, "SUCCEEDED 1", "SUCCEEDED 2")
    anew.clear("tune")
    yield both(is_(anew, "success", number=2), jobs(goods, "SUCCEEDED 1", "SUCCEEDED 2"))


# shared by two runs


@row()
def two_runs_share_a_job_and_its_buyer_gives_up(stage):
    buyer, goods = yield from waiting(stage)
    sharer, _ = yield from waiting(stage, goods=goods, lasts=None)
    yield said(sharer, "that another run bought", "not paid for again")
    buyer.mark("tune", "failed")
    yield is_(sharer, "success")
    yield jobs(goods, "CANCELLED 1", "SUCCEEDED 2")
    yield said(sharer, "in place of a job that somebody else cancelled")


@row()
def two_runs_share_a_job_and_the_other_one_gives_up(stage):
    buyer, goods = yield from waiting(stage)
    sharer, _ = yield from waiting(stage, goods=goods, lasts=None)
    sharer.mark("tune", "failed")
    yield said(sharer, "is left as it is")
    assert jobs(goods, "PENDING 1")(Glance(stage))
    assert buyer.tasks() == {"tune": "deferred"}


@contextlib.contextmanager
def furnished(folder):
    """Start a stage with two pipelines more, one with a schedule, and a Dag for each way to wait."""
    with rehearsal(folder, extra_env=CALM) as stage:
        include = Path(stage.stack.settings.extra_env[INCLUDE_VARIABLE])
        lines = (include / "datasets" / DATA).read_text().splitlines(keepends=True)
        for data, examples in {"changing.jsonl": 15, "lasting.jsonl": 16}.items():
            (include / "datasets" / data).write_text("".join(lines[:examples]))
        for name, more in {
            "daily": {"schedule": "@daily", "train": DATA},
            "lasting": {"train": "lasting.jsonl"},
            "changing": {"train": "changing.jsonl", "wait": {"mode": "reschedule", "poll_interval_seconds": 3600}},
        }.items():
            pipeline = {"name": name, "bucket": BUCKET, "base_model": BASE_MODEL, "smoke_suite": "rehearsal.yaml"}
            settings = {"hyperparameters": {"epochs": 2}, "wait": {"poll_interval_seconds": 1}}
            (include / "pipelines" / f"{name}.yaml").write_text(json.dumps(pipeline | settings | more))
        shutil.copy(STAGE / "stopping_pipelines.py", stage.stack.settings.dags_folder)
        for dag_id in ("stop_run_timeout", DAILY, CHANGING, LASTING):
            wait_until(lambda dag_id=dag_id: stage.stack.api.find(f"/dags/{dag_id}"), 60, f"{dag_id} to be read")
        yield stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with furnished(tmp_path_factory.mktemp("semantics")) as stage:
        yield stage


@pytest.fixture(scope="module")
def outcomes(stage, request):
    """What became of each row; all of them are played at once."""
    chosen = {item.name for item in request.session.items}
    rows = {name: row(stage) for name, row in ROWS.items() if f"test_what_the_table_says[{name}]" in chosen}
    return play(stage, rows, at_once=AT_ONCE)


@pytest.mark.parametrize("name", ROWS)
def test_what_the_table_says(outcomes, name):
    if outcomes[name]:
        raise outcomes[name]


def the_triggerer_is_replaced(stage):
    run, goods = yield from waiting(stage)
    before = stage.pid("triggerer")
    os.kill(before, signal.SIGTERM)
    yield lambda _: stage.pid("triggerer") != before
    yield lambda _: sum(event.endswith(" starting") for event in run.events("tune")) == 2
    assert jobs(goods, "PENDING 1")(Glance(stage))
    run.mark("tune", "failed")
    yield jobs(goods, "CANCELLED 1")


@pytest.mark.usefixtures("outcomes")  # nobody else needs the triggerer any more
def test_a_triggerer_that_is_replaced_cancels_nothing_and_the_next_one_takes_over(stage):
    outcome = play(stage, {"it": the_triggerer_is_replaced(stage)}, at_once=1)["it"]
    if outcome:
        raise outcome
