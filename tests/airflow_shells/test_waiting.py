import asyncio
import importlib
import itertools
import re
import socket
import time
from types import SimpleNamespace

import psutil
import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from tests.local_cloud.services import wait_until

from gemini_tuning.hooks.tuning import GeminiTuningHook
from gemini_tuning.sensors.tuning import TuningJobSensor
from gemini_tuning.triggers.tuning import TuningJobTrigger
from gemini_tuning.tuning.spec import TuningJob, TuningJobSpec
from gemini_tuning.tuning.states import JobState

LINE = '{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"text":"b"}]}]}\n'


@pytest.fixture
def jobs(google):
    return GeminiTuningHook().jobs


@pytest.fixture
def job(google, jobs):
    """A job on its way."""
    uri = google.upload("waiting/train.jsonl", LINE * 8)
    return jobs.create(TuningJobSpec(base_model="gemini-2.5-flash", training_dataset_uri=uri, epochs=1))


@pytest.fixture
def failing_job(google, jobs):
    """A job whose training breaks down at the service."""
    uri = google.upload("waiting/long.jsonl", LINE * 400)
    job = jobs.create(TuningJobSpec(base_model="gemini-2.5-flash", training_dataset_uri=uri, epochs=1000))
    service = psutil.Process(google.pid)

    def break_down():
        for process in service.children():
            if any(str(job.name.rsplit("/", 1)[1]) in part for part in process.cmdline()):
                process.kill()
        return jobs.get(job.name).state.ended

    wait_until(break_down, 60, "the job to fail")
    return job


def sensor(job, **settings):
    return TuningJobSensor(task_id="wait", tuning_job=job.to_json(), poke_interval=0.1, **settings)


def trigger(name, *, seconds=60.0):
    return TuningJobTrigger(
        name=name,
        gcp_conn_id="google_cloud_default",
        project_id=None,
        impersonation_chain=None,
        poll_interval=0.1,
        deadline=time.time() + seconds,
    )


def fire(waiting):
    """Run a trigger as the triggerer does: made anew from its serialised form."""
    path, arguments = waiting.serialize()
    module, _, name = path.rpartition(".")
    copy = getattr(importlib.import_module(module), name)(**arguments)

    async def first():
        return await anext(aiter(copy.run()))

    return asyncio.run(first()).payload


