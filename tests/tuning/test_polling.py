"""The poller against the local Vertex AI, through Google's own client; the service's ledger says what was asked."""

import asyncio
import gc
import itertools
import re
import threading
import time
from contextlib import AsyncExitStack

import pytest
from tests.local_cloud.services import wait_until

from gemini_tuning.errors import CredentialsRefusedError, ServiceRefusedError, TransientError
from gemini_tuning.hooks.tuning import GeminiTuningHook
from gemini_tuning.tuning.polling import REFUSALS_BORNE, Poller
from gemini_tuning.tuning.schedule import PAGE_SIZE, Backoff
from gemini_tuning.tuning.sharing import shared_poller
from gemini_tuning.tuning.spec import KEY_LABEL, TuningJob
from gemini_tuning.tuning.states import JobState
from gemini_tuning.tuning.stopping import stop

NUMBERS = itertools.count(10**17)
SOON = 30.0


class Place:
    """A location of its own, so that no other test's jobs are in its lists, and what was asked there."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.location = f"region{next(NUMBERS)}"
        self.parent = f"projects/{cloud.project_number}/locations/{self.location}"
        self.connected = 0

    def plant(self, state="RUNNING", job_id=None, labels=None, **fields):
        name = f"{self.parent}/tuningJobs/{job_id or next(NUMBERS)}"
        labels = {KEY_LABEL: "k"} if labels is None else labels
        self.cloud.control("POST", "jobs", {"name": name, "state": f"JOB_STATE_{state}", "labels": labels, **fields})
        return name

    def end(self, name, state="SUCCEEDED"):
        self.plant(state, name.rsplit("/", 1)[1])

    def fault(self, path, **fault):
        self.cloud.control("POST", "faults", {"path": f"{self.location}/{path}", "method": "GET", **fault})

    def asked(self):
        """Return (lists, gets) so far."""
        paths = [
            row["path"] for row in self.cloud.requests() if self.location in row["path"] and row["method"] == "GET"
        ]
        lists = [path for path in paths if path.endswith("/tuningJobs")]
        return len(lists), len(paths) - len(lists)

    def rows(self):
        return [row for row in self.cloud.requests() if self.location in row["path"]]

    def connect(self):
        self.connected += 1
        return GeminiTuningHook(location=self.location).polled()

    def poller(self):
        return Poller(self.connect, chance=lambda: 0.0)


@pytest.fixture
def place(google):
    yield Place(google)
    google.control("DELETE", "faults")


async def until_ended(watch, seconds=SOON):
    """Return the watched job once it has ended, or the error that is the last news."""
    async with asyncio.timeout(seconds):
        while True:
            update = await watch.next(seconds)
            if update.error and not isinstance(update.error, TransientError):
                return update.error
            if update.job and update.job.state.ended:
                return update.job


async def watch_all(stack, poller, names, interval):
    return [await stack.enter_async_context(poller.watch(name, interval)) for name in names]


async def seen(watches):
    async with asyncio.timeout(SOON):
        while any(watch.job is None for watch in watches):
            await asyncio.sleep(0.01)


async def rounds(poller, watches, number):
    """Let every watch be looked at so many times more."""
    for _ in range(number):
        before = [watch.due for watch in watches]
        async with asyncio.timeout(SOON):
            while any(watch.due == due for watch, due in zip(watches, before, strict=True)):
                await asyncio.sleep(0.01)


class TestCoalescing:
    @pytest.mark.parametrize(("number", "pages"), [(2, 1), (30, 1), (101, 2)])
    def test_many_waits_are_a_few_pages(self, place, number, pages):
        names = [place.plant() for _ in range(number)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, names, 0.5)
                await seen(watches)
                before = place.asked()
                await rounds(poller, watches, 3)
                return before, place.asked()

        (lists, gets), (more, no_gets) = asyncio.run(scenario())
        assert gets == no_gets == 0
        assert 3 * pages <= more - lists <= 5 * pages
        assert lists <= 2 * pages
        sizes = {int(re.search(r"pageSize=(\d+)", row["query"])[1]) for row in place.rows()}
        assert sizes == {PAGE_SIZE}

    def test_one_wait_is_a_get(self, place):
        name = place.plant()

        async def scenario():
            poller = place.poller()
            async with poller.watch(name, 0.2) as watch:
                await seen([watch])
                place.end(name)
                return await until_ended(watch)

        assert asyncio.run(scenario()).state is JobState.SUCCEEDED
        lists, gets = place.asked()
        assert lists == 0
        assert gets >= 2

    def test_the_end_of_each_job_reaches_its_own_wait(self, place):
        names = [place.plant() for _ in range(12)]
        ends = ["SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]

        async def scenario():
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, place.poller(), names, 0.3)
                await seen(watches)
                for name, end in zip(names, itertools.cycle(ends), strict=False):
                    await asyncio.to_thread(place.end, name, end)
                return await asyncio.gather(*map(until_ended, watches))

        jobs = asyncio.run(scenario())
        assert [job.name for job in jobs] == names
        assert [job.state.short for job in jobs] == ends * 3

    def test_a_wait_that_comes_later_joins_the_others(self, place):
        names = [place.plant() for _ in range(5)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, names[:4], 0.6)
                await seen(watches)
                await asyncio.sleep(0.3)
                watches += await watch_all(stack, poller, names[4:], 0.6)
                await seen(watches)
                await rounds(poller, watches, 1)
                before = place.asked()
                await rounds(poller, watches, 3)
                return before, place.asked()

        before, after = asyncio.run(scenario())
        assert after[1] == before[1]
        assert after[0] - before[0] <= 5

    def test_two_waits_for_one_job_are_told_by_one_list(self, place):
        name = place.plant()

        async def scenario():
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, place.poller(), [name, name], 0.3)
                await seen(watches)
                await asyncio.to_thread(place.end, name)
                return await asyncio.gather(*map(until_ended, watches))

        assert [job.name for job in asyncio.run(scenario())] == [name, name]
        assert place.asked()[1] == 0

    def test_others_jobs_are_waited_for_by_their_state(self, place):
        names = [place.plant(labels={"team": "paint"}) for _ in range(12)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, names, 0.3)
                await seen(watches)
                await rounds(poller, watches, 2)
                before = place.asked()
                await rounds(poller, watches, 2)
                after = place.asked()
                await asyncio.to_thread(place.plant, "SUCCEEDED", names[0].rsplit("/", 1)[1], {"team": "paint"})
                return before, after, await until_ended(watches[0])

        before, after, job = asyncio.run(scenario())
        assert before[1] == after[1]
        assert after[0] > before[0]
        assert job.name == names[0]
        assert any("JOB_STATE_SUCCEEDED" in row["query"] for row in place.rows())

    def test_a_name_spelt_with_the_projects_id_is_the_same_job(self, place):
        names = [place.plant().replace(place.cloud.project_number, place.cloud.project) for _ in range(3)]

        async def scenario():
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, place.poller(), names, 0.3)
                await seen(watches)
                return place.asked()

        assert asyncio.run(scenario())[1] == 0

    def test_a_poller_is_shared_by_key_and_loop(self):
        async def scenario():
            one, same = (shared_poller(("a", "b"), lambda: None) for _ in range(2))
            return one, same, shared_poller(("a", "c"), lambda: None)

        one, same, other = asyncio.run(scenario())
        assert one is same
        assert one is not other
        assert asyncio.run(scenario())[0] is not one

    def test_nothing_is_asked_once_nobody_waits(self, place):
        names = [place.plant() for _ in range(2)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                await seen(await watch_all(stack, poller, names, 0.1))
            before = len(place.rows())
            await asyncio.sleep(0.6)
            return before

        assert asyncio.run(scenario()) == len(place.rows())
        assert [thread for thread in threading.enumerate() if thread.name.startswith("tuning-poller")] == []


class TestWhatListsDontShow:
    def test_a_job_of_another_place_is_got_and_the_others_stay_listed(self, place, google):
        elsewhere = Place(google).plant()
        names = [place.plant() for _ in range(4)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, [elsewhere, *names], 0.3)
                await seen(watches)
                await rounds(poller, watches[1:], 3)
                return watches[0].job

        assert asyncio.run(scenario()).name == elsewhere
        assert place.asked()[1] == 0

    def test_new_jobs_that_lists_show_late_are_got_until_then(self, place, google):
        google.control("PATCH", "settings", {"list_lag_seconds": 3600, "pending_seconds": 3600})
        try:
            uri = google.upload(
                "polling/train.jsonl",
                [{"contents": [{"role": r, "parts": [{"text": r}]} for r in ("user", "model")]}] * 8,
            )
            body = {
                "baseModel": "gemini-2.5-flash",
                "supervisedTuningSpec": {"trainingDatasetUri": uri},
                "labels": {KEY_LABEL: "k"},
            }
            with google.http() as client:
                created = [
                    client.post(f"/v1/{place.parent}/tuningJobs", json=body).raise_for_status().json()["name"]
                    for _ in range(3)
                ]

            async def scenario():
                poller = place.poller()
                async with AsyncExitStack() as stack:
                    watches = await watch_all(stack, poller, created, 0.2)
                    await seen(watches)
                    lagging = place.asked()
                    await asyncio.to_thread(google.control, "PATCH", "settings", {"list_lag_seconds": 0})
                    await rounds(poller, watches, 12)
                    before = place.asked()
                    await rounds(poller, watches, 3)
                    after = place.asked()
                    for name in created:
                        await poller.call(lambda source, name=name: source.cancel(name))
                    return lagging, before, after, await asyncio.gather(*map(until_ended, watches))

            lagging, before, after, jobs = asyncio.run(scenario())
        finally:
            google.control("DELETE", "settings")
        assert lagging[1] >= 3
        assert after[1] == before[1]  # lists show them now
        assert {job.state for job in jobs} == {JobState.CANCELLED}

    @pytest.mark.parametrize("status", [400, 403, 501])
    def test_a_service_that_gives_no_lists_is_asked_one_by_one(self, place, status):
        names = [place.plant() for _ in range(3)]
        place.fault(r"tuningJobs\?", status=status, times=None)

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, names, 0.2)
                await seen(watches)
                await rounds(poller, watches, 2)
                lists = place.asked()[0]
                await rounds(poller, watches, 2)
                return lists

        assert asyncio.run(scenario()) == place.asked()[0] <= 2

    def test_lists_that_showed_too_little_are_read_again_for_more_waits(self, place):
        names = [place.plant() for _ in range(3 * PAGE_SIZE + 20)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                oldest = await watch_all(stack, poller, names[:12], 0.5)  # newer ones fill the pages read for them
                await seen(oldest)
                watches = [*oldest, *await watch_all(stack, poller, names[12:], 0.5)]
                await seen(watches)
                before = place.asked()
                await rounds(poller, watches, 2)
                return before, place.asked()

        (lists, gets), (more, no_gets) = asyncio.run(scenario())
        assert no_gets == gets <= 2 * 12
        assert more > lists

    def test_lists_that_keep_failing_are_done_without(self, place, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.schedule.FIRST_DELAY_SECONDS", 0.1)
        names = [place.plant() for _ in range(3)]
        place.fault(r"tuningJobs\?", status=503, times=None)

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, names, 0.2)
                await seen(watches)
                await rounds(poller, watches, 3)
                lists = place.asked()[0]
                await rounds(poller, watches, 3)
                return lists

        assert asyncio.run(scenario()) == place.asked()[0]


class TestTrouble:
    def run(self, place, names, interval=0.2, after=None):
        """Wait for all; return what each got and the trouble that the first was told of."""
        told = []

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, names, interval)
                if after:
                    await seen(watches)
                    await asyncio.to_thread(after)

                async def first():
                    async with asyncio.timeout(SOON):
                        while not (watches[0].job and watches[0].job.state.ended):
                            update = await watches[0].next(SOON)
                            if update.error:
                                told.append(update.error)
                    return watches[0].job

                return await asyncio.gather(first(), *map(until_ended, watches[1:]))

        return asyncio.run(scenario()), told

    def ending(self, place, names, *faults):
        def go():
            for path, fault in faults:
                place.fault(path, **fault)
            for name in names:
                place.end(name)

        return go

    def test_retry_after_holds_for_everybody(self, place):
        names = [place.plant() for _ in range(5)]
        fault = ("tuningJobs", {"status": 429, "retry_after": 3})
        jobs, told = self.run(place, names, after=self.ending(place, names, fault))
        assert all(job.state is JobState.SUCCEEDED for job in jobs)
        assert [error.code for error in told] == [429]
        assert told[0].retry_after == 3
        times = [(row["time"], row["status"]) for row in place.rows()]
        refused = next(index for index, (_, status) in enumerate(times) if status == 429)
        assert _seconds(times[refused + 1][0]) - _seconds(times[refused][0]) >= 3

    def test_an_unavailable_service_is_asked_ever_more_rarely_and_by_one_request(self, place):
        names = [place.plant() for _ in range(8)]
        fault = ("tuningJobs", {"status": 503, "times": 2})
        jobs, told = self.run(place, names, after=self.ending(place, names, fault))
        assert all(job.state is JobState.SUCCEEDED for job in jobs)
        assert {error.code for error in told} == {503}
        failed = [_seconds(row["time"]) for row in place.rows() if row["status"] == 503]
        assert len(failed) == 2
        assert failed[1] - failed[0] >= 1.9

    @pytest.mark.parametrize("fault", [{"drop": True}, {"truncate": True}, {"invalid_json": True}, {"status": 500}])
    def test_broken_answers_are_waited_out(self, place, fault):
        names = [place.plant() for _ in range(2)]
        jobs, told = self.run(place, names, after=self.ending(place, names, ("tuningJobs", fault)))
        assert all(job.state is JobState.SUCCEEDED for job in jobs)
        assert all(isinstance(error, TransientError) for error in told)

    def test_a_job_that_is_gone_ends_its_own_wait_only(self, place):
        names = [place.plant() for _ in range(4)]
        gone = f"{place.parent}/tuningJobs/{next(NUMBERS)}"

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                lost, *others = await watch_all(stack, poller, [gone, *names], 0.2)
                error = await until_ended(lost)
                for name in names:
                    await asyncio.to_thread(place.end, name)
                return error, await asyncio.gather(*map(until_ended, others))

        error, jobs = asyncio.run(scenario())
        assert isinstance(error, ServiceRefusedError)
        assert "HTTP 404" in str(error)
        assert all(job.state is JobState.SUCCEEDED for job in jobs)

    def test_a_job_whose_answer_never_comes_holds_up_no_other(self, place):
        hanging = place.plant(labels={})
        names = [place.plant() for _ in range(3)]
        place.fault(f"tuningJobs/{hanging.rsplit('/', 1)[1]}", delay_seconds=6, times=None)
        place.fault(r"tuningJobs\?.*state", status=400, times=None)

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watch, *others = await watch_all(stack, poller, [hanging, *names], 0.2)
                await seen(others)
                for name in names:
                    await asyncio.to_thread(place.end, name)
                jobs = await asyncio.gather(*map(until_ended, others))
                return watch.job, jobs

        unseen, jobs = asyncio.run(scenario())
        assert unseen is None
        assert all(job.state is JobState.SUCCEEDED for job in jobs)

    def test_one_job_that_always_fails_slows_down_nobody_else_after_the_first_time(self, place):
        bad = place.plant(labels={})
        names = [place.plant() for _ in range(30)]
        place.fault(f"tuningJobs/{bad.rsplit('/', 1)[1]}", status=503, times=None)

        def failures():
            return [index for index, row in enumerate(place.rows()) if row["status"] == 503]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(poller.watch(bad, 1.0))
                await seen(await watch_all(stack, poller, names, 0.2))
                await asyncio.to_thread(wait_until, lambda: len(failures()) >= 4, SOON, "a fourth failure")

        asyncio.run(scenario())
        *_, before, last = failures()
        assert last - before > 2  # others were looked at meanwhile, more than once

    def test_trouble_that_is_over_is_forgotten(self, place, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.schedule.FIRST_DELAY_SECONDS", 0.1)
        names = [place.plant() for _ in range(3)]
        place.fault("tuningJobs", status=503, times=2)

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                await seen(await watch_all(stack, poller, names, 0.2))
                return poller._backoff

        assert asyncio.run(scenario()) == Backoff()

    def test_a_job_that_lists_no_longer_show_is_looked_at_at_once(self, place):
        labels = {"team": "paint"}
        names = [place.plant(labels=labels) for _ in range(12)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                rare = await stack.enter_async_context(poller.watch(names[0], 3600))
                others = await watch_all(stack, poller, names[1:], 0.2)
                await seen([rare, *others])
                await rounds(poller, others, 3)
                await asyncio.to_thread(place.plant, "SUCCEEDED", names[0].rsplit("/", 1)[1], labels)
                return await until_ended(rare)

        assert asyncio.run(scenario()).state is JobState.SUCCEEDED

    def test_a_job_that_can_t_be_read_is_told_to_its_own_wait_only(self, place, monkeypatch):
        from gemini_tuning.tuning import service

        names = [place.plant() for _ in range(3)]
        read = service.to_tuning_job

        def unreadable(job):
            if job.name == names[0]:
                raise ValueError("no such thing")
            return read(job)

        monkeypatch.setattr(service, "to_tuning_job", unreadable)

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                odd, *others = await watch_all(stack, poller, names, 0.2)
                update = await odd.next(SOON)
                await seen(others)
                for name in names[1:]:
                    await asyncio.to_thread(place.end, name)
                return update.error, await asyncio.gather(*map(until_ended, others))

        error, jobs = asyncio.run(scenario())
        assert "no such thing" in str(error)
        assert len(jobs) == 2


class TestCredentials:
    def test_expired_ones_are_loaded_anew_and_nobody_notices(self, place):
        names = [place.plant() for _ in range(3)]

        async def scenario():
            poller = place.poller()
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, poller, names, 0.2)
                await seen(watches)
                place.fault("tuningJobs", status=401)
                for name in names:
                    await asyncio.to_thread(place.end, name)
                return await asyncio.gather(*map(until_ended, watches))

        assert all(job.state is JobState.SUCCEEDED for job in asyncio.run(scenario()))
        assert place.connected == 2
        assert [row["status"] for row in place.rows()].count(401) == 1

    def test_ones_that_stay_refused_are_told_after_some_patience(self, place, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.schedule.FIRST_DELAY_SECONDS", 0.1)
        names = [place.plant() for _ in range(2)]
        place.fault("tuningJobs", status=401, times=None)

        async def scenario():
            async with AsyncExitStack() as stack:
                watches = await watch_all(stack, place.poller(), names, 0.2)
                return await asyncio.gather(*map(until_ended, watches))

        errors = asyncio.run(scenario())
        assert all(isinstance(error, CredentialsRefusedError) for error in errors)
        assert place.connected == REFUSALS_BORNE + 1


def test_losses_are_read_now_and_then_whoever_asks(place):
    async def scenario():
        poller = place.poller()
        async with poller.watch(place.plant(), 0.2) as watch:
            await seen([watch])
            return [await poller.losses(watch.job) for _ in range(8)]

    read = asyncio.run(scenario())
    assert [metrics is None for metrics in read] == [False] * 5 + [True] * 3


class TestStopping:
    def stop(self, place, name, within=20.0):
        async def scenario():
            return await stop(place.poller(), name, within)

        return asyncio.run(scenario())

    def cancellations(self, place):
        return [row for row in place.rows() if row["path"].endswith(":cancel")]

    def test_a_cancelled_job_is_seen_to_have_ended(self, place):
        stopped = self.stop(place, place.plant())
        assert stopped.job.state is JobState.CANCELLED
        assert (stopped.asked, stopped.too_late) == (True, False)
        assert len(self.cancellations(place)) == 1

    def test_one_that_has_ended_is_no_error(self, place):
        stopped = self.stop(place, place.plant("SUCCEEDED"))
        assert (stopped.asked, stopped.too_late) == (False, True)

    def test_trouble_is_waited_out(self, place):
        name = place.plant()
        place.cloud.control("POST", "faults", {"path": f"{place.location}.*cancel", "status": 503, "times": 2})
        assert self.stop(place, name).job.state is JobState.CANCELLED

    def test_a_refusal_is_told(self, place):
        name = place.plant()
        place.cloud.control("POST", "faults", {"path": f"{place.location}.*cancel", "status": 403, "times": None})
        with pytest.raises(ServiceRefusedError, match="HTTP 403"):
            self.stop(place, name)

    def test_it_takes_no_longer_than_it_may(self, place):
        name = place.plant()
        place.cloud.control("POST", "faults", {"path": f"{place.location}.*cancel", "delay_seconds": 8, "times": None})
        with pytest.raises(TransientError, match=r"did not answer within 0\.5 s"):
            self.stop(place, name, within=0.5)

    def test_what_was_asked_for_and_not_seen_to_end_is_said_to_be_so(self, place):
        ending = TuningJob(name=place.plant(), state=JobState.CANCELLING)

        class Slow:
            """A service that takes its time to end a job."""

            async def call(self, ask):
                return ask(self)

            def cancel(self, name):
                pass

            async def get(self, name):
                return ending

        stopped = asyncio.run(stop(Slow(), ending.name, within=0.5))
        assert stopped.job.state is JobState.CANCELLING
        assert "is still CANCELLING" in stopped.sentence()


def test_what_is_there_when_waiting_begins_is_left_out_of_later_collections(place):
    gc.unfreeze()
    try:
        place.poller()
        assert gc.get_freeze_count() == 0

        async def scenario():
            async with place.poller().watch(place.plant(), 0.2) as watch:
                await seen([watch])

        asyncio.run(scenario())
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_the_event_loop_goes_on_while_the_service_is_slow(place):
    """Every answer takes a second; the loop's pulse goes on meanwhile."""
    names = [place.plant() for _ in range(40)]
    place.fault("tuningJobs", delay_seconds=1, times=None)
    beats = []

    async def scenario():
        async def beat():
            while True:
                beats.append(time.monotonic())
                await asyncio.sleep(0.005)

        pulse = asyncio.create_task(beat())
        async with AsyncExitStack() as stack:
            watches = await watch_all(stack, place.poller(), names, 0.2)
            await seen(watches)
        pulse.cancel()

    asyncio.run(scenario())
    assert max(after - before for before, after in itertools.pairwise(beats)) < 0.9


def _seconds(text):
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()
