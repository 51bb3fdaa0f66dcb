"""What a wait answers for every end, and what becomes of the job: the same deferred and poked."""

import asyncio
import importlib
import itertools
import json
import re
import time
from types import SimpleNamespace

import pytest
from airflow.jobs import triggerer_job_runner
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.execution_time.xcom import XCom
from tests.local_cloud.services import example, wait_until

from gemini_tuning.links import PROGRESS_KEY
from gemini_tuning.operators.dataset import ValidateDatasetOperator
from gemini_tuning.sensors.tuning import TuningJobSensor
from gemini_tuning.sensors.waiting import TuningJobWait
from gemini_tuning.triggers.tuning import TuningJobTrigger
from gemini_tuning.tuning.spec import KEY_LABEL

NUMBERS = itertools.count(3 * 10**17)
MODEL = "projects/7/locations/us-central1/models/3@1"
WAYS = pytest.mark.parametrize("way", ["deferred", "poked"])


class Wait(TuningJobWait):
    """A wait for a job of one's own."""

    def __init__(self, *, name, **settings):
        super().__init__(task_id="tune", poke_interval=0.1, **settings)
        self._name = name

    @property
    def job_name(self):
        return self._name


@pytest.fixture
def plant(google):
    """Plant a job, with a location to itself, or plant it again, and return its name."""

    def plant(state, name=None, **fields):
        number = next(NUMBERS)
        name = name or f"projects/{google.project_number}/locations/waits{number}/tuningJobs/{number}"
        labels = {KEY_LABEL: "k"}
        google.control("POST", "jobs", {"name": name, "state": f"JOB_STATE_{state}", "labels": labels, **fields})
        return name

    yield plant
    google.control("DELETE", "faults")


def requests_of(google, name):
    return [row for row in google.requests() if name.split("/")[3] in row["path"]]


def state_of(google, name):
    (job,) = [row for row in google.control("GET", "jobs")["jobs"] if row["name"] == name]
    return job["state"].removeprefix("JOB_STATE_")