class TestDeferred:
    def test_a_job_that_runs_is_waited_for_in_the_triggerer(self, context, job):
        with pytest.raises(TaskDeferred) as deferred:
            sensor(job).execute(context)
        event = fire(deferred.value.trigger)
        assert event["look"] == "ended"
        ended = TuningJob.from_json(sensor(job).execute_complete(context, event))
        assert ended.state is JobState.SUCCEEDED
        assert ended.tuned_model.endpoint
        assert context["ti"].pushed["console_url"] == job.console_url

    def test_a_job_that_has_ended_is_not_deferred(self, context, job, jobs):
        wait_until(lambda: jobs.get(job.name).state.ended, 60, "the job to end")
        assert TuningJob.from_json(sensor(job).execute(context)).state is JobState.SUCCEEDED

    def test_a_failed_job_fails_the_task_with_the_services_words(self, context, failing_job):
        event = fire(trigger(failing_job.name))
        with pytest.raises(AirflowFailException, match=r"ended FAILED: code \d+, .*See https://console") as caught:
            sensor(failing_job).execute_complete(context, event)
        assert event["job"]["error"]["message"].rstrip(".") in str(caught.value)

    def test_a_cancelled_job_fails_the_task(self, context, job, jobs):
        jobs.cancel(job.name)
        event = fire(trigger(job.name))
        with pytest.raises(AirflowFailException, match="ended CANCELLED"):
            sensor(job).execute_complete(context, event)

    def test_past_the_deadline_the_task_fails_and_says_what_becomes_of_the_job(self, context, job):
        event = fire(trigger(job.name, seconds=-1))
        assert event["look"] == "timed_out"
        with pytest.raises(AirflowFailException, match=r"has not ended after 2 hours .* left as it is"):
            sensor(job, timeout=7200).execute_complete(context, event)

    def test_a_job_that_does_not_exist_ends_the_wait_at_once(self, context, job):
        event = fire(trigger(job.name[:-3] + "000"))
        with pytest.raises(AirflowFailException, match="HTTP 404"):
            sensor(job).execute_complete(context, event)

    def test_a_service_that_is_down_is_waited_out(self, google, job, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.client.READ_ATTEMPTS", 1)
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))  # nobody listens yet: connections are refused
            port = door.getsockname()[1]
            monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{port}")

            async def scenario():
                looks = trigger(job.name).run()
                waiting = asyncio.ensure_future(anext(aiter(looks)))
                await asyncio.sleep(1)
                assert not waiting.done()
                async with await asyncio.start_server(relay, sock=door.dup()):
                    return await asyncio.wait_for(waiting, 60)

            async def relay(reader, writer):
                upstream = await asyncio.open_connection("127.0.0.1", int(google.vertex_url.rsplit(":", 1)[1]))
                await asyncio.gather(pump(reader, upstream[1]), pump(upstream[0], writer))

            async def pump(source, target):
                while block := await source.read(65536):
                    target.write(block)
                target.close()

            assert asyncio.run(scenario()).payload["look"] == "ended"

    def test_how_far_it_got_is_told_with_its_latest_losses(self, google, jobs, monkeypatch):
        uri = google.upload("waiting/slow.jsonl", LINE * 400)
        slow = jobs.create(TuningJobSpec(base_model="gemini-2.5-flash", training_dataset_uri=uri, epochs=1000))
        lines = []
        log = SimpleNamespace(info=lambda text, *values: lines.append(text % values))
        monkeypatch.setattr(TuningJobTrigger, "log", log)

        async def scenario():
            waiting = asyncio.create_task(anext(aiter(trigger(slow.name).run())))
            await asyncio.to_thread(wait_until, lambda: any("train loss" in line for line in lines), 60, "losses")
            await asyncio.to_thread(jobs.cancel, slow.name)
            await waiting

        asyncio.run(scenario())
        assert any(re.search(r"RUNNING, tuning, .*epoch \d+, step \d+, train loss \d", line) for line in lines)

    def test_the_trigger_carries_no_secret(self, google, job):
        _, arguments = trigger(job.name).serialize()
        assert set(arguments) == {
            "name",
            "gcp_conn_id",
            "project_id",
            "impersonation_chain",
            "poll_interval",
            "deadline",
            "on_timeout",
            "cancel_on_kill",
        }

    def test_the_event_loop_is_never_blocked_by_a_look(self, google, job, monkeypatch):
        """Every answer takes a second; the loop's pulse goes on meanwhile."""
        polled = GeminiTuningHook.polled

        def slow(hook):
            time.sleep(1)
            return polled(hook)

        monkeypatch.setattr(GeminiTuningHook, "polled", slow)
        beats = []

        async def scenario():
            async def beat():
                while True:
                    beats.append(time.monotonic())
                    await asyncio.sleep(0.005)

            pulse = asyncio.create_task(beat())
            await anext(aiter(trigger(job.name).run()))
            pulse.cancel()

        asyncio.run(scenario())
        assert max(after - before for before, after in itertools.pairwise(beats)) < 0.9


class TestRescheduled:
    def test_poking_gives_the_same_answers(self, context, job, failing_job):
        waiting = sensor(job, deferrable=False, mode="poke")
        assert TuningJob.from_json(waiting.execute(context)).state is JobState.SUCCEEDED
        with pytest.raises(AirflowFailException, match="ended FAILED"):
            sensor(failing_job, deferrable=False, mode="poke").execute(context)

    def test_a_service_that_is_down_is_waited_out(self, context, job, monkeypatch):
        monkeypatch.setattr("gemini_tuning.tuning.client.READ_ATTEMPTS", 1)
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://127.0.0.1:9")
        assert not sensor(job, deferrable=False, mode="reschedule").poke(context)

    def test_past_the_timeout_the_task_fails_and_says_what_becomes_of_the_job(self, context, google, jobs):
        uri = google.upload("waiting/slow.jsonl", LINE * 400)
        slow = jobs.create(TuningJobSpec(base_model="gemini-2.5-flash", training_dataset_uri=uri, epochs=1000))
        waiting = sensor(slow, deferrable=False, mode="poke", timeout=0.2)
        with pytest.raises(AirflowFailException, match=r"has not ended after .* left as it is and may still be billed"):
            waiting.execute(context)
        jobs.cancel(slow.name)


@pytest.mark.parametrize("name", ["123", {}, None, "projects/p/locations/l/endpoints/1"])
def test_what_is_no_job_is_refused_in_one_sentence(context, google, name):
    with pytest.raises(AirflowFailException, match="projects/P/locations/L/tuningJobs/ID"):
        TuningJobSensor(task_id="wait", tuning_job=name).execute(context)


def test_a_job_may_be_named_instead(context, job):
    waiting = TuningJobSensor(task_id="wait", tuning_job=job.name, deferrable=False, mode="poke", poke_interval=0.1)
    assert waiting.execute(context)["name"] == job.name
