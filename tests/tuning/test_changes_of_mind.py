"""Datasets that change, tasks that are cleared, jobs that others cancel, runs that give up."""

from __future__ import annotations

import threading
import uuid

import pytest
from tests.tuning.shop import PATIENCE, Died, Memory, dies_at

from gemini_tuning.errors import TransientError
from gemini_tuning.tuning.buying import RECORD_NAME, Buyer
from gemini_tuning.tuning.cancelling import cancel, give_up
from gemini_tuning.tuning.marks import Mark
from gemini_tuning.tuning.purchase import How, Patience
from gemini_tuning.tuning.spec import INSTALLATION_LABEL, KEY_LABEL, OWNER_LABEL
from gemini_tuning.tuning.states import JobState


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
        told = shop.buy(memory, claim="2", round="5")
        assert told.job.state is JobState.FAILED
        assert "clear the task to buy attempt 2" in told.sentence()
        assert shop.buy(memory, claim="3", round="5").job.name == told.job.name
        assert shop.buy(memory, claim="4", round="8").attempt == 2


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

    def test_the_job_of_another_airflows_task_of_the_same_name_goes_on(self, shop):
        theirs = {KEY_LABEL: shop.key, OWNER_LABEL: "me", INSTALLATION_LABEL: "staging"}
        shop.plant("RUNNING", labels=theirs)
        assert give_up(shop.service, shop.order("me"), None) == ()
        shop.plant("RUNNING", owner="me")
        assert len(give_up(shop.service, shop.order("me"), None)) == 1
        assert shop.states() == ["CANCELLED", "RUNNING"]

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

    @pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}, {"truncate": True}])
    def test_one_broken_answer_leaves_no_job_running(self, shop, fault):
        memory = Memory()
        shop.buy(memory)
        shop.fault(method="GET", path=r"tuningJobs\?", **fault)
        (done,) = give_up(shop.new_service(attempts=1), shop.order(), memory.record)
        assert done.job.state is JobState.CANCELLED

    @pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}])
    def test_a_process_about_to_be_killed_wastes_no_time_on_a_client_that_retries(self, shop, fault):
        service = shop.new_service(attempts=1)
        shop.fault(method="GET", path=r"tuningJobs\?", times=None, **fault)
        with pytest.raises(TransientError):
            give_up(service, shop.order(), None, within_seconds=0)
        assert len(shop.requests("GET")) == 1

    def test_a_process_about_to_be_killed_waits_for_no_slow_answer(self, shop):
        service = shop.new_service(attempts=1, timeout=0.5)
        shop.fault(method="GET", path=r"tuningJobs\?", delay_seconds=30)
        with pytest.raises(TransientError, match="no connection"):
            give_up(service, shop.order(), None, within_seconds=0)

    def test_the_buyer_knows_what_it_remembered_without_asking_the_store(self, shop):
        memory = Memory()
        buyer = Buyer(shop.service, memory, PATIENCE, reached=dies_at(Mark.AFTER_NAME))
        with pytest.raises(Died):
            buyer.buy(shop.order())
        assert buyer.remembered == memory.record
