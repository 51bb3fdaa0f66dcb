"""What is bought, adopted and reused, and what becomes of requests that break."""

from __future__ import annotations

import datetime as dt

import pytest
from tests.tuning.shop import PATIENCE, Memory

from gemini_tuning.errors import ConfigError, ServiceRefusedError, TransientError
from gemini_tuning.tuning.buying import RECORD_NAME
from gemini_tuning.tuning.marks import Mark
from gemini_tuning.tuning.purchase import How, Phase
from gemini_tuning.tuning.spec import ATTEMPT_LABEL, KEY_LABEL, OWNER_LABEL


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

    @pytest.mark.parametrize("state", ["FAILED", "CANCELLED", "EXPIRED"])
    def test_what_ended_otherwise_is_followed_by_the_next_attempt(self, shop, state):
        shop.plant(state, attempt=3)
        purchase = shop.buy(Memory())
        assert (purchase.how, purchase.attempt) == (How.CREATED, 4)
        assert shop.service.get(purchase.job.name).labels[ATTEMPT_LABEL] == "4"

    def test_nothing_is_bought_while_a_job_of_the_key_is_being_cancelled(self, shop):
        name = shop.plant("CANCELLING")
        memory = Memory()
        purchase = shop.buy(memory)
        assert (purchase.job.name, shop.requests(), memory) == (name, [], {})
        assert "nothing is bought before it has ended" in purchase.sentence()
        shop.plant("CANCELLED", name=name)
        assert shop.buy(memory).attempt == 2

    def test_a_cancellation_that_came_too_late_is_paid_for_once(self, shop):
        name = shop.plant("CANCELLING")
        shop.buy(Memory())
        shop.plant("SUCCEEDED", name=name)
        assert shop.buy(Memory()).how is How.REUSED
        assert shop.requests() == []

    def test_what_is_no_longer_what_was_checked_is_not_asked_for(self, shop):
        def changed():
            raise ConfigError("changed")

        with pytest.raises(ConfigError, match="changed"):
            shop.buy(Memory(), check=changed)
        assert shop.jobs() == []

    def test_a_record_that_cannot_be_read_is_not_taken_for_none(self, shop):
        memory = Memory()
        memory.set(RECORD_NAME, {"key": shop.key, "version": 9})
        with pytest.raises(ConfigError, match="Storage tab"):
            shop.buy(memory)
        assert shop.jobs() == []


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


def seconds_between(first, second):
    return (dt.datetime.fromisoformat(second["time"]) - dt.datetime.fromisoformat(first["time"])).total_seconds()
