import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tuning.simulation import EPOCH, KEY, LAG, REQUEST, SETTLE, Process, World, run

from gemini_tuning.errors import TransientError
from gemini_tuning.tuning.buying import FRESH_SECONDS, RECORD_NAME
from gemini_tuning.tuning.purchase import (
    Action,
    How,
    Order,
    Patience,
    Phase,
    PurchaseRecord,
    attempt_of,
    decide,
    is_live,
)
from gemini_tuning.tuning.spec import (
    ATTEMPT_LABEL,
    KEY_LABEL,
    LABEL_PATTERN,
    OWNER_LABEL,
    TuningJob,
    TuningJobSpec,
    owner_of,
    task_of,
)
from gemini_tuning.tuning.states import JobState

PATIENCE = Patience(settle_seconds=45, request_seconds=60)
NOW = EPOCH + dt.timedelta(hours=1)
LIVE = [JobState.UNSPECIFIED, JobState.QUEUED, JobState.PENDING, JobState.RUNNING, JobState.PAUSED, JobState.UPDATING]
LOST = [JobState.FAILED, JobState.EXPIRED, JobState.PARTIALLY_SUCCEEDED]


def job(number, state, *, attempt=1, owner="me", key=KEY, minute=0):
    labels = {KEY_LABEL: key, ATTEMPT_LABEL: str(attempt), OWNER_LABEL: owner}
    return TuningJob(
        name=f"projects/7/locations/us-central1/tuningJobs/{number}",
        state=state,
        labels=labels,
        create_time=EPOCH + dt.timedelta(minutes=minute),
    )


def record(phase=Phase.SETTLED, *, attempt=1, claim="1", number=None, seconds_ago=3000, **fields):
    name = f"projects/7/locations/us-central1/tuningJobs/{number}" if number else None
    at = NOW - dt.timedelta(seconds=seconds_ago)
    return PurchaseRecord(**{"key": KEY, **fields}, attempt=attempt, phase=phase, at=at, claim=claim, job=name)


def decided(jobs, remembered=None, *, claim="1", **fields):
    spec = TuningJobSpec(base_model="m", training_dataset_uri="gs://b/a", labels={OWNER_LABEL: "me"})
    order = Order(spec=spec, key=KEY, claim=claim, **fields)
    return decide(order, remembered, jobs, PATIENCE, NOW)


class TestWithoutARecord:
    def test_nothing_there_is_attempt_one(self):
        assert (decided([]).action, decided([]).attempt) == (Action.CREATE, 1)

    @pytest.mark.parametrize("state", LIVE)
    def test_a_live_job_of_anybody_is_adopted(self, state):
        decision = decided([job(9, state, owner="somebody", attempt=3)])
        assert (decision.action, decision.attempt, decision.surplus) == (Action.ADOPT, 3, ())

    @pytest.mark.parametrize("state", [*LOST, JobState.CANCELLED])
    def test_an_end_without_success_is_followed_by_the_next_attempt(self, state):
        decision = decided([job(1, state, attempt=2), job(2, JobState.CANCELLED, attempt=1)])
        assert (decision.action, decision.attempt, decision.recovers) == (Action.CREATE, 3, False)

    def test_a_job_that_succeeded_is_reused_and_of_several_the_latest_attempt(self):
        jobs = [job(1, JobState.SUCCEEDED), job(2, JobState.SUCCEEDED, attempt=2), job(3, JobState.FAILED, attempt=3)]
        decision = decided(jobs)
        assert (decision.action, decision.job) == (Action.REUSE, jobs[1])

    def test_a_live_job_comes_before_one_that_succeeded(self):
        jobs = [job(1, JobState.SUCCEEDED), job(2, JobState.RUNNING, attempt=2)]
        assert decided(jobs).job == jobs[1]
        assert decided(jobs).surplus == ()

    def test_what_was_bought_beside_a_job_that_succeeded_is_surplus(self):
        jobs = [job(1, JobState.SUCCEEDED), job(2, JobState.RUNNING)]
        decision = decided(jobs)
        assert (decision.action, decision.job, decision.surplus) == (Action.REUSE, jobs[0], (jobs[1],))

    @pytest.mark.parametrize("label", ["", "x", "²", "-1"])
    def test_an_attempt_without_a_number_is_the_first(self, label):
        assert attempt_of(job(1, JobState.FAILED, attempt=label)) == 1


