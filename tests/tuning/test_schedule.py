import datetime as dt

import pytest

from gemini_tuning.tuning.metrics import TRAIN_LOSS, VALIDATION_LOSS, Metrics, Point
from gemini_tuning.tuning.progress import Teller, lasted
from gemini_tuning.tuning.schedule import (
    LONGEST_DELAY_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    PAGE_SIZE,
    Backoff,
    Candidate,
    Plan,
    Way,
    gap,
    lists_to_skip,
    plan,
    shows_too_little,
    sooner,
)
from gemini_tuning.tuning.spec import TuningJob
from gemini_tuning.tuning.states import JobState

NAME = "projects/7/locations/us-central1/tuningJobs/9"
NOW = 1_700_000_000.0
QUOTA = "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
TUNING = "TUNING_JOB_STATE_TUNING"


def job(state=JobState.RUNNING, **fields):
    return TuningJob(name=NAME, state=state, **fields)


def at(seconds):
    return dt.datetime.fromtimestamp(NOW + seconds, dt.UTC)


def waits(number, *, due=0.0, interval=60.0, labelled=True, listed=True):
    return [Candidate(due, interval, labelled, listed)] * number


class TestGap:
    @pytest.mark.parametrize(
        "state", [s for s in JobState if not s.ended and s not in (JobState.QUEUED, JobState.PAUSED)]
    )
    @pytest.mark.parametrize("age", [0, 3600, 86_400])
    def test_a_job_that_may_end_is_never_left_alone_for_longer_than_the_interval(self, state, age):
        assert 0 < gap(job(state), NOW, NOW - age, 60) <= 60

    @pytest.mark.parametrize(
        "standing",
        [job(JobState.QUEUED), job(JobState.PAUSED), job(detail_state=QUOTA)],
        ids=["queue", "pause", "quota"],
    )
    def test_a_job_in_line_is_looked_at_less_often_the_longer_it_stands(self, standing):
        gaps = [gap(standing, NOW, NOW - age, 60) for age in (0, 600, 1200, 3600, 86_400)]
        assert gaps == [60, 60, 120, 300, 300]

    def test_a_long_interval_is_never_shortened_by_standing_in_line(self):
        assert gap(job(JobState.QUEUED), NOW, NOW - 86_400, 3600) == 3600

    @pytest.mark.parametrize("nearly", [job(JobState.CANCELLING), job(detail_state="TUNING_JOB_STATE_POST_PROCESSING")])
    def test_a_job_that_is_nearly_over_is_looked_at_more_often(self, nearly):
        assert gap(nearly, NOW, NOW, 60) == 30

    def test_chance_only_makes_it_sooner(self):
        assert [sooner(60, chance) for chance in (0, 1)] == [60, 51]


class TestBackoff:
    def test_it_doubles_up_to_a_limit(self):
        backoff, delays, now = Backoff(), [], NOW
        for _ in range(30):
            backoff = backoff.after(None, now, 0.0)
            delays.append(backoff.until - now)
            now = backoff.until
        assert delays[:5] == [2, 4, 8, 16, 32]
        assert max(delays) == delays[-1] == LONGEST_DELAY_SECONDS

    def test_the_service_is_left_alone_for_as_long_as_it_asks(self):
        for chance in (0.0, 0.5, 1.0):
            assert NOW + 40 <= Backoff().after(40, NOW, chance).until <= NOW + 44

    def test_but_not_for_ever(self):
        assert Backoff().after(1e9, NOW, 1.0).until <= NOW + 1.1 * LONGEST_RETRY_AFTER_SECONDS

    def test_requests_that_fail_together_count_once_and_the_longest_wish_holds(self):
        together = Backoff().after(10, NOW, 0).after(30, NOW + 1, 0).after(None, NOW + 2, 0)
        assert together == Backoff(1, NOW + 31)


