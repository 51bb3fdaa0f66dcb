"""The task that buys and waits, against the local Vertex AI; ``Task`` goes through its tries as Airflow would."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import threading
import time

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from tests.local_cloud.services import wait_until

from gemini_tuning.airflow_errors import TransientFault
from gemini_tuning.links import PROGRESS_KEY, TUNING_JOB_KEY
from gemini_tuning.operators.dataset import UploadDatasetOperator, ValidateDatasetOperator
from gemini_tuning.operators.tuning import TuneModelOperator
from gemini_tuning.settings import INSTALLATION_VARIABLE
from gemini_tuning.tuning.spec import INSTALLATION_LABEL, KEY_LABEL, OWNER_LABEL

MODEL = "gemini-2.5-flash"
WAYS = pytest.mark.parametrize("way", ["deferred", "poked"])


def upload(context, cloud, **settings):
    files = {"train": "train.jsonl", "validation": "validation.jsonl", **settings}
    report = ValidateDatasetOperator(task_id="validate", base_model=MODEL, **files).execute(context)
    return UploadDatasetOperator(
        task_id="upload", report=report, bucket=cloud.bucket, prefix="p", pipeline="paint"
    ).execute(context)


class Task:
    """One task instance and its tries, each in a new operator."""

    def __init__(self, context, datasets, way="deferred", run="manual__1", **settings):
        instance = type(context["ti"])()
        instance.run_id = run
        self.context = {"ti": instance, "run_id": run, "task_state_store": type(context["task_state_store"])()}
        self.datasets, self.way = datasets, way
        self.settings = {"base_model": MODEL, "pipeline": "paint", "hyperparameters": {"epochs": 1}, **settings}
        self.trigger = None

    def operator(self):
        mode = {"deferrable": False, "mode": "poke"} if self.way == "poked" else {}
        settings = {"poke_interval": 0.1, "timeout": 60, **mode, **self.settings}
        return TuneModelOperator(task_id="tune", datasets=self.datasets, **settings)

    def begin(self):
        """Run until the task is deferred."""
        with pytest.raises(TaskDeferred) as deferred:
            self.operator().execute(self.context)
        self.trigger = deferred.value.trigger
        return self.trigger

    def end(self):
        """Go on to the end, and return the job or the sentence of the failure."""
        while True:
            try:
                if self.trigger is None:
                    return self.operator().execute(self.context)
                event, self.trigger = self.fire(), None
                return self.operator().execute_complete(self.context, event)
            except TaskDeferred as deferred:
                self.trigger = deferred.trigger
            except AirflowFailException as error:
                return str(error)

    def fire(self):
        path, arguments = self.trigger.serialize()
        module, _, name = path.rpartition(".")
        trigger = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))

        async def first():
            return await anext(aiter(trigger.run()))

        return asyncio.run(first()).payload

    def clear(self):
        self.context["ti"].max_tries = self.context["ti"].try_number + 5
        self.retry()

    def retry(self):
        self.context["ti"].try_number += 1
        self.trigger = None

    @property
    def job(self):
        return self.context["ti"].pushed[TUNING_JOB_KEY]


@pytest.fixture
def datasets(context, google, dataset):
    return upload(context, google)


@pytest.fixture
def ledger(google, dataset):
    """The jobs bought for this test's data, which no other test has."""

    def jobs():
        uploaded = str(dataset)
        created = [row for row in google.control("GET", "jobs")["jobs"] if row["labels"].get("test") == label(uploaded)]
        return sorted(created, key=lambda row: row["createTime"])

    return jobs


def label(path):
    return re.sub("[^a-z0-9]", "-", path.lower())[-60:]


@pytest.fixture
def task(context, google, dataset, datasets):
    def make(**settings):
        return Task(context, datasets, labels={"test": label(str(dataset))}, **settings)

    yield make
    google.control("DELETE", "faults")
    google.control("DELETE", "scenarios")


def long_lasting(google, dataset, seconds=600):
    google.control(
        "POST", "scenarios", {"labels": {"test": label(str(dataset))}, "seconds": {"PENDING": seconds}, "times": None}
    )


def states(ledger):
    return [row["state"].removeprefix("JOB_STATE_") for row in ledger()]