class TestForceNew:
    def test_a_job_that_succeeded_before_is_not_reused(self):
        decision = decided([job(1, JobState.SUCCEEDED, attempt=4)], force_new=True)
        assert (decision.action, decision.attempt) == (Action.CREATE, 5)

    def test_one_task_buys_anew_once_however_often_it_is_tried(self):
        jobs = [job(1, JobState.SUCCEEDED), job(2, JobState.SUCCEEDED, attempt=2)]
        mine = record(number=2, attempt=2, forced=True)
        for claim in ("1", "2"):
            assert decided(jobs, mine, claim=claim, force_new=True).job == jobs[1]

    def test_a_crash_after_the_request_is_no_reason_to_buy_twice(self):
        jobs = [job(1, JobState.SUCCEEDED), job(2, JobState.SUCCEEDED, attempt=2)]
        mine = record(Phase.INTENT, attempt=2, forced=True)
        assert decided(jobs, mine, claim="2", force_new=True).job == jobs[1]

    def test_it_counts_from_the_moment_it_is_set(self):
        jobs = [job(1, JobState.SUCCEEDED)]
        decision = decided(jobs, record(number=1, how=How.REUSED), claim="2", force_new=True)
        assert (decision.action, decision.attempt) == (Action.CREATE, 2)

    def test_a_live_job_is_new_enough(self):
        assert decided([job(1, JobState.RUNNING)], force_new=True).action is Action.ADOPT


class TestWaitingForTheList:
    @pytest.mark.parametrize(
        ("phase", "seconds_ago", "left"),
        [
            (Phase.INTENT, 5, 100),
            (Phase.ASKED, 5, 100),
            (Phase.SUBMITTED, 5, 40),
            (Phase.SUBMITTED, -500, 45),
            (Phase.INTENT, -500, 105),
        ],
    )
    @pytest.mark.parametrize("jobs", [[], [job(1, JobState.RUNNING)], [job(1, JobState.SUCCEEDED)]])
    def test_what_was_just_asked_for_may_be_hidden(self, phase, seconds_ago, left, jobs):
        decision = decided(jobs, record(phase, seconds_ago=seconds_ago), claim="2")
        assert (decision.action, decision.seconds) == (Action.WAIT_FOR_LIST, left)

    def test_surplus_is_cancelled_meanwhile(self):
        jobs = [job(2, JobState.PENDING, minute=1), job(1, JobState.PENDING)]
        assert decided(jobs, record(Phase.SUBMITTED, number=2, seconds_ago=1)).surplus == (jobs[0],)

    @pytest.mark.parametrize("phase", [Phase.INTENT, Phase.ASKED])
    def test_then_the_same_attempt_is_asked_for_again(self, phase):
        decision = decided([job(1, JobState.FAILED)], record(phase, attempt=2), claim="2")
        assert (decision.action, decision.attempt) == (Action.CREATE, 2)

    @pytest.mark.parametrize("phase", list(Phase))
    def test_a_record_of_another_key_is_ignored(self, phase):
        other = record(phase, key="other", attempt=7, number=1, seconds_ago=0)
        assert decided([], other) == decided([])
        assert decided([job(1, JobState.RUNNING, key="other")], other) == decided([])


