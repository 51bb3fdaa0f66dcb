"""The reaper in a real Airflow: jobs that crashes and deletions have left behind, and those it must not touch."""

from __future__ import annotations

import itertools
import re
import uuid
from dataclasses import dataclass

import httpx
import psutil
import pytest
from tests.conftest import PROJECT
from tests.local_cloud.services import wait_until

from gemini_tuning.settings import REHEARSAL_VARIABLE
from gemini_tuning.tuning.marks import Mark
from gemini_tuning.tuning.spec import INSTALLATION_LABEL, RUN_LABEL, as_label
from local_cloud.laptop.airflow_api import AirflowApiError
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.stack import running_stack

BUCKET = "gemini-tuning-demo"
SECONDS = 120
pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.timeout(900),
]  # a stack is started twice, and a dead triggerer is missed only after 30 s
FORM = {
    "train": "support_replies/train.jsonl",
    "validation": None,
    "base_model": "gemini-2.5-flash",
    "bucket": BUCKET,
    "epochs": 1,
}


class Run:
    """A run of a form's Dag.

    :param dies_at: where its tuning task is killed, once.
    """

    def __init__(self, stack, dag_id, conf, dies_at=None):
        self.stack, self.told = stack, None
        self.run_id = f"by-hand-{uuid.uuid4().hex[:12]}"
        self.path = f"/dags/{dag_id}/dagRuns/{self.run_id}"
        if dies_at:
            mark = stack.settings.state_dir.parent / "rehearsal" / self.run_id / dies_at
            mark.parent.mkdir(parents=True)
            mark.touch()
        body = {"dag_run_id": self.run_id, "logical_date": None, "conf": conf}
        stack.api.post(f"/dags/{dag_id}/dagRuns", body)

    def state(self, task_id):
        found = self.stack.api.find(f"{self.path}/taskInstances/{task_id}")
        return found and found["state"]

    def await_state(self, task_id, state):
        wait_until(lambda: self.state(task_id) == state, SECONDS, f"{task_id} to be {state}")

    def await_triggerer(self):
        """Wait for words of the triggerer's about the job: from then on it is told when the task is gone."""
        told = self.told

        def looked():
            entry = self.stack.api.find(f"{self.path}/taskInstances/tune/xcomEntries/progress")
            self.told = entry and re.search(r", \d+ (s|min)", entry["value"]) and entry["timestamp"]
            return self.told and self.told != told

        wait_until(looked, SECONDS, "the triggerer to look")

    def mark_failed(self):
        self.stack.api.patch(self.path, {"state": "failed"})

    def delete(self):
        self.stack.api.delete(self.path)

    @property
    def jobs(self):
        return [job for job in ledger(self.stack) if job["labels"].get(RUN_LABEL) == as_label(self.run_id)]

    @property
    def job(self):
        (job,) = self.jobs
        return job["name"]


def ledger(stack):
    return httpx.get(f"{stack.vertex_url}/_local/jobs", trust_env=False).json()["jobs"]


def states(stack):
    return {job["name"]: job["state"] for job in ledger(stack)}


def plant(stack, labels):
    name = f"projects/local-dev/locations/us-central1/tuningJobs/{uuid.uuid4().int % 10**18}"
    job = {"name": name, "state": "JOB_STATE_PENDING", "labels": labels, "createTime": "2026-01-01T00:00:00Z"}
    answer = httpx.post(f"{stack.vertex_url}/_local/jobs", json=job, trust_env=False)
    return answer.raise_for_status().json()["name"]


PURCHASES = itertools.count(1)


def another_purchase():
    return FORM | {"learning_rate_multiplier": 1 + next(PURCHASES) / 100}


def reap(stack, **form):
    """Return what the reaper has to say of each job."""
    run = Run(stack, "reap_tuning_jobs", {"grace_minutes": 0, **form})
    wait_until(lambda: run.state("reap") in {"success", "failed", "up_for_retry"}, SECONDS, "the reaper")
    assert run.state("reap") == "success"
    report = stack.api.get(f"{run.path}/taskInstances/reap/xcomEntries/return_value")["value"]
    return {verdict["job"]: verdict for verdict in report["verdicts"]}


@dataclass
class Left:
    """Runs that the dead triggerer has left behind, with the jobs they bought."""

    waiting: Run
    ended: Run
    deleted: Run
    passed_on: Run
    adopter: Run

    def __post_init__(self):
        self.jobs = {name: run.job for name, run in vars(self).items() if name != "adopter"}

    def move_to(self, stack):
        for run in (self.waiting, self.ended, self.deleted, self.passed_on, self.adopter):
            run.stack = stack