class TestPlan:
    @pytest.mark.parametrize(("number", "pages"), [(2, 2), (40, 3), (100, 3), (101, 5), (1000, 21)])
    def test_many_are_looked_at_by_pages_with_room_for_others_jobs_between_them(self, number, pages):
        assert plan(waits(number)) == Plan(Way.OURS, pages)

    def test_one_is_got(self):
        assert plan(waits(1)).way is Way.SINGLY

    def test_a_few_that_are_due_are_got_when_a_list_would_be_more_requests(self):
        resting = waits(990, due=40.0)
        assert plan(waits(3) + resting).way is Way.SINGLY
        assert plan(waits(10) + resting).way is Way.OURS

    def test_what_is_nearly_due_is_looked_at_along_with_what_is(self):
        assert plan(waits(1) + waits(400, due=14.0)).way is Way.OURS
        assert plan(waits(1) + waits(400, due=16.0)).way is Way.SINGLY

    def test_jobs_that_nobody_has_seen_are_taken_for_ours(self):
        assert plan(waits(5, labelled=None)).way is Way.OURS

    def test_others_jobs_are_found_by_their_state(self):
        assert plan(waits(5, labelled=False)).way is Way.LIVE
        assert plan(waits(5, labelled=False), frozenset({Way.LIVE})).way is Way.SINGLY

    def test_a_few_others_are_got_beside_the_list_of_ours(self):
        assert plan(waits(50) + waits(2, labelled=False)) == Plan(Way.OURS, 3)

    def test_a_refused_list_is_not_asked_for_again(self):
        assert plan(waits(50), frozenset({Way.OURS})).way is Way.LIVE
        assert plan(waits(50), frozenset({Way.OURS, Way.LIVE})).way is Way.SINGLY

    def test_what_no_list_shows_makes_no_list(self):
        assert plan(waits(50, listed=False)).way is Way.SINGLY

    @pytest.mark.parametrize("number", [2, 5, 99, 100, 101, 1000])
    def test_a_round_is_never_more_pages_than_gets(self, number):
        assert plan(waits(number)).pages <= number

    def test_the_list_of_live_jobs_leaves_out_every_state_that_is_an_end(self):
        for state in JobState:
            assert (f'"{state.value}"' in Way.LIVE.value) is state.ended

    def test_a_job_that_lists_miss_is_expected_ever_more_rarely(self):
        assert [lists_to_skip(misses) for misses in (1, 2, 3, 50)] == [1, 3, 7, 32]

    def test_only_a_list_that_was_cut_off_shows_too_little(self):
        assert shows_too_little(3, 3, 50)
        assert not shows_too_little(2, 3, 50)
        assert not shows_too_little(3, 3, 2)

    def test_pages_are_as_long_as_the_plan_reckons(self):
        assert PAGE_SIZE == 100


class TestTeller:
    def told(self, teller, seen, seconds, metrics=None):
        return teller.line(seen, NOW + seconds, metrics) if teller.see(seen, NOW + seconds) else None

    def test_a_state_is_told_once_and_then_every_half_hour_with_how_long_it_lasts(self):
        teller, waiting = Teller(), job(detail_state=QUOTA, create_time=at(0))
        told = {minute: self.told(teller, waiting, minute * 60) for minute in range(90)}
        assert {minute: line for minute, line in told.items() if line} == {
            0: "RUNNING, waiting for quota, 0 s",
            30: "RUNNING, waiting for quota, 30 min",
            60: "RUNNING, waiting for quota, 60 min",
        }

    def test_a_job_seen_late_tells_what_its_own_times_say(self):
        assert self.told(Teller(), job(JobState.QUEUED, create_time=at(-2520)), 0) == "QUEUED, 42 min"
        assert self.told(Teller(), job(create_time=at(-9999), start_time=at(-60)), 0) == "RUNNING, 1 min"

    def test_where_they_don_t_it_says_so(self):
        teller, tuning = Teller(), job(detail_state=TUNING, start_time=at(-9999))
        self.told(teller, tuning, 0)
        assert self.told(teller, tuning, 1800) == "RUNNING, tuning, at least 30 min"
        assert self.told(teller, job(detail_state=QUOTA), 1800) == "RUNNING, waiting for quota, 0 s"

    def test_an_epoch_is_told_at_once_and_steps_now_and_then(self):
        teller = Teller()
        steps = [job(completed_epochs=step // 100, completed_steps=step) for step in range(0, 200, 10)]
        told = [self.told(teller, seen, index * 60) for index, seen in enumerate(steps)]
        assert [line.split("step ")[1] for line in told if line] == ["0", "50", "100", "150"]

    def test_the_latest_losses_are_told(self):
        points = (Point(step=1, value=3.0), Point(step=40, value=1.23456))
        metrics = Metrics(series={TRAIN_LOSS: points, VALIDATION_LOSS: points[:1]})
        line = self.told(Teller(), job(completed_epochs=2, completed_steps=40), 0, metrics)
        assert line.endswith("epoch 2, step 40, train loss 1.2346 (step 40), validation loss 3.0000 (step 1)")

    def test_an_unknown_state_is_told_in_the_services_own_word(self):
        line = self.told(Teller(), job(JobState.UNSPECIFIED, unknown_state="JOB_STATE_HIBERNATING"), 0)
        assert line.startswith("HIBERNATING (a state this release doesn't know)")

    @pytest.mark.parametrize(
        ("seconds", "words"), [(0, "0 s"), (59.9, "59 s"), (2520, "42 min"), (7199, "119 min"), (11_100, "3 h 05 min")]
    )
    def test_durations(self, seconds, words):
        assert lasted(seconds) == words