def fresh(trigger):
    """Return the trigger as the triggerer makes it."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**arguments)


def answer(way, context, name, **settings):
    """Return the result of a wait, or the sentence it fails with."""
    make = Wait if {"on_timeout", "cancel_on_kill"} & settings.keys() else _sensor
    try:
        if way == "poked":
            return make(name=name, deferrable=False, mode="poke", **settings).execute(context)
        try:
            return make(name=name, **settings).execute(context)
        except TaskDeferred as deferred:
            trigger = fresh(deferred.trigger)

            async def first():
                return await anext(aiter(trigger.run()))

            event = asyncio.run(first()).payload
            return make(name=name, **settings).execute_complete(context, event)
    except AirflowFailException as error:
        return str(error)


def _sensor(*, name, **settings):
    return TuningJobSensor(task_id="wait", tuning_job=name, poke_interval=0.1, **settings)


def trigger(name, **settings):
    arguments = {
        "gcp_conn_id": "google_cloud_default",
        "project_id": None,
        "impersonation_chain": None,
        "poll_interval": 0.1,
        "deadline": time.time() + 60,
        **settings,
    }
    return fresh(TuningJobTrigger(name=name, **arguments))


class TestEnds:
    @WAYS
    @pytest.mark.parametrize(
        ("state", "fields", "sentence"),
        [
            (
                "FAILED",
                {"tunedModel": {"model": MODEL}, "error": {"code": 13, "message": "Failed to create endpoint."}},
                rf"ended FAILED: code 13, Failed to create endpoint\. The model {MODEL} exists, but no endpoint serves "
                r"it\. The training itself is done and paid for: deploy this model",
            ),
            (
                "FAILED",
                {"error": {"code": 8, "message": "No capacity."}},
                r"ended FAILED: code 8, No capacity\. See https",
            ),
            ("EXPIRED", {}, r"ended EXPIRED.* it took too long; no model was made\. Buy it again\. See https"),
            ("PARTIALLY_SUCCEEDED", {}, r"ended PARTIALLY_SUCCEEDED.* compare its checkpoints before it is used"),
            ("CANCELLED", {}, "ended CANCELLED"),
        ],
    )
    def test_every_end_but_success_fails_with_what_it_is(self, context, plant, way, state, fields, sentence):
        assert re.search(sentence, answer(way, context, plant(state, **fields)))

    @pytest.mark.parametrize("state", ["QUEUED", "PENDING", "RUNNING", "PAUSED", "UPDATING", "HIBERNATING"])
    def test_everything_else_is_waited_out(self, context, google, plant, state):
        name = plant(state)
        said = [answer(way, context, name, timeout=0.3) for way in ("deferred", "poked")]
        assert said[0] == said[1]
        assert f"({state}" in said[0]
        assert "left as it is and may still be billed" in said[0]
        assert state_of(google, name) == state

    @WAYS
    def test_a_job_that_comes_back_from_a_pause_is_a_success(self, context, plant, way):
        name = plant("PAUSED")

        async def scenario():
            waiting = asyncio.create_task(asyncio.to_thread(answer, way, context, name, timeout=60))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(plant, "UPDATING", name)
            await asyncio.sleep(0.3)
            await asyncio.to_thread(plant, "SUCCEEDED", name)
            return await waiting

        assert asyncio.run(scenario())["state"] == "JOB_STATE_SUCCEEDED"

    @WAYS
    def test_too_many_dropped_examples_fail_the_run_with_their_lines(self, context, plant, way, data_root):
        statistics = {
            "tuningDatasetExampleCount": 20,
            "totalTruncatedExampleCount": 3,
            "truncatedExampleIndices": [8, 2],
            "droppedExampleReasons": ["more than 131072 tokens", "no such image"],
        }
        name = plant("SUCCEEDED", tuningDataStats={"supervisedTuningDataStats": statistics})
        (data_root / "train.jsonl").write_text(
            "\n\n".join(json.dumps(example(f"Number {n}?", "Yes.")) for n in range(20))
        )
        settings = {"train": "train.jsonl", "base_model": "gemini-2.5-flash"}
        ignoring = {"severities": {"blank-line": "ignore"}}
        report = ValidateDatasetOperator(task_id="validate", checks=ignoring, **settings).execute(context)
        assert answer(way, context, name, max_dropped_share=0.15, report=report)["dropped_examples"] == 3
        assert (
            "left 3 of 20 training examples out (15.0%): train.jsonl:3 (no such image); "
            "train.jsonl:15 (more than 131072 tokens); and 1 more. At most 10.0% may be ('wait.max_dropped_share')"
        ) in answer(way, context, name, max_dropped_share=0.1, report=report)


class TestTimeouts:
    @WAYS
    def test_policy_cancel_cancels_and_says_so(self, context, google, plant, way):
        name = plant("RUNNING")
        said = answer(way, context, name, timeout=0.3, on_timeout="cancel")
        assert re.search(r"has not ended after .* It was cancelled and is CANCELLED now", said)
        assert state_of(google, name) == "CANCELLED"

    @WAYS
    def test_policy_leave_leaves_and_says_so(self, context, google, plant, way):
        name = plant("RUNNING")
        said = answer(way, context, name, timeout=0.3, on_timeout="leave")
        assert "It was left as it is and may still be billed" in said
        assert state_of(google, name) == "RUNNING"

    @WAYS
    def test_a_cancellation_that_is_refused_is_told(self, context, google, plant, way):
        name = plant("RUNNING")
        google.control("POST", "faults", {"path": f"{name}:cancel", "status": 403, "times": None})
        said = answer(way, context, name, timeout=0.3, on_timeout="cancel")
        assert "The wait is over." in said
        assert "HTTP 403" in said

    def test_a_job_that_ended_just_before_is_a_success(self, plant):
        name = plant("SUCCEEDED")

        async def first():
            return await anext(aiter(trigger(name, deadline=time.time() - 1, on_timeout="cancel").run()))

        event = asyncio.run(first()).payload
        assert event["look"] == "ended"
        assert event["job"]["state"] == "JOB_STATE_SUCCEEDED"

    def test_an_unknown_word_is_refused_where_it_is_written(self):
        with pytest.raises(ValueError, match="'stop' is not a valid OnTimeout"):
            Wait(name="x", on_timeout="stop")


def run_as_the_triggerer(waiting, name, google, end):
    """Let Airflow's own runner run a trigger, and end it once it has looked at its job."""

    async def scenario():
        runner = TriggerRunner()
        task = asyncio.create_task(runner.run_trigger(1, waiting))
        runner.triggers[1] = {"task": task, "name": "1", "is_watcher": False, "events": 0}
        await asyncio.to_thread(wait_until, lambda: bool(requests_of(google, name)), 30, "a look at the job")
        end(task)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_waits_that_start_together_show_their_progress_one_after_the_other(plant, monkeypatch):
    first = plant("RUNNING")
    names = [first, *(plant("RUNNING", f"{first}{number}") for number in range(10, 20))]
    shown, at_once = [], []

    async def show(key, line, *, map_index, **_):
        at_once.append(map_index)
        assert len(at_once) == 1
        await asyncio.sleep(0.01)
        at_once.remove(map_index)
        shown.append((key, map_index, line.split(",")[0]))

    async def scenario():
        waits = []
        for number, name in enumerate(names):
            waiting = trigger(name)
            waiting.task_instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", map_index=number)
            waits.append(asyncio.create_task(anext(aiter(waiting.run()))))
        await asyncio.to_thread(wait_until, lambda: len(shown) == len(names), 30, "each to be shown")
        for wait in waits:
            wait.cancel()

    monkeypatch.setattr(XCom, "aset", show)
    asyncio.run(scenario())
    assert set(shown) == {(PROGRESS_KEY, number, "RUNNING") for number in range(len(names))}


