from __future__ import annotations

import pytest
from tests.local_cloud.services import wait_until
from tests.tuning.shop import Memory

from gemini_tuning.errors import ServiceRefusedError, TransientError
from gemini_tuning.tuning.cancelling import cancel
from gemini_tuning.tuning.spec import KEY_LABEL
from gemini_tuning.tuning.states import JobState


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