class TestTheRequest:
    def test_every_parameter_reaches_the_service(self, google, task, monkeypatch):
        monkeypatch.setenv(INSTALLATION_VARIABLE, "prod")
        tune = task(
            hyperparameters={"epochs": 2, "adapter_size": 8, "learning_rate_multiplier": 0.5},
            tuned_model_display_name="paint",
            description="About paint",
            export_last_checkpoint_only=True,
            service_account="tuner@local-dev.iam.gserviceaccount.com",
            kms_key_name="projects/p/locations/us-central1/keyRings/r/cryptoKeys/k",
        )
        tune.begin()
        with google.http() as http:
            stored = http.get(f"/v1beta1/{tune.job}").json()
        spec = stored["supervisedTuningSpec"]
        assert spec["hyperParameters"] == {
            "epochCount": "2",
            "adapterSize": "ADAPTER_SIZE_EIGHT",
            "learningRateMultiplier": 0.5,
        }
        assert spec["exportLastCheckpointOnly"] is True
        assert spec["trainingDatasetUri"].endswith("/train.jsonl")
        assert spec["validationDatasetUri"].endswith("/validation.jsonl")
        assert stored["tunedModelDisplayName"] == "paint"
        assert stored["description"] == "About paint"
        assert stored["serviceAccount"] == "tuner@local-dev.iam.gserviceaccount.com"
        assert stored["encryptionSpec"]["kmsKeyName"].endswith("/cryptoKeys/k")
        labels = stored["labels"]
        assert "test" in labels
        assert labels["gemini-tuning-pipeline"] == "paint"
        assert labels["gemini-tuning-attempt"] == "1"
        assert labels["gemini-tuning-run"] == "manual__1"
        assert re.fullmatch("[0-9a-f]{40}", labels[KEY_LABEL])
        assert re.fullmatch("[0-9a-f]{16}-[0-9a-f]{40}", labels[OWNER_LABEL])
        assert labels[INSTALLATION_LABEL] == "prod"
        assert (
            tune
            .context["ti"]
            .pushed["console_url"]
            .endswith(f"{tune.job.rsplit('/', 1)[1]}?project={google.project_number}")
        )

    def test_unset_hyperparameters_are_left_to_the_service(self, google, task):
        task(hyperparameters=None).begin()
        created = [r for r in google.requests() if r["method"] == "POST" and r["path"].endswith("/tuningJobs")]
        assert "hyperParameters" not in json.loads(created[-1]["body"])["supervisedTuningSpec"]

    def test_a_refused_job_says_why_and_is_not_retried(self, google, task, ledger):
        assert re.search(r"HTTP 400, .*not supported", task(base_model="gemini-nonesuch").end())
        assert ledger() == []

    def test_an_object_that_changed_since_its_check_is_not_bought(self, context, google, dataset, task, ledger):
        uri = google.upload(f"{label(str(dataset))}.jsonl", (dataset / "train.jsonl").read_bytes())
        tune = task()
        tune.datasets = upload(context, google, train=uri, validation=None)
        google.upload(f"{label(str(dataset))}.jsonl", (dataset / "validation.jsonl").read_bytes())
        assert "changed since it was checked; nothing was submitted" in tune.end()
        assert ledger() == []

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"checkpoint_id": "3"}, "only a tuned model"),
            ({"evaluation_config": {"metricz": []}}, "evaluation_config is not what the Tuning API takes"),
            ({"base_model": None}, "base_model: Input should be a valid string"),
        ],
    )
    def test_a_wrong_parameter_is_one_sentence_and_nothing_is_sent(self, task, ledger, settings, sentence):
        assert sentence in task(**settings).end()
        assert ledger() == []

    def test_a_quota_that_is_used_up_is_tried_again(self, google, task, ledger):
        google.control("POST", "faults", {"method": "POST", "path": "tuningJobs$", "status": 429, "retry_after": 7})
        tune = task()
        with pytest.raises(TransientFault, match="HTTP 429") as fault:
            tune.operator().execute(tune.context)
        assert (fault.value.code, fault.value.retry_after) == (429, 7.0)
        tune.retry()
        tune.begin()
        assert len(ledger()) == 1