class TestTheTasksOwnJob:
    @pytest.mark.parametrize("state", LOST)
    @pytest.mark.parametrize("claim", ["1", "2"])
    def test_its_failure_is_told_before_another_is_paid_for(self, state, claim):
        jobs = [job(1, state)]
        assert decided(jobs, record(number=1), claim=claim).job == jobs[0]
        assert decided(jobs, record(number=1), claim=claim).action is Action.REPORT

    @pytest.mark.parametrize("state", LOST)
    def test_once_told_a_clear_buys_the_next_attempt_and_a_retry_tells_it_again(self, state):
        """The process that told it may have died before Airflow heard of it."""
        told = record(number=1, told_in="first")
        for claim in ("1", "2"):
            assert decided([job(1, state)], told, claim=claim, round="first").action is Action.REPORT
        decision = decided([job(1, state)], told, claim="3", round="second")
        assert (decision.action, decision.attempt) == (Action.CREATE, 2)

    def test_a_failure_after_a_crash_is_told_although_the_name_was_never_noted(self):
        jobs = [job(1, JobState.FAILED, attempt=2)]
        assert decided(jobs, record(Phase.INTENT, attempt=2), claim="2").action is Action.REPORT
        others = [job(1, JobState.FAILED, attempt=2, owner="somebody")]
        assert decided(others, record(Phase.INTENT, attempt=2), claim="2").action is Action.CREATE

    def test_cleared_it_buys_the_next_attempt(self):
        for fields in ({}, {"recovered": True}, {"told_in": "first"}, {"how": How.ADOPTED}):
            decision = decided([job(1, JobState.CANCELLED)], record(number=1, **fields), claim="2")
            assert (decision.action, decision.attempt, decision.recovers) == (Action.CREATE, 2, False)

    def test_stopped_by_hand_it_stays_stopped(self):
        assert decided([job(1, JobState.CANCELLED)], record(number=1)).action is Action.REPORT

    @pytest.mark.parametrize("claim", ["1", "2"])
    @pytest.mark.parametrize("how", list(How))
    def test_a_job_that_is_being_cancelled_is_waited_for_before_anything_else(self, how, claim):
        ending = job(1, JobState.CANCELLING)
        decision = decided([ending], record(number=1, how=how), claim=claim)
        assert (decision.action, decision.job) == (Action.WAIT_FOR_END, ending)

    @pytest.mark.parametrize("how", [How.ADOPTED, How.REUSED])
    def test_an_adopted_job_that_others_cancel_is_bought_once_more_and_no_more(self, how):
        decision = decided([job(1, JobState.CANCELLED)], record(number=1, how=how))
        assert (decision.action, decision.attempt, decision.recovers) == (Action.CREATE, 2, True)
        again = decided([job(2, JobState.CANCELLED, attempt=2)], record(number=2, attempt=2, how=how, recovered=True))
        assert again.action is Action.REPORT

    def test_a_job_that_others_cancelled_before_the_second_look_is_bought_once_more(self):
        decision = decided([job(1, JobState.CANCELLED)], record(Phase.SUBMITTED, number=1))
        assert decision.recovers

    def test_anothers_live_job_is_better_than_any_bad_news(self):
        jobs = [job(1, JobState.FAILED), job(2, JobState.RUNNING, attempt=2, owner="somebody")]
        assert decided(jobs, record(number=1)).job == jobs[1]


STATES = st.sampled_from(list(JobState))
JOBS = st.lists(
    st.builds(
        job,
        st.integers(1, 99),
        STATES,
        attempt=st.integers(1, 4),
        owner=st.sampled_from(["me", "somebody"]),
        key=st.sampled_from([KEY, KEY, "other"]),
        minute=st.integers(0, 3),
    ),
    max_size=6,
    unique_by=lambda job: job.name,
)
RECORDS = st.none() | st.builds(
    record,
    st.sampled_from(list(Phase)),
    attempt=st.integers(1, 4),
    claim=st.sampled_from(["1", "2"]),
    number=st.none() | st.integers(1, 99),
    seconds_ago=st.integers(-200, 200),
    how=st.sampled_from(list(How)),
    forced=st.booleans(),
    recovered=st.booleans(),
    told_in=st.none() | st.sampled_from(["", "first"]),
)


@settings(derandomize=True, max_examples=1500, database=None, deadline=None)
@given(JOBS, RECORDS, st.booleans(), st.randoms(use_true_random=False))
def test_whatever_is_seen_one_live_job_is_kept_and_its_order_does_not_matter(jobs, remembered, force_new, random):
    decision = decided(jobs, remembered, force_new=force_new)
    shuffled = random.sample(jobs, len(jobs))
    assert decided(shuffled, remembered, force_new=force_new) == decision
    assert all(is_live(job) and job.labels[KEY_LABEL] == KEY for job in decision.surplus)
    kept = [job for job in jobs if job.labels[KEY_LABEL] == KEY and is_live(job) and job not in decision.surplus]
    assert len(kept) <= 1
    if decision.action is Action.CREATE:
        assert kept == []
        assert all(attempt_of(job) < decision.attempt for job in jobs if job.labels[KEY_LABEL] == KEY)
    if decision.action is Action.WAIT_FOR_LIST:
        assert 0 < decision.seconds <= PATIENCE.settle_seconds + PATIENCE.request_seconds
    if decision.action is Action.ADOPT:
        assert kept == [decision.job]


@settings(derandomize=True, max_examples=1500, database=None, deadline=None)
@given(JOBS, st.sampled_from(["1", "2"]))
def test_a_task_that_remembers_nothing_buys_only_when_nothing_is_live_or_succeeded(jobs, claim):
    own = [job for job in jobs if job.labels[KEY_LABEL] == KEY]
    there = any(job.state is JobState.SUCCEEDED or not job.state.ended for job in own)
    assert (decided(jobs, claim=claim).action is Action.CREATE) is not there


