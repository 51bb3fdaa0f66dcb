"""Which jobs are unwanted, over all that the service and Airflow may say."""

from __future__ import annotations

import datetime as dt
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini_tuning.errors import ConfigError
from gemini_tuning.tuning.purchase import is_live
from gemini_tuning.tuning.spec import INSTALLATION_LABEL, KEY_LABEL, OWNER_LABEL, PIPELINE_LABEL, TuningJob, owner_of
from gemini_tuning.tuning.states import JobState
from gemini_tuning.tuning.unwanted import ENDED, Facts, Fate, Instance, Task, Terms, judge, same_job

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
HERE = Task(dag_id="tune_replies")
ELSEWHERE = Task(dag_id="mine", task_id="group.buy")
TERMS = Terms(installation="prod", grace_minutes=15)
NAME = "projects/1/locations/us-central1/tuningJobs/7"
OTHER_NAME = "projects/1/locations/us-central1/tuningJobs/8"
LIVE_STATES = ["running", "deferred", "up_for_reschedule", "up_for_retry", "restarting", "awaiting_input", "new_word"]
NOT_STARTED = [None, "scheduled", "queued"]
AIRFLOW_STATES = [*sorted(ENDED), *LIVE_STATES, *NOT_STARTED]


def instance(run="r1", state="failed", task=HERE, **fields):
    return Instance(task.dag_id, run, task.task_id, state=state, **fields)


def tuning_job(owner=None, *, age=60, state="RUNNING", installation="prod", name=NAME, **labels):
    labels = {
        KEY_LABEL: "k",
        OWNER_LABEL: (owner or instance()).owner,
        INSTALLATION_LABEL: installation,
        PIPELINE_LABEL: "replies",
        **labels,
    }
    return TuningJob(
        name=name,
        state=JobState(f"JOB_STATE_{state}"),
        create_time=None if age is None else NOW - dt.timedelta(minutes=age),
        labels={label: value for label, value in labels.items() if value is not None},
    )


def judged(job, *instances, asked=(HERE,), terms=TERMS):
    return judge(job, Facts.of(asked, instances), terms, NOW)


class TestUnwanted:
    @pytest.mark.parametrize("state", sorted(ENDED))
    def test_a_job_is_unwanted_once_its_task_instance_has_ended_in_whatever_way(self, state):
        verdict = judged(tuning_job(), instance(state=state))
        assert verdict.fate is Fate.UNWANTED
        assert verdict.why == f"its task instance, tune of run r1 of Dag tune_replies, is {state}."

    def test_a_job_is_unwanted_when_its_run_is_deleted(self):
        verdict = judged(tuning_job(), instance("r2", "success"))
        assert (verdict.fate, verdict.why) == (Fate.UNWANTED, "the task instance that bought it exists no more.")

    def test_the_time_of_grace_ends_with_its_last_minute(self):
        assert judged(tuning_job(age=15), instance()).fate is Fate.UNWANTED

    def test_each_of_two_jobs_of_one_purchase_is_judged_by_itself(self):
        waiting = instance("r2", "deferred", holds=NAME)
        kept = judged(tuning_job(), instance(), waiting)
        surplus = judged(tuning_job(name=OTHER_NAME), instance(), waiting)
        assert (kept.fate, surplus.fate) == (Fate.WANTED, Fate.UNWANTED)