class TestOneBill:
    @WAYS
    def test_a_model_is_tuned_and_not_paid_for_again(self, task, ledger, way, capsys):
        first = task(way=way).end()
        assert first["state"] == "JOB_STATE_SUCCEEDED"
        again = task(way=way, run="manual__2").end()
        assert again["name"] == first["name"]
        assert len(ledger()) == 1
        said = capsys.readouterr().out
        assert re.search(r"Already tuned on \d+ \w+ \d{4} by projects/.*: not paid for again\.", said)

    def test_who_has_paid_is_told_to_the_summary(self, google, dataset, task):
        long_lasting(google, dataset)
        runs = [task(), task(run="manual__2")]
        for run in runs:
            run.begin()
        google.control("DELETE", "scenarios")
        words = [run.context["ti"].pushed["purchase"] for run in runs]
        assert words == ["attempt 1", "none: another run had bought the job, not paid for again"]

    def test_force_new_pays_again(self, task, ledger):
        first, second = task().end(), task(run="manual__2", force_new=True).end()
        assert first["name"] != second["name"]
        assert states(ledger) == ["SUCCEEDED", "SUCCEEDED"]

    def test_a_model_whose_endpoint_is_gone_is_neither_taken_again_nor_bought_unasked(self, google, task, ledger):
        first = task().end()
        with google.http() as http:
            model = first["tuned_model"]["model"].rsplit("@", 1)[0]
            assert http.delete(f"/v1beta1/{model}").is_success
        sentence = task(run="manual__2").end()
        assert "Already tuned by" in sentence
        assert "is gone" in sentence
        assert "set 'force_new'" in sentence
        assert len(ledger()) == 1

    @WAYS
    def test_a_lost_answer_is_found_by_its_labels(self, google, task, ledger, way):
        google.control("POST", "faults", {"method": "POST", "path": "tuningJobs$", "drop": True, "when": "after"})
        assert task(way=way).end()["state"] == "JOB_STATE_SUCCEEDED"
        assert len(ledger()) == 1

    def test_a_retry_waits_for_the_job_it_has(self, google, dataset, task, ledger):
        long_lasting(google, dataset)
        tune = task()
        first = tune.begin()
        tune.retry()
        assert tune.begin().name == first.name
        assert len(ledger()) == 1

    def test_a_clear_after_the_dataset_changed_buys_the_new_data_and_drops_the_old_job(
        self, context, google, dataset, task, ledger
    ):
        long_lasting(google, dataset)
        tune = task()
        tune.begin()
        (dataset / "train.jsonl").write_text((dataset / "train.jsonl").read_text() * 2)
        tune.datasets = upload(context, google)
        tune.retry()
        tune.begin()
        assert states(ledger) == ["CANCELLED", "PENDING"]

    def test_what_is_under_way_is_shown_among_the_xcoms(self, google, dataset, task):
        long_lasting(google, dataset)
        tune = task()
        trigger = tune.begin()
        assert tune.job == trigger.name
        assert tune.context["ti"].pushed[PROGRESS_KEY] == "PENDING"