class TestKills:
    def cancellations(self, google, name):
        return [row for row in requests_of(google, name) if row["path"].endswith(":cancel")]

    def marked(self, task):
        task.cancel(triggerer_job_runner._USER_ACTION_CANCEL_MSG)

    def test_a_task_that_is_marked_or_cleared_cancels_its_job(self, google, plant):
        name = plant("RUNNING")
        run_as_the_triggerer(trigger(name, cancel_on_kill=True), name, google, self.marked)
        assert state_of(google, name) == "CANCELLED"
        assert len(self.cancellations(google, name)) == 1

    def test_unless_it_should_not(self, google, plant):
        name = plant("RUNNING")
        run_as_the_triggerer(trigger(name, cancel_on_kill=False), name, google, self.marked)
        assert self.cancellations(google, name) == []

    @pytest.mark.parametrize("words", [(), ("EOF - shutting down",)])
    def test_a_triggerer_that_stops_cancels_nothing(self, google, plant, words):
        name = plant("RUNNING")
        run_as_the_triggerer(trigger(name, cancel_on_kill=True), name, google, lambda task: task.cancel(*words))
        assert self.cancellations(google, name) == []

    def test_a_busy_service_is_asked_again(self, google, plant):
        name = plant("RUNNING")
        google.control("POST", "faults", {"path": f"{name}:cancel", "status": 503, "times": 2})
        run_as_the_triggerer(trigger(name, cancel_on_kill=True), name, google, self.marked)
        assert state_of(google, name) == "CANCELLED"

    def test_a_killed_task_asks_airflow_nothing(self, google, plant, context, monkeypatch):
        name = plant("RUNNING")
        waiting = Wait(name=name, deferrable=False, mode="poke", cancel_on_kill=True)
        waiting.poke(context)
        monkeypatch.setattr(GoogleBaseHook, "get_connection", lambda *_: pytest.fail("Airflow may be in our way"))
        with pytest.raises(SystemExit):
            waiting.on_kill()
        assert state_of(google, name) == "CANCELLED"

    def test_many_killed_at_once_are_all_cancelled_though_airflow_interrupts_their_kills(self, google, plant):
        first = plant("RUNNING")
        names = [first, *(plant("RUNNING", f"{first}{number}") for number in range(10, 34))]
        google.control("POST", "faults", {"path": f"{first}.*:cancel", "delay_seconds": 0.3, "times": None})

        async def scenario():
            runner = TriggerRunner()
            for number, name in enumerate(names):
                task = asyncio.create_task(runner.run_trigger(number, trigger(name, cancel_on_kill=True)))
                runner.triggers[number] = {"task": task, "name": name, "is_watcher": False, "events": 0}
            await asyncio.to_thread(wait_until, lambda: bool(requests_of(google, first)), 30, "a look at the jobs")
            tasks = [details["task"] for details in runner.triggers.values()]
            while not all(task.done() for task in tasks):  # as it does each second, until it sees them end
                for task in tasks:
                    self.marked(task)
                await asyncio.sleep(0.1)
            await asyncio.to_thread(wait_until, lambda: states() == {"CANCELLED"}, 30, "all jobs to be cancelled")

        def states():
            return {
                job["state"].removeprefix("JOB_STATE_")
                for job in google.control("GET", "jobs")["jobs"]
                if job["name"] in names
            }

        asyncio.run(scenario())
        assert len(self.cancellations(google, first)) == len(names)

    def test_a_killed_task_that_pokes_cancels_its_job_once(self, google, plant):
        name = plant("RUNNING")
        waiting = Wait(name=name, deferrable=False, mode="poke", cancel_on_kill=True)
        with pytest.raises(SystemExit):
            waiting.on_kill()
        waiting.on_kill()
        assert state_of(google, name) == "CANCELLED"
        assert len(self.cancellations(google, name)) == 1

    def test_somebody_elses_job_is_never_cancelled(self, google, plant):
        name = plant("RUNNING")
        waiting = TuningJobSensor(task_id="wait", tuning_job=name)
        with pytest.raises(SystemExit):
            waiting.on_kill()
        assert self.cancellations(google, name) == []
        with pytest.raises(TypeError):
            TuningJobSensor(task_id="wait", tuning_job=name, cancel_on_kill=True)


