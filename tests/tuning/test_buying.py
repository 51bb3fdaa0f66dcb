"""Buying from the local Vertex AI over HTTP, whose ledger tells what was paid for."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest
from tests.local_cloud.services import running_local_cloud, wait_until

from gemini_tuning.errors import ConfigError, ServiceRefusedError, TransientError
from gemini_tuning.settings import DIE_AT_VARIABLE
from gemini_tuning.tuning import cancelling
from gemini_tuning.tuning.buying import RECORD_NAME, Buyer
from gemini_tuning.tuning.cancelling import cancel, give_up
from gemini_tuning.tuning.client import vertex_client
from gemini_tuning.tuning.marks import Mark
from gemini_tuning.tuning.purchase import How, Order, Patience, Phase, PurchaseRecord
from gemini_tuning.tuning.service import TuningService
from gemini_tuning.tuning.spec import ATTEMPT_LABEL, KEY_LABEL, OWNER_LABEL, TuningJobSpec
from gemini_tuning.tuning.states import JobState

LINE = '{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"text":"b"}]}]}\n'
LAG = 0.4
PATIENCE = Patience(settle_seconds=0.7, request_seconds=0.3)
PURCHASE_MARKS = [mark for mark in Mark if mark not in {Mark.BEFORE_CANCEL, Mark.AFTER_CANCEL}]


class Died(BaseException):
    """The process was killed at a mark."""


class Memory(dict):
    """Records that outlive a process, as JSON text."""

    def get(self, name):
        return json.loads(super().get(name, "null"))

    def set(self, name, value):
        self[name] = json.dumps(value)

    @property
    def record(self):
        return PurchaseRecord.from_json(self.get(RECORD_NAME))


class Shop:
    """A local Vertex AI whose new jobs wait in PENDING until somebody cancels them, and its ledger for one key."""

    def __init__(self, cloud, uri):
        self.cloud, self.uri = cloud, uri
        self.key = uuid.uuid4().hex
        self.service = self.new_service()

    def new_service(self):
        return TuningService(vertex_client(self.cloud.credentials(), self.cloud.project, self.cloud.location))

    def order(self, owner="me", *, claim="1", key=None, **fields):
        spec = TuningJobSpec(
            base_model="gemini-2.5-flash", training_dataset_uri=self.uri, epochs=1, labels={OWNER_LABEL: owner}
        )
        return Order(spec=spec, key=key or self.key, claim=claim, **fields)

    def buy(self, memory, owner="me", *, reached=lambda mark: None, service=None, patience=PATIENCE, **fields):
        """Buy as a process that knows nothing but its memory."""
        service = service or self.new_service()
        return Buyer(service, memory, patience, reached=reached).buy(self.order(owner, **fields))

    def jobs(self, key=None):
        ledger = self.cloud.control("GET", "jobs")["jobs"]
        return [job for job in ledger if job["labels"].get(KEY_LABEL) == (key or self.key)]

    def states(self):
        return sorted(job["state"].removeprefix("JOB_STATE_") for job in self.jobs())

    def plant(self, state, *, attempt=1, owner="somebody", **fields):
        labels = {KEY_LABEL: self.key, ATTEMPT_LABEL: str(attempt), OWNER_LABEL: owner}
        name = f"{self.cloud.parent}/tuningJobs/{uuid.uuid4().int % 10**18}"
        planted = {"name": name, "state": f"JOB_STATE_{state}", "labels": labels, **fields}
        return self.cloud.control("POST", "jobs", planted)["name"]

    def settle(self, **settings):
        self.cloud.control("PATCH", "settings", settings)

    def fault(self, **fields):
        self.cloud.control("POST", "faults", {"method": "POST", "path": "tuningJobs$", **fields})

    def requests(self, method="POST", path="tuningJobs$"):
        log = self.cloud.requests()
        return [entry for entry in log if entry["method"] == method and re.search(path, entry["path"])]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """A service of this file's own: its list lags, and its jobs don't begin."""
    with running_local_cloud(tmp_path_factory.mktemp("shop"), pending_seconds=10_000, list_lag_seconds=LAG) as cloud:
        yield cloud


@pytest.fixture
def shop(cloud, monkeypatch):
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cancelling, "PAUSE_SECONDS", 0.05)
    cloud.control("DELETE", "requests")
    yield Shop(cloud, cloud.upload("shop/train.jsonl", LINE * 8))
    cloud.control("DELETE", "faults")
    cloud.control("DELETE", "settings")


def dies_at(mark):
    def reached(here):
        if here is mark:
            raise Died

    return reached


class TestOnce:
    def test_the_first_order_is_bought_and_labelled(self, shop):
        memory = Memory()
        purchase = shop.buy(memory)
        (job,) = shop.jobs()
        assert job["name"] == purchase.job.name
        assert job["labels"] == {KEY_LABEL: shop.key, ATTEMPT_LABEL: "1", OWNER_LABEL: "me"}
        assert (purchase.how, purchase.own, purchase.news) == (How.CREATED, True, True)
        assert (memory.record.phase, memory.record.job) == (Phase.SETTLED, purchase.job.name)
        assert len(shop.requests()) == 1

    def test_further_looks_of_the_same_try_are_no_news(self, shop):
        memory = Memory()
        first = shop.buy(memory)
        then = shop.buy(memory)
        assert (then.job.name, then.how, then.news) == (first.job.name, How.CREATED, False)

    def test_another_run_adopts_the_live_job(self, shop):
        first = shop.buy(Memory())
        other = shop.buy(Memory(), "another")
        assert (other.job.name, other.how, other.own) == (first.job.name, How.ADOPTED, False)
        assert "that another run bought: not paid for again" in other.sentence()
        assert len(shop.jobs()) == 1

    def test_a_later_try_takes_its_job_up_again_even_if_no_list_shows_it(self, shop):
        memory = Memory()
        first = shop.buy(memory)
        shop.settle(list_lag_seconds=10_000)
        then = shop.buy(memory, claim="2")
        assert (then.job.name, then.how, then.own) == (first.job.name, How.ADOPTED, True)
        assert "of an earlier try of this task" in then.sentence()

    def test_a_job_that_succeeded_is_reused_and_the_sentence_has_its_date(self, shop):
        name = shop.plant("SUCCEEDED", createTime="2026-11-11T22:00:00Z", endTime="2026-11-12T01:00:00Z")
        purchase = shop.buy(Memory())
        assert (purchase.job.name, purchase.how) == (name, How.REUSED)
        assert f"Already tuned on 12 Nov 2026 by {name}: not paid for again." in purchase.sentence()
        assert "'force_new'" in purchase.sentence()
        assert shop.requests() == []

    def test_force_new_buys_once_for_all_tries(self, shop):
        shop.plant("SUCCEEDED")
        memory = Memory()
        bought = shop.buy(memory, force_new=True)
        assert (bought.how, bought.attempt) == (How.CREATED, 2)
        again = shop.buy(memory, force_new=True, claim="2")
        assert again.job.name == bought.job.name
        assert len(shop.requests()) == 1

    @pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "EXPIRED", "CANCELLING"])
    def test_what_ended_otherwise_is_followed_by_the_next_attempt(self, shop, state):
        shop.plant(state, attempt=3)
        purchase = shop.buy(Memory())
        assert (purchase.how, purchase.attempt) == (How.CREATED, 4)
        assert shop.service.get(purchase.job.name).labels[ATTEMPT_LABEL] == "4"

    def test_a_record_that_cannot_be_read_is_not_taken_for_none(self, shop):
        memory = Memory()
        memory.set(RECORD_NAME, {"key": shop.key, "version": 9})
        with pytest.raises(ConfigError, match="Storage tab"):
            shop.buy(memory)
        assert shop.jobs() == []


class TestCrashes:
    @pytest.mark.parametrize("mark", PURCHASE_MARKS)
    def test_the_next_try_ends_with_the_one_job(self, shop, mark):
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(mark))
        purchase = shop.buy(memory, claim="2")
        (job,) = shop.jobs()
        assert purchase.job.name == job["name"]
        assert purchase.own

    @pytest.mark.parametrize("mark", PURCHASE_MARKS)
    def test_so_does_another_run_that_looks_meanwhile(self, shop, mark):
        """It may buy before it can see the first one's job: then the later of the two is cancelled."""
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(mark))
        other = shop.buy(Memory(), "another")
        mine = shop.buy(memory, claim="2")
        other = shop.buy(Memory(), "another", claim="2") if other.job.name != mine.job.name else other
        assert mine.job.name == other.job.name
        assert shop.states().count("PENDING") == 1
        assert set(shop.states()) <= {"PENDING", "CANCELLED"}

    @pytest.mark.parametrize("mark", [Mark.BEFORE_CANCEL, Mark.AFTER_CANCEL])
    def test_a_crash_around_the_cancelling_leaves_no_second_job(self, shop, mark):
        earliest = shop.plant("PENDING", createTime="2026-11-12T01:00:00Z")
        shop.plant("PENDING", createTime="2026-11-12T02:00:00Z")
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(mark))
        assert shop.buy(memory, claim="2").job.name == earliest
        assert shop.states() == ["CANCELLED", "PENDING"]

    @pytest.mark.parametrize("mark", [Mark.AFTER_INTENT, Mark.AFTER_REQUEST, Mark.AFTER_NAME])
    def test_a_real_process_dies_once_where_the_variable_says(self, shop, tmp_path, mark):
        flag = tmp_path / "die"
        flag.touch()
        code = (
            "import json, pathlib, sys\n"
            "from tests.tuning.test_buying import *\n"
            "class File(Memory):\n"
            "    def set(self, name, value):\n"
            "        super().set(name, value)\n"
            "        path.write_text(json.dumps(self))\n"
            "path, url, order = pathlib.Path(sys.argv[1]), sys.argv[2], Order.from_json(json.loads(sys.argv[3]))\n"
            "from google.oauth2.service_account import Credentials\n"
            "credentials = Credentials.from_service_account_file(os.environ['GOOGLE_APPLICATION_CREDENTIALS'],"
            " scopes=['https://www.googleapis.com/auth/cloud-platform'])\n"
            "service = TuningService(vertex_client(credentials, sys.argv[4], 'us-central1'))\n"
            "memory = File(json.loads(path.read_text()) if path.exists() else {})\n"
            "print(Buyer(service, memory, PATIENCE).buy(order).job.name)\n"
        )
        project = str(cancelling.__file__).split("/plugins/")[0]
        environment = {
            **os.environ,
            DIE_AT_VARIABLE: f"{mark}={flag}",
            "PYTHONPATH": f"{project}/plugins:{project}/include:{project}",
        }

        def process(claim):
            document = json.dumps(shop.order(claim=claim).to_json())
            arguments = [str(tmp_path / "memory.json"), shop.cloud.vertex_url, document, shop.cloud.project]
            command = [sys.executable, "-c", code, *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

        first = process("1")
        assert first.returncode == -signal.SIGKILL, first.stderr
        second = process("2")
        assert second.returncode == 0, second.stderr
        (job,) = shop.jobs()
        assert second.stdout.strip() == job["name"]


class TestRequestsThatBreak:
    @pytest.mark.parametrize("fault", [
        {"drop": True, "when": "after"},
        {"status": 500, "when": "after"},
        {"status": 503, "when": "after"},
        {"status": 408, "when": "after"},
        {"truncate": True},
        {"invalid_json": True},
    ])  # fmt: skip
    def test_the_job_of_a_lost_answer_is_found(self, shop, fault):
        shop.fault(**fault)
        memory = Memory()
        purchase = shop.buy(memory)
        (job,) = shop.jobs()
        assert (purchase.job.name, purchase.how) == (job["name"], How.CREATED)
        assert len(shop.requests()) == 1

    @pytest.mark.parametrize("fault", [{"drop": True}, {"status": 500}, {"status": 503, "retry_after": 1}])
    def test_a_request_that_did_nothing_is_repeated_after_the_second_look(self, shop, fault):
        shop.fault(**fault, when="before")
        purchase = shop.buy(Memory())
        (job,) = shop.jobs()
        assert (purchase.job.name, purchase.attempt) == (job["name"], 1)
        first, second = shop.requests()
        assert seconds_between(first, second) >= PATIENCE.settle_seconds + PATIENCE.request_seconds
        assert any(first["id"] < look["id"] < second["id"] for look in shop.requests("GET"))

    def test_nothing_is_repeated_for_ever(self, shop):
        shop.fault(status=500, times=None)
        memory = Memory()
        with pytest.raises(TransientError, match="2 requests for the tuning job had no clear answer"):
            shop.buy(memory)
        shop.cloud.control("DELETE", "faults")
        assert shop.jobs() == []
        assert shop.buy(memory, claim="2").attempt == 1

    def test_a_quota_that_is_used_up_is_for_the_next_try(self, shop):
        shop.fault(status=429)
        memory = Memory()
        with pytest.raises(TransientError, match="HTTP 429"):
            shop.buy(memory)
        assert len(shop.requests()) == 1
        assert shop.buy(memory, claim="2").attempt == 1

    def test_a_quota_used_up_by_a_gateways_copy_of_the_request_hides_no_job(self, shop):
        """The gateway sent the request twice: the first made a job, the second found no quota left for another."""
        shop.fault(status=429, when="after")
        memory = Memory()
        with pytest.raises(TransientError):
            shop.buy(memory)
        purchase = shop.buy(memory, claim="2")
        assert [purchase.job.name] == [job["name"] for job in shop.jobs()]

    @pytest.mark.parametrize("status", [400, 401, 403, 404])
    def test_a_refusal_ends_it_at_once(self, shop, status):
        shop.fault(status=status)
        with pytest.raises(ServiceRefusedError, match=f"HTTP {status}"):
            shop.buy(Memory())
        assert len(shop.requests()) == 1
        assert shop.jobs() == []

    def test_a_service_that_is_down_takes_no_order(self, shop, monkeypatch, unused_port):
        monkeypatch.setattr("gemini_tuning.tuning.client.READ_ATTEMPTS", 1)
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{unused_port}")
        memory = Memory()
        with pytest.raises(TransientError, match="no connection"):
            shop.buy(memory)
        assert memory == {}

    def test_a_connection_that_never_came_about_is_no_lost_answer(self, shop, monkeypatch, unused_port):
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{unused_port}")
        service = shop.new_service()
        with pytest.raises(TransientError, match="no connection"):
            service.create(shop.order().spec)

    def test_a_list_that_breaks_after_the_request_costs_nothing(self, shop, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.client.READ_ATTEMPTS", 1)
        memory = Memory()

        def reached(mark):
            if mark is Mark.AFTER_SETTLE:
                shop.fault(method="GET", path=r"tuningJobs\?", status=503)

        with pytest.raises(TransientError, match="HTTP 503"):
            shop.buy(memory, reached=reached)
        purchase = shop.buy(memory, claim="2")
        assert [purchase.job.name] == [job["name"] for job in shop.jobs()]

    def test_a_store_that_breaks_after_the_request_costs_nothing(self, shop):
        class Broken(Memory):
            def set(self, name, value):
                if value["phase"] == Phase.SUBMITTED:
                    raise ConnectionError("the store is away")
                super().set(name, value)

        memory = Broken()
        with pytest.raises(ConnectionError):
            shop.buy(memory)
        purchase = shop.buy(Memory(memory), claim="2")
        assert [purchase.job.name] == [job["name"] for job in shop.jobs()]


class TestTwoAtOnce:
    @pytest.mark.parametrize("seed", range(4))
    def test_two_buyers_end_with_one_job(self, shop, seed):
        """They stop at different points before and after the request; both have looked before either asks."""
        both_have_looked = threading.Barrier(2, timeout=60)
        created = shop.cloud.counters()["tuning_jobs_created"]
        purchases, errors = {}, []

        def reached_by(number):
            def reached(mark):
                if mark is Mark.BEFORE_INTENT:
                    both_have_looked.wait()
                if mark in {Mark.AFTER_INTENT, Mark.AFTER_REQUEST, Mark.AFTER_SETTLE}:
                    time.sleep(((seed * 7 + number * 5 + len(mark)) % 10) / 25)

            return reached

        def task(number):
            try:
                purchases[number] = shop.buy(Memory(), f"task-{number}", reached=reached_by(number))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=task, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert errors == []
        assert shop.cloud.counters()["tuning_jobs_created"] == created + 2
        assert shop.states() == ["CANCELLED", "PENDING"]
        earliest = min(shop.jobs(), key=lambda job: (job["createTime"], job["name"]))
        assert earliest["state"] == "JOB_STATE_PENDING"
        assert {purchase.job.name for purchase in purchases.values()} == {earliest["name"]}
        assert sorted(purchase.how for purchase in purchases.values()) == [How.ADOPTED, How.CREATED]
        reported = " ".join(purchase.sentence() for purchase in purchases.values())
        (other,) = (job["name"] for job in shop.jobs() if job is not earliest and job["name"] != earliest["name"])
        assert f"Tuning job {other} is cancelled." in reported

    def test_what_a_gateway_repeats_is_cancelled(self, shop):
        memory = Memory()

        def reached(mark):
            if mark is Mark.AFTER_REQUEST:
                shop.service.create(shop.order().attempt(1))

        purchase = shop.buy(memory, reached=reached)
        assert shop.states() == ["CANCELLED", "PENDING"]
        assert purchase.job.name == min(shop.jobs(), key=lambda job: job["createTime"])["name"]
        assert [c.job.state for c in purchase.cancelled] == [JobState.CANCELLED]

    def test_a_list_that_lags_for_seconds_is_outwaited(self, shop):
        """The first buyer's job is 4 s old, and hidden, when the second one asks."""
        shop.settle(list_lag_seconds=4.5)
        patience = Patience(settle_seconds=5.0, request_seconds=1.0)
        memories = [Memory(), Memory()]

        def late():
            time.sleep(4)
            shop.buy(memories[1], "late", patience=patience)

        thread = threading.Thread(target=late)
        thread.start()
        shop.buy(memories[0], "early", patience=patience)
        thread.join(120)
        assert shop.states() == ["CANCELLED", "PENDING"]
        assert memories[0].record.how is How.CREATED
        assert memories[1].record.job == memories[0].record.job


class TestChangesOfMind:
    def test_a_changed_dataset_never_adopts_the_old_job_and_drops_it(self, shop):
        memory = Memory()
        old = shop.buy(memory)
        new_key = uuid.uuid4().hex
        new = shop.buy(memory, claim="2", key=new_key)
        assert (new.how, new.attempt) == (How.CREATED, 1)
        assert [job["name"] for job in shop.jobs(new_key)] == [new.job.name]
        assert new.job.name != old.job.name
        assert shop.states() == ["CANCELLED"]

    @pytest.mark.parametrize("mark", [Mark.AFTER_INTENT, Mark.AFTER_REQUEST])
    def test_nor_does_it_leave_one_whose_name_was_never_noted(self, shop, mark):
        """The old job is hidden for as long as a list may lag; the new purchase waits for it to show."""
        shop.settle(list_lag_seconds=4)
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(mark))
        new_key = uuid.uuid4().hex
        shop.buy(memory, claim="2", key=new_key, patience=Patience(settle_seconds=4.5, request_seconds=0))
        assert set(shop.states()) <= {"CANCELLED"}
        assert len(shop.jobs(new_key)) == 1

    def test_what_another_run_bought_of_the_old_dataset_goes_on(self, shop):
        first = shop.buy(Memory(), "another")
        memory = Memory()
        assert shop.buy(memory).job.name == first.job.name
        shop.buy(memory, claim="2", key=uuid.uuid4().hex)
        assert shop.states() == ["PENDING"]

    def test_a_cleared_task_buys_anew_what_its_clearing_cancelled(self, shop):
        memory = Memory()
        first = shop.buy(memory)
        cancel(shop.service, first.job.name)
        then = shop.buy(memory, claim="2")
        assert (then.how, then.attempt, then.recovered) == (How.CREATED, 2, False)

    def test_an_adopted_job_that_others_cancel_is_bought_once_more_and_never_twice(self, shop):
        name = shop.plant("RUNNING")
        memory = Memory()
        assert shop.buy(memory).job.name == name
        cancel(shop.service, name)
        recovered = shop.buy(memory)
        assert (recovered.how, recovered.attempt, recovered.recovered) == (How.CREATED, 2, True)
        assert "in place of a job that somebody else cancelled" in recovered.sentence()
        cancel(shop.service, recovered.job.name)
        after = shop.buy(memory)
        assert (after.job.name, after.job.state) == (recovered.job.name, JobState.CANCELLED)
        assert "Nothing was bought in its place; clear the task to buy attempt 3." in after.sentence()
        assert len(shop.requests()) == 1

    def test_once_more_is_once_even_if_the_request_for_it_has_to_be_repeated(self, shop):
        name = shop.plant("RUNNING")
        memory = Memory()
        shop.buy(memory)
        cancel(shop.service, name)
        shop.fault(status=500)
        recovered = shop.buy(memory)
        assert recovered.recovered
        cancel(shop.service, recovered.job.name)
        assert shop.buy(memory).job.name == recovered.job.name

    def test_two_who_lost_the_same_job_recover_with_one(self, shop):
        name = shop.plant("RUNNING")
        memories = [Memory(), Memory()]
        for number, memory in enumerate(memories):
            assert shop.buy(memory, f"task-{number}").job.name == name
        cancel(shop.service, name)
        threads = [
            threading.Thread(target=shop.buy, args=(memory, f"task-{number}")) for number, memory in enumerate(memories)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert shop.states().count("PENDING") == 1
        assert len({memory.record.job for memory in memories}) == 1

    def test_a_failure_is_told_once_and_then_followed_by_the_next_attempt(self, shop):
        memory = Memory()
        bought = shop.buy(memory)
        memory.set(RECORD_NAME, memory.record.model_copy(update={"job": shop.plant("FAILED")}).to_json())
        cancel(shop.service, bought.job.name)
        told = shop.buy(memory, claim="2")
        assert told.job.state is JobState.FAILED
        assert "clear the task to buy attempt 2" in told.sentence()
        assert shop.buy(memory, claim="3").attempt == 2


class TestCancelling:
    def test_a_job_is_cancelled_and_seen_to_end(self, shop):
        job = shop.buy(Memory()).job
        done = cancel(shop.service, job.name)
        assert (done.asked, done.job.state) == (True, JobState.CANCELLED)
        assert done.sentence() == f"Tuning job {job.name} is cancelled."

    @pytest.mark.parametrize("answer", ["refuse", "ignore"])
    def test_a_second_time_is_no_error(self, shop, answer):
        shop.settle(cancel_ended=answer)
        job = shop.buy(Memory()).job
        cancel(shop.service, job.name)
        assert cancel(shop.service, job.name).job.state is JobState.CANCELLED

    def test_a_job_that_had_succeeded_is_said_to_have(self, shop):
        name = shop.plant("SUCCEEDED")
        assert "had ended SUCCEEDED" in cancel(shop.service, name).sentence()

    def test_a_slow_service_is_not_waited_for_longer_than_allowed(self, shop):
        shop.cloud.control(
            "POST", "scenarios", {"labels": {KEY_LABEL: shop.key}, "seconds": {"CANCELLING": 3, "PENDING": 10_000}}
        )
        job = shop.buy(Memory()).job
        done = cancel(shop.service, job.name, within_seconds=0)
        assert (done.asked, done.job.state) == (True, JobState.CANCELLING)
        assert "is still CANCELLING" in done.sentence()
        wait_until(lambda: shop.states() == ["CANCELLED"], 60, "the job to be cancelled")

    def test_a_cancellation_that_comes_too_late_is_told(self, shop):
        shop.cloud.control(
            "POST",
            "scenarios",
            {"labels": {KEY_LABEL: shop.key}, "seconds": {"PENDING": 10_000}, "cancel": "JOB_STATE_FAILED"},
        )
        job = shop.buy(Memory()).job
        assert "ended FAILED before that took effect" in cancel(shop.service, job.name).sentence()

    def test_broken_calls_are_repeated(self, shop, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.client.READ_ATTEMPTS", 1)
        job = shop.buy(Memory()).job
        service = shop.new_service()
        shop.fault(path=":cancel$", status=503, times=2)
        shop.fault(method="GET", path="tuningJobs/", drop=True)
        assert cancel(service, job.name).job.state is JobState.CANCELLED

    def test_a_cancellation_nobody_took_is_an_error(self, shop, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.client.READ_ATTEMPTS", 1)
        job = shop.buy(Memory()).job
        service = shop.new_service()
        shop.fault(path=":cancel$", status=503, times=None)
        with pytest.raises(TransientError, match="HTTP 503"):
            cancel(service, job.name, within_seconds=0.3)

    def test_an_unknown_job_is_refused(self, shop):
        with pytest.raises(ServiceRefusedError, match="HTTP 404"):
            cancel(shop.service, f"{shop.cloud.parent}/tuningJobs/1")


class TestGivingUp:
    def test_what_the_task_created_is_cancelled_even_if_no_list_shows_it(self, shop):
        shop.settle(list_lag_seconds=10_000)
        memory = Memory()
        job = shop.buy(memory).job
        (done,) = give_up(shop.service, shop.order(), memory.record)
        assert (done.job.name, done.job.state) == (job.name, JobState.CANCELLED)

    def test_what_it_only_adopted_goes_on(self, shop):
        shop.plant("RUNNING")
        memory = Memory()
        assert shop.buy(memory).how is How.ADOPTED
        assert give_up(shop.service, shop.order(), memory.record) == ()
        assert shop.states() == ["RUNNING"]

    def test_what_an_earlier_try_created_is_its_own(self, shop):
        memory = Memory()
        shop.buy(memory)
        shop.buy(memory, claim="2")
        give_up(shop.service, shop.order(claim="2"), memory.record)
        assert shop.states() == ["CANCELLED"]

    def test_a_request_that_was_under_way_is_looked_for(self, shop):
        memory = Memory()
        with pytest.raises(Died):
            shop.buy(memory, reached=dies_at(Mark.AFTER_REQUEST))
        give_up(shop.service, shop.order(), memory.record)
        assert shop.states() == ["CANCELLED"]

    @pytest.mark.parametrize("memory", ["none", "of another key"])
    def test_before_anything_was_asked_there_is_nothing_to_cancel(self, shop, memory):
        shop.plant("RUNNING")
        other = Memory()
        if memory == "of another key":
            shop.buy(other, key=uuid.uuid4().hex)
        assert give_up(shop.service, shop.order(), other.record if other else None) == ()

    def test_the_buyer_knows_what_it_remembered_without_asking_the_store(self, shop):
        memory = Memory()
        buyer = Buyer(shop.service, memory, PATIENCE, reached=dies_at(Mark.AFTER_NAME))
        with pytest.raises(Died):
            buyer.buy(shop.order())
        assert buyer.remembered == memory.record


def seconds_between(first, second):
    return (dt.datetime.fromisoformat(second["time"]) - dt.datetime.fromisoformat(first["time"])).total_seconds()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
