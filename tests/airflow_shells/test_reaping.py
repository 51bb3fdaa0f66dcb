"""The reaper as a task: what it asks of Airflow, what it tells, how it fails."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowRuntimeError, TaskDeferred

from gemini_tuning.links import TUNING_JOB_KEY, TUNING_JOB_LEFT_KEY
from gemini_tuning.operators.reaping import REPORT_KEY, AirflowInstances, ReapTuningJobsOperator
from gemini_tuning.operators.tuning import TuneModelOperator
from gemini_tuning.sensors.tuning import TuningJobSensor
from gemini_tuning.settings import INSTALLATION_VARIABLE
from gemini_tuning.tuning.reaping import Place, ReapReport
from gemini_tuning.tuning.spec import INSTALLATION_LABEL, KEY_LABEL, OWNER_LABEL, owner_of
from gemini_tuning.tuning.unwanted import Fate, Instance, Task

LONG_AGO = "2026-01-01T00:00:00Z"


class TaskInstance:
    """What Airflow answers a running task about the others."""

    def __init__(self, states=None, xcoms=None, ended_runs=()):
        self.states, self.xcoms, self.ended_runs = states or {}, xcoms or {}, ended_runs
        self.pushed = {}

    def get_task_states(self, dag_id, task_ids):
        if isinstance(self.states, Exception):
            raise self.states
        (task_id,) = task_ids
        return self.states.get((dag_id, task_id), {})

    def get_dagrun_state(self, dag_id, run_id):
        return "failed" if run_id in self.ended_runs else "running"

    def xcom_pull(self, *, dag_id, run_id, task_ids, map_indexes, key):
        return self.xcoms.get((dag_id, run_id, task_ids, map_indexes, key))

    def xcom_push(self, key, value):
        self.pushed[key] = json.loads(json.dumps(value))


def out_of_order():
    return AirflowRuntimeError(SimpleNamespace(error=SimpleNamespace(value="API_SERVER_ERROR"), detail="no answer"))


class TestAsking:
    def test_the_instances_of_mapped_tasks_are_told_apart(self):
        states = {
            ("d", "group.tune"): {"r1": {"group.tune": "failed"}, "r2": {"group.tune_0": None, "group.tune_12": "x"}}
        }
        found = AirflowInstances(TaskInstance(states)).of(Task(dag_id="d", task_id="group.tune"))
        assert list(found) == [
            Instance("d", "r1", "group.tune", -1, "failed"),
            Instance("d", "r2", "group.tune", 0, None),
            Instance("d", "r2", "group.tune", 12, "x"),
        ]

    def test_a_dag_that_does_not_exist_has_no_instances(self):
        assert list(AirflowInstances(TaskInstance()).of(Task(dag_id="d"))) == []

    def test_what_an_instance_holds_and_leaves_is_what_it_has_pushed(self):
        one = Instance("d", "r", "tune", 3, "deferred")
        xcoms = {("d", "r", "tune", 3, TUNING_JOB_KEY): "a", ("d", "r", "tune", 3, TUNING_JOB_LEFT_KEY): "b"}
        airflow = AirflowInstances(TaskInstance(xcoms=xcoms))
        assert (airflow.held(one), airflow.left(one)) == ("a", "b")
        assert airflow.held(one._replace(map_index=-1)) is None

    def test_an_airflow_that_does_not_answer_is_no_answer(self, google, monkeypatch):
        monkeypatch.setenv(INSTALLATION_VARIABLE, "prod")
        plant(google, "prod", "r1")
        with pytest.raises(AirflowException, match=r"Airflow could not be asked for the states of task tune of Dag "):
            reap(TaskInstance(out_of_order()))


def plant(cloud, installation, run, dag_id="d", **fields):
    labels = {
        KEY_LABEL: "k",
        OWNER_LABEL: owner_of(dag_id, run, "tune"),
        INSTALLATION_LABEL: installation,
    }
    name = f"{cloud.parent}/tuningJobs/{uuid.uuid4().int % 10**18}"
    job = {"name": name, "state": "JOB_STATE_PENDING", "labels": labels, "createTime": LONG_AGO, **fields}
    return cloud.control("POST", "jobs", job)["name"]


def reap(task_instance, **settings):
    settings = {"tasks": ["d"], "places": [Place().to_json()], "dry_run": False, **settings}
    return ReapTuningJobsOperator(task_id="reap", **settings).execute({"ti": task_instance})


@pytest.fixture
def installation(monkeypatch):
    name = f"i-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv(INSTALLATION_VARIABLE, name)
    return name


def fates(document, *names):
    by_job = {verdict.job: verdict.fate for verdict in ReapReport.from_json(document).verdicts}
    return [by_job[name] for name in names]

    def test_what_waits_for_a_retry_in_a_run_that_has_ended_wants_nothing(self):
        runs = {"r1": {"tune": "up_for_retry"}, "r2": {"tune": "up_for_retry"}, "r3": {"tune": "success"}}
        asker = TaskInstance({("d", "tune"): runs}, ended_runs=("r1", "r3"))
        states = {one.run_id: one.state for one in AirflowInstances(asker).of(Task(dag_id="d"))}
        assert states == {"r1": "removed", "r2": "up_for_retry", "r3": "success"}


class TestTheTask:
    def test_the_report_is_the_result(self, google, installation):
        unwanted = plant(google, installation, "r1")
        wanted = plant(google, installation, "r2")
        unasked = plant(google, installation, "r1", dag_id="mine")
        states = {("d", "tune"): {"r1": {"tune": "failed"}, "r2": {"tune": "deferred"}}}
        xcoms = {("d", "r2", "tune", -1, TUNING_JOB_KEY): wanted}
        document = reap(TaskInstance(states, xcoms))
        assert fates(json.loads(json.dumps(document)), unwanted, wanted, unasked) == [
            Fate.CANCELLED,
            Fate.WANTED,
            Fate.LEFT,
        ]

    def test_more_dags_may_be_asked(self, google, installation):
        job = plant(google, installation, "r1", dag_id="mine")
        assert fates(reap(TaskInstance(), also_ask=["mine"]), job) == [Fate.CANCELLED]

    def test_it_is_dry_unless_told_otherwise(self, google, installation):
        job = plant(google, installation, "r1")
        operator = ReapTuningJobsOperator(task_id="reap", tasks=["d"], places=[Place().to_json()])
        assert fates(operator.execute({"ti": TaskInstance()}), job) == [Fate.UNWANTED]

    def test_without_a_name_nothing_is_touched(self, google):
        job = plant(google, "prod", "r1")
        assert fates(reap(TaskInstance()), job) == [Fate.LEFT]

    def test_trouble_that_lasts_fails_the_task_for_good_after_the_rest_is_done(self, google, installation):
        job = plant(google, installation, "r1")
        task_instance = TaskInstance()
        places = [Place(gcp_conn_id="nowhere").to_json(), Place().to_json()]
        with pytest.raises(AirflowFailException, match="no connection 'nowhere'"):
            reap(task_instance, places=places)
        assert fates(task_instance.pushed[REPORT_KEY], job) == [Fate.CANCELLED]

    def test_trouble_that_may_pass_is_tried_again(self, google, installation, unused_port, monkeypatch):
        monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", f"http://127.0.0.1:{unused_port}")
        with pytest.raises(AirflowException, match="no connection to Google's API") as caught:
            reap(TaskInstance())
        assert not isinstance(caught.value, AirflowFailException)

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"dry_run": "False"}, "field 'dry_run'"),
            ({"grace_minutes": -1}, "field 'grace_minutes'"),
            ({"places": [{"locatoin": "x"}]}, "unknown field 'locatoin'; did you mean 'location'"),
            ({"also_ask": ["my dag"]}, "'my dag' is not a task"),
        ],
    )
    def test_a_form_filled_in_wrongly_is_one_sentence(self, installation, settings, sentence):
        with pytest.raises(AirflowFailException, match=sentence):
            reap(TaskInstance(), **settings)

    def test_a_name_that_is_no_label_is_one_sentence(self, monkeypatch):
        monkeypatch.setenv(INSTALLATION_VARIABLE, "Production!")
        with pytest.raises(AirflowFailException, match="GEMINI_TUNING_INSTALLATION is 'Production!'"):
            reap(TaskInstance())


class TestWhatIsLeftOnPurpose:
    """What waits for a job tells the reaper of one that may go on without it."""

    NAME = "projects/1/locations/us-central1/tuningJobs/7"

    @pytest.mark.parametrize(("policy", "left"), [("leave", NAME), ("cancel", None)])
    def test_a_job_left_when_its_time_was_over(self, policy, left):
        task_instance = TaskInstance()
        tune = TuneModelOperator(task_id="tune", datasets={}, base_model="gemini-2.5-flash", pipeline="p")
        job = {"name": self.NAME, "state": "JOB_STATE_RUNNING"}
        with pytest.raises(AirflowFailException):
            tune.execute_complete({"ti": task_instance}, {"look": "timed_out", "job": job, "on_timeout": policy})
        assert task_instance.pushed.get(TUNING_JOB_LEFT_KEY) == left

    def test_a_job_that_no_end_of_its_task_cancels(self, google):
        name = plant(google, "prod", "r1")
        task_instance = TaskInstance()
        with pytest.raises(TaskDeferred):
            TuningJobSensor(task_id="wait", tuning_job=name).execute({"ti": task_instance})
        assert task_instance.pushed[TUNING_JOB_LEFT_KEY] == task_instance.pushed[TUNING_JOB_KEY] == name