class TestEnds:
    @WAYS
    def test_a_job_that_failed_fails_the_task_and_a_clear_buys_the_next_attempt(
        self, google, dataset, task, ledger, way
    ):
        end = {"state": "JOB_STATE_FAILED", "code": 8, "message": "Out of capacity."}
        google.control("POST", "scenarios", {"labels": {"test": label(str(dataset))}, "end": end})
        tune = task(way=way)
        sentence = tune.end()
        assert "ended FAILED: code 8, Out of capacity." in sentence
        assert "Nothing was bought in its place; clear the task to buy attempt 2." in sentence
        tune.retry()
        assert tune.end() == sentence
        tune.clear()
        assert tune.end()["state"] == "JOB_STATE_SUCCEEDED"
        assert [row["labels"]["gemini-tuning-attempt"] for row in ledger()] == ["1", "2"]

    @WAYS
    def test_a_job_that_somebody_stopped_by_hand_stays_stopped(self, google, dataset, task, ledger, way):
        long_lasting(google, dataset)
        tune = task(way=way)
        stopping = threading.Thread(target=cancel_when_there, args=(google, ledger))
        stopping.start()
        sentence = tune.end()
        stopping.join()
        assert "ended CANCELLED" in sentence
        assert states(ledger) == ["CANCELLED"]

    @WAYS
    def test_an_adopted_job_that_its_buyer_cancelled_is_bought_once_more(
        self, google, dataset, task, ledger, way, capsys
    ):
        long_lasting(google, dataset)
        task().begin()
        google.control("DELETE", "scenarios")
        adopter = task(way=way, run="manual__2")
        stopping = threading.Thread(target=cancel_when_watched, args=(google, ledger))
        stopping.start()
        assert adopter.end()["state"] == "JOB_STATE_SUCCEEDED"
        stopping.join()
        assert states(ledger) == ["CANCELLED", "SUCCEEDED"]
        said = capsys.readouterr().out
        assert "that another run bought: not paid for again" in said
        assert "(attempt 2) in place of a job that somebody else cancelled" in said

    @WAYS
    @pytest.mark.parametrize(("policy", "state"), [("cancel", "CANCELLED"), ("leave", "PENDING")])
    def test_the_time_is_over(self, google, dataset, task, ledger, way, policy, state):
        long_lasting(google, dataset)
        sentence = task(way=way, timeout=0.5, on_timeout=policy).end()
        assert "has not ended after" in sentence
        assert ("It was cancelled" in sentence) is (policy == "cancel")
        assert states(ledger) == [state]

    @WAYS
    def test_when_the_time_of_an_adopter_is_over_the_job_goes_on(self, google, dataset, task, ledger, way):
        long_lasting(google, dataset)
        task().begin()
        assert "left as it is" in task(way=way, run="manual__2", timeout=0.5).end()
        assert states(ledger) == ["PENDING"]


class TestStopping:
    def test_the_trigger_cancels_only_what_its_task_has_bought(self, google, dataset, task):
        long_lasting(google, dataset)
        mine, theirs = task().begin(), task(run="manual__2").begin()
        assert mine.name == theirs.name
        assert (mine.cancel_on_kill, theirs.cancel_on_kill) == (True, False)
        assert (mine.on_timeout, theirs.on_timeout) == ("cancel", "leave")

    def test_a_task_killed_while_it_buys_cancels_what_it_has_asked_for(
        self, google, dataset, task, ledger, monkeypatch
    ):
        long_lasting(google, dataset)
        monkeypatch.setenv("GEMINI_TUNING_SETTLE_SECONDS", "3")
        tune = task()
        operator = tune.operator()
        ended = threading.Event()

        def run():
            with pytest.raises(TaskDeferred):
                operator.execute(tune.context)
            ended.set()

        threading.Thread(target=run, daemon=True).start()
        wait_until(ledger, 30, "the job to be there")
        with pytest.raises(SystemExit):
            operator.on_kill()
        assert states(ledger) == ["CANCELLED"]
        assert ended.wait(30)

    def test_where_that_is_not_wanted_it_goes_on(self, google, dataset, task, ledger):
        long_lasting(google, dataset)
        tune = task(cancel_on_kill=False)
        operator = tune.operator()
        with pytest.raises(TaskDeferred) as deferred:
            operator.execute(tune.context)
        with pytest.raises(SystemExit):
            operator.on_kill()
        assert deferred.value.trigger.cancel_on_kill is False
        assert states(ledger) == ["PENDING"]


def cancel_when_there(google, ledger):
    wait_until(ledger, 30, "the job to be there")
    with google.http() as http:
        time.sleep(1)  # until the second look is over
        assert http.post(f"/v1beta1/{ledger()[0]['name']}:cancel").is_success


def cancel_when_watched(google, ledger):
    """Cancel the first job once somebody has looked at it again."""
    name = ledger()[0]["name"]
    seen = len(google.requests())
    wait_until(
        lambda: any(
            name.rsplit("/", 1)[1] in str(row) or row["path"].endswith("/tuningJobs")
            for row in google.requests()[seen:]
        ),
        30,
        "a look",
    )
    time.sleep(0.5)
    with google.http() as http:
        assert http.post(f"/v1beta1/{name}:cancel").is_success