class TestWanted:
    @pytest.mark.parametrize("state", [*LIVE_STATES, *NOT_STARTED])
    def test_its_own_task_instance_wants_it_until_it_has_ended(self, state):
        verdict = judged(tuning_job(), instance(state=state))
        assert verdict.fate is Fate.WANTED
        assert verdict.why.endswith(f"is {state or 'to be scheduled'}.")

    @pytest.mark.parametrize("state", [*LIVE_STATES, *NOT_STARTED])
    def test_whoever_holds_it_wants_it_before_each_poke_too(self, state):
        verdict = judged(tuning_job(), instance(), instance("r2", state, task=ELSEWHERE, holds=NAME))
        assert verdict.fate is Fate.WANTED
        assert verdict.why.startswith("group.buy of run r2 of Dag mine (")

    def test_the_project_may_be_spelt_in_two_ways(self):
        held = NAME.replace("projects/1", "projects/my-project")
        assert judged(tuning_job(), instance(), instance("r2", "deferred", holds=held)).fate is Fate.WANTED
        assert not same_job(NAME, NAME.replace("us-central1", "europe-west4"))

    def test_a_task_may_leave_its_job_running_on_purpose(self):
        assert judged(tuning_job(), instance(leaves=NAME)).fate is Fate.WANTED
        assert judged(tuning_job(), instance(leaves=OTHER_NAME)).fate is Fate.UNWANTED

    def test_only_the_buyer_can_leave_a_job_running(self):
        assert judged(tuning_job(), instance(), instance("r2", leaves=NAME)).fate is Fate.UNWANTED


class TestLeft:
    @pytest.mark.parametrize("state", LIVE_STATES)
    def test_somebody_at_work_without_a_job_may_be_taking_this_one_over(self, state):
        verdict = judged(tuning_job(), instance(), instance("r2", state))
        assert verdict.fate is Fate.LEFT
        assert "tune of run r2 of Dag tune_replies" in verdict.why
        assert "next time" in verdict.why

    @pytest.mark.parametrize("state", NOT_STARTED)
    def test_who_has_not_begun_has_taken_nothing_over(self, state):
        assert judged(tuning_job(), instance(), instance("r2", state)).fate is Fate.UNWANTED

    @pytest.mark.parametrize(
        ("job", "why"),
        [
            (tuning_job(age=14.9), "it is 14 min old; 15 min are given to each."),
            (tuning_job(age=-5), "it is 0 min old"),
            (tuning_job(age=None), "doesn't say how old"),
            (tuning_job(installation="staging"), "installation 'staging'"),
            (tuning_job(installation=None), "names no installation"),
            (tuning_job(**{OWNER_LABEL: None}), "lacks the label gemini-tuning-owner"),
            (tuning_job(**{KEY_LABEL: None}), "lacks the label gemini-tuning-key"),
            (tuning_job(instance(task=ELSEWHERE)), "was not asked"),
            (tuning_job(**{OWNER_LABEL: "somebody"}), "was not asked"),
            (tuning_job(state="CANCELLING"), "nothing is left"),
            (tuning_job(state="SUCCEEDED"), "nothing is left"),
        ],
    )
    def test_a_job_that_is_not_proved_to_be_unwanted_is_left(self, job, why):
        verdict = judged(job, instance())
        assert verdict.fate is Fate.LEFT
        assert why in verdict.why

    def test_without_a_name_of_its_own_an_installation_proves_nothing(self):
        for job in (tuning_job(), tuning_job(installation=None)):
            verdict = judged(job, instance(), terms=Terms(installation=None))
            assert verdict.fate is Fate.LEFT
            assert "set GEMINI_TUNING_INSTALLATION" in verdict.why

    def test_the_same_run_of_a_twin_installation_ending_is_no_reason(self):
        twin = tuning_job(installation="staging")
        assert twin.labels[OWNER_LABEL] == instance().owner
        assert judged(twin, instance(state="failed")).fate is Fate.LEFT


TASKS = [HERE, ELSEWHERE, Task(dag_id="mine")]
INSTANCES = st.builds(
    lambda task, run, index, state, holds, leaves: Instance(
        task.dag_id, run, task.task_id, index, state, holds, leaves
    ),
    st.sampled_from(TASKS),
    st.sampled_from(["r1", "r2", "r3"]),
    st.sampled_from([-1, 0]),
    st.sampled_from([*AIRFLOW_STATES, *sorted(ENDED)]),
    st.sampled_from([None, OTHER_NAME, OTHER_NAME, NAME]),
    st.sampled_from([None, NAME, OTHER_NAME]),
)
FLAWS = [
    {"age": 14},
    {"age": None},
    {"state": "CANCELLING"},
    {"state": "FAILED"},
    {"installation": "staging"},
    {"installation": None},
    {KEY_LABEL: None},
    {OWNER_LABEL: None},
    {OWNER_LABEL: "somebody"},
]