class Log:
    """Keeps what is logged."""

    def __init__(self):
        self.lines = []

    def info(self, text, *values):
        self.lines.append(text % values)

    warning = info

    def log(self, _level, text, *values):
        self.info(text, *values)


class TestLog:
    @pytest.fixture
    def log(self, monkeypatch):
        log = Log()
        monkeypatch.setattr(TuningJobTrigger, "log", log)
        return log

    def test_changes_are_told_once_with_what_the_job_does(self, google, plant, log):
        name = plant("RUNNING", tuningJobState="TUNING_JOB_STATE_WAITING_FOR_QUOTA")

        async def scenario():
            waiting = asyncio.create_task(anext(aiter(trigger(name).run())))
            await asyncio.to_thread(wait_until, lambda: len(log.lines) == 1, 30, "a line")
            await asyncio.sleep(0.5)
            await asyncio.to_thread(plant, "SUCCEEDED", name)
            await waiting

        asyncio.run(scenario())
        assert [re.sub(r"\d+ s$", "… s", line) for line in log.lines] == [
            f"{name}: RUNNING, waiting for quota, at least … s",
            f"{name}: SUCCEEDED, … s",
        ]

    def test_trouble_is_told_once(self, google, plant, log):
        name = plant("RUNNING")
        google.control("POST", "faults", {"path": name, "status": 503, "times": 2})

        async def scenario():
            waiting = asyncio.create_task(anext(aiter(trigger(name).run())))
            await asyncio.to_thread(wait_until, lambda: len(log.lines) == 2, 60, "two lines")
            await asyncio.to_thread(plant, "SUCCEEDED", name)
            await waiting

        asyncio.run(scenario())
        assert [("HTTP 503" in line, "RUNNING" in line, "SUCCEEDED" in line) for line in log.lines] == [
            (True, False, False),
            (False, True, False),
            (False, False, True),
        ]


def test_triggers_of_one_connection_share_a_poller(google, plant):
    first = plant("RUNNING")
    place = first.rsplit("/", 1)[0]
    names = [first, *(plant("RUNNING", f"{place}/{next(NUMBERS)}") for _ in range(29))]

    async def scenario():
        waiting = [asyncio.create_task(anext(aiter(trigger(name, poll_interval=1.0).run()))) for name in names]
        await asyncio.sleep(3)
        for name in names:
            await asyncio.to_thread(plant, "SUCCEEDED", name)
        return await asyncio.gather(*waiting)

    events = [event.payload for event in asyncio.run(scenario())]
    assert [event["job"]["name"] for event in events] == names
    paths = [row["path"] for row in requests_of(google, first)]
    assert {path.rsplit("/", 1)[1] for path in paths} == {"tuningJobs"}
    assert len(paths) < len(names)