def unpause(stack):
    for dag_id in ("tune_on_demand", "reap_tuning_jobs"):
        wait_until(lambda dag_id=dag_id: stack.api.find(f"/dags/{dag_id}") is not None, SECONDS, dag_id)
        stack.api.patch(f"/dags/{dag_id}", {"is_paused": False})


def left_by_a_dead_triggerer(stack):
    """Mark and delete runs while the triggerer hangs, and end it before it hears of that."""
    shared = another_purchase()
    passed_on = Run(stack, "tune_on_demand", shared, dies_at=Mark.AFTER_REQUEST)
    waiting, ended, deleted = (Run(stack, "tune_on_demand", another_purchase()) for _ in range(3))
    passed_on.await_state("tune", "up_for_retry")
    passed_on.mark_failed()
    adopter = Run(stack, "tune_on_demand", shared)
    for run in (waiting, ended, deleted, adopter):
        run.await_triggerer()
    left = Left(waiting, ended, deleted, passed_on, adopter)
    triggerer = psutil.Process(stack.state.pids["triggerer"])
    family = [triggerer, *triggerer.children(recursive=True)]
    for process in family:
        process.suspend()
    for run in (ended, deleted):
        run.mark_failed()
    deleted.delete()
    for process in family:
        process.kill()
    return left


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A Vertex AI whose jobs stay PENDING until somebody cancels them."""
    folder = tmp_path_factory.mktemp("stack")
    return StackSettings(
        root=PROJECT,
        state_dir=folder / "state",
        buckets=(BUCKET,),
        extra_env={REHEARSAL_VARIABLE: str(folder / "rehearsal")},
        cloud_options=("--pending-seconds", "10000"),
    )


@pytest.fixture(scope="module")
def left(settings):
    """What is left behind by a stack whose triggerer has died."""
    with running_stack(settings) as stack:
        unpause(stack)
        return left_by_a_dead_triggerer(stack)


@pytest.fixture(scope="module")
def stack(settings, left):
    """The same installation, started again."""
    with running_stack(settings) as stack:
        left.move_to(stack)
        left.waiting.await_triggerer()
        yield stack


def test_a_dry_run_touches_nothing_and_says_what_it_would(stack, left):
    before = states(stack)
    assert set(before.values()) == {"JOB_STATE_PENDING"}, "the triggerer cancels nothing that it hasn't heard of"
    dry = reap(stack)
    unwanted = {name for name, job in left.jobs.items() if dry[job]["fate"] == "would be cancelled"}
    assert unwanted == {"ended", "deleted"}
    assert states(stack) == before


def test_a_young_job_is_left(stack, left):
    told = reap(stack, dry_run=False, grace_minutes=10_000)
    assert {told[job]["fate"] for job in left.jobs.values()} == {"left"}
    assert set(states(stack).values()) == {"JOB_STATE_PENDING"}


def test_unwanted_jobs_are_cancelled_and_no_others(stack, left):
    (labels,) = [job["labels"] for job in ledger(stack) if job["name"] == left.jobs["ended"]]
    theirs = plant(stack, labels | {INSTALLATION_LABEL: "theirs"})
    left.jobs["theirs"] = theirs
    assert left.adopter.jobs == []
    done = reap(stack, dry_run=False)
    assert {name: done[job]["fate"] for name, job in left.jobs.items()} == {
        "ended": "cancelled",
        "deleted": "cancelled",
        "passed_on": "wanted",
        "waiting": "wanted",
        "theirs": "left",
    }
    assert f"run {left.ended.run_id} of Dag tune_on_demand, is failed" in done[left.jobs["ended"]]["why"]
    assert "exists no more" in done[left.jobs["deleted"]]["why"]
    assert f"run {left.adopter.run_id} of Dag tune_on_demand (deferred)" in done[left.jobs["passed_on"]]["why"]
    now = states(stack)
    assert {name for name, job in left.jobs.items() if now[job] == "JOB_STATE_CANCELLED"} == {"ended", "deleted"}
    assert {now[left.jobs[name]] for name in ("passed_on", "waiting", "theirs")} == {"JOB_STATE_PENDING"}
    assert set(reap(stack, dry_run=False)) == {left.jobs[name] for name in ("passed_on", "waiting", "theirs")}


def test_a_run_deleted_while_its_task_waits_takes_its_job_along(stack, left):
    with pytest.raises(AirflowApiError, match="409"):
        left.waiting.delete()
    left.waiting.mark_failed()
    left.waiting.delete()
    job = left.jobs["waiting"]
    wait_until(lambda: states(stack)[job] == "JOB_STATE_CANCELLED", SECONDS, "the triggerer to cancel it")