@st.composite
def situations(draw):
    """A job, the instances Airflow knows, the tasks it was asked for, and the terms: good ones as a rule."""
    known = list({one.owner: one for one in draw(st.lists(INSTANCES, max_size=5))}.values())
    owner = draw(st.sampled_from(known) if known and draw(st.booleans()) else INSTANCES)
    flaws = draw(st.sampled_from([{}, {}, {}, *FLAWS]))
    state = draw(st.sampled_from(["RUNNING", "PENDING", "QUEUED", "PAUSED", "UNSPECIFIED"]))
    job = tuning_job(owner, **{"state": state, "age": 15, **flaws})
    installation = draw(st.sampled_from(["prod", "prod", "prod", "staging", None]))
    asked = draw(st.sampled_from([TASKS, TASKS, TASKS[:1], []]))
    return job, known, asked, Terms(installation=installation)


class TestWhateverIsSaid:
    @settings(max_examples=1000)
    @given(situations())
    def test_nothing_is_cancelled_that_is_not_proved_to_be_ours_and_unwanted(self, situation):
        job, instances, asked, terms = situation
        if judge(job, Facts.of(asked, instances), terms, NOW).fate is not Fate.UNWANTED:
            return
        assert is_live(job)
        assert terms.installation is not None
        assert job.labels[INSTALLATION_LABEL] == terms.installation
        assert job.labels[KEY_LABEL]
        assert job.create_time <= NOW - dt.timedelta(minutes=15)
        owner = next((one for one in instances if one.owner == job.labels[OWNER_LABEL]), None)
        if owner:
            assert owner.state in ENDED
            assert owner.leaves != NAME
        else:
            assert any(
                job.labels[OWNER_LABEL] == owner_of(task.dag_id, run, task.task_id, index)
                for task in asked
                for run in ("r1", "r2", "r3")
                for index in (-1, 0)
            )
        for one in instances:
            assert one.state in ENDED or one.holds != NAME
            assert one.state not in LIVE_STATES or one.holds is not None

    @settings(max_examples=1000)
    @given(situations())
    def test_what_instances_hold_never_makes_a_job_unwanted(self, situation):
        """The reaper asks for it only where a job is unwanted otherwise."""
        job, instances, asked, terms = situation
        bare = [one._replace(holds="", leaves=None) for one in instances]
        if judge(job, Facts.of(asked, bare), terms, NOW).fate is not Fate.UNWANTED:
            assert judge(job, Facts.of(asked, instances), terms, NOW).fate is not Fate.UNWANTED

    @given(situations())
    def test_the_order_of_what_airflow_says_changes_no_fate(self, situation):
        job, instances, asked, terms = situation
        fates = {judge(job, Facts.of(asked, order), terms, NOW).fate for order in permutations(instances)}
        assert len(fates) == 1


class TestTasks:
    @pytest.mark.parametrize(
        ("text", "task"),
        [
            ("my_dag", Task(dag_id="my_dag", task_id="tune")),
            ("my.dag:group.buy", Task(dag_id="my.dag", task_id="group.buy")),
        ],
    )
    def test_a_task_is_named_by_its_dag_and_maybe_its_id(self, text, task):
        assert Task.parse(text) == task

    @pytest.mark.parametrize("text", ["", "a b", "a:", ":b", "a:b:c"])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(ConfigError, match="write dag_id"):
            Task.parse(text)


@pytest.mark.parametrize("terms", [{"dry_run": "False"}, {"grace_minutes": "15"}, {"grace_minutes": -1}])
def test_terms_are_taken_literally(terms):
    with pytest.raises(ConfigError):
        Terms.from_json({"installation": "prod", **terms})