CHOICES = st.lists(st.integers(0, 719), min_size=40, max_size=200)


def chosen(choices):
    left = iter(choices)
    return lambda count: next(left, 0) % count


class TestAllOrdersOfEvents:
    """Real buyers against a simulated service whose list lags by 30 s; see ``simulation``."""

    @settings(derandomize=True, max_examples=300, database=None, deadline=None)
    @given(CHOICES, st.integers(1, 3), st.booleans())
    def test_one_job_is_left_and_everybody_has_it(self, choices, buyers, force_new):
        world = World(chosen(choices))
        processes = [Process(world, f"task-{n}", force_new=force_new) for n in range(buyers)]
        run(world, processes)
        (left,) = world.wanted()
        assert {process.purchase.job.name for process in processes} == {left.name}
        assert not any(process.purchase.recovered for process in processes)

    @settings(derandomize=True, max_examples=200, database=None, deadline=None)
    @given(CHOICES, st.integers(0, 2))
    def test_when_one_gives_up_the_others_end_with_one_job(self, choices, quitter):
        world = World(chosen(choices))
        processes = [Process(world, f"task-{n}") for n in range(3)]
        run(world, processes)
        shared = processes[0].purchase.job.name
        gone = processes.pop(quitter)
        is_creator = world.jobs[shared].labels[OWNER_LABEL] == gone.name
        if is_creator:
            world.cancel(shared)
        run(world, processes)
        (left,) = world.wanted()
        assert {process.purchase.job.name for process in processes} == {left.name}
        assert (left.name == shared) is not is_creator

    @settings(derandomize=True, max_examples=300, database=None, deadline=None)
    @given(CHOICES)
    def test_a_task_alone_asks_again_only_when_no_job_came_of_its_request(self, choices):
        world = World(chosen(choices))
        run(world, [Process(world, "task")])
        moments = {job.create_time for job in world.jobs.values()}  # a request that a gateway repeats makes twins
        assert len(moments) == 1


class TestSlowness:
    """Two orders of events that chance seldom meets."""

    def test_a_list_is_judged_by_when_it_was_asked_for(self):
        world = World(lambda count: 0)
        process = Process(world, "task")
        process.start()
        while not process.memory:
            process.step()
        world.advance(REQUEST)
        process.step()
        (job,) = world.jobs.values()
        process.step(die=True)
        world.advance(LAG - 0.5)
        process.start()
        process.step()  # the list is asked for while it doesn't show the job yet
        process.step()
        world.advance(SETTLE)
        run(world, [process])
        assert list(world.jobs) == [job.name]

    def test_an_intent_that_took_long_to_note_is_noted_anew(self):
        world = World(lambda count: 0)
        process = Process(world, "task")
        process.start()
        for _ in range(3):
            process.step()
        assert process.memory == {}
        world.advance(REQUEST)
        process.step()
        assert noted(process) == EPOCH
        process.step()
        assert noted(process) == world.time()
        assert not world.jobs

    def test_a_store_that_is_always_slow_ends_the_try_before_anything_is_asked_for(self):
        world = World(lambda count: 0)
        process = Process(world, "task")
        process.start()
        while process.running:
            process.step()
            world.advance(FRESH_SECONDS + 1)
        assert isinstance(process.error, TransientError)
        assert "nothing was asked for" in str(process.error)
        assert not world.jobs


def noted(process):
    return PurchaseRecord.from_json(json.loads(process.memory[RECORD_NAME])).at


@pytest.mark.parametrize(
    "other", [("d", "r", "t", 1), ("d", "r", "u", 0), ("d", "s", "t", 0), ("e", "r", "t", 0), ("dr", "", "t", 0)]
)
def test_each_task_instance_is_an_owner_of_its_own(other):
    assert owner_of("d", "r", "t", 0) != owner_of(*other)
    assert owner_of("d", "r", "t", 0) == owner_of("d", "r", "t", 0)
    assert LABEL_PATTERN.fullmatch(owner_of(*other))


def test_an_owner_tells_its_task_when_its_run_is_gone():
    assert owner_of("d", "r", "t", 0).startswith(task_of("d", "t") + "-")
    assert task_of("d", "t") not in {task_of("d", "u"), task_of("e", "t"), task_of("dt", "")}
