"""The reaper at work on a local Vertex AI over HTTP, with what Airflow says made up."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from gemini_tuning.errors import ConfigError, ServiceRefusedError, TransientError
from gemini_tuning.tuning.reaping import Place, Reaper
from gemini_tuning.tuning.spec import (
    ATTEMPT_LABEL,
    INSTALLATION_LABEL,
    KEY_LABEL,
    OWNER_LABEL,
    PIPELINE_LABEL,
    RUN_LABEL,
)
from gemini_tuning.tuning.unwanted import Fate, Instance, Task, Terms

TUNE = Task(dag_id="tune_replies")
HERE = Place()
LONG_AGO = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).isoformat()


class Airflow:
    """Task instances by task; what they hold is told apart, as Airflow does."""

    def __init__(self, *instances):
        self.instances = list(instances)
        self.asked = []
        self.pulls = 0
        self.broken = None

    def of(self, task):
        self.asked.append(task)
        if self.broken:
            raise self.broken
        for one in self.instances:
            if (one.dag_id, one.task_id) == (task.dag_id, task.task_id):
                yield one._replace(holds=None, leaves=None)

    def held(self, instance):
        return self._known(instance).holds

    def left(self, instance):
        return self._known(instance).leaves

    def _known(self, instance):
        self.pulls += 1
        return next(one for one in self.instances if one.owner == instance.owner)


def instance(run="r1", state="failed", dag_id=TUNE.dag_id, **fields):
    return Instance(dag_id, run, "tune", state=state, **fields)


class Estate:
    """Jobs of an installation of its own, and its reaper."""

    def __init__(self, shop):
        self.shop = shop
        self.name = f"i-{uuid.uuid4().hex[:12]}"
        self.told = []

    def job(self, owner=None, *, state="PENDING", created=LONG_AGO, pipeline="replies", **labels):
        owner = owner or instance()
        given = {
            KEY_LABEL: self.shop.key,
            ATTEMPT_LABEL: "1",
            PIPELINE_LABEL: pipeline,
            RUN_LABEL: owner.run_id,
            OWNER_LABEL: owner.owner,
            INSTALLATION_LABEL: self.name,
            **labels,
        }
        labels = {name: value for name, value in given.items() if value is not None}
        return self.shop.plant(state, labels=labels, createTime=created)

    def reaper(self, airflow, *, tasks=(TUNE,), dry_run=False, grace_minutes=15, connect=None):
        terms = Terms(installation=self.name, grace_minutes=grace_minutes, dry_run=dry_run)
        connect = connect or (lambda place: self.shop.new_service(attempts=1))
        return Reaper(airflow, tasks, terms, connect, tell=self.told.append)

    def reap(self, airflow, places=(HERE,), **fields):
        return self.reaper(airflow, **fields).reap(places)

    def fates(self, report):
        """Return what became of this installation's jobs, by name."""
        mine = {job["name"] for job in self.shop.jobs()}
        return {verdict.job: verdict.fate for verdict in report.verdicts if verdict.job in mine}

    def state(self, name):
        return next(job["state"] for job in self.shop.jobs() if job["name"] == name).removeprefix("JOB_STATE_")


@pytest.fixture
def estate(shop):
    return Estate(shop)


class TestCancelling:
    def test_unwanted_jobs_are_cancelled_and_wanted_ones_go_on(self, estate):
        waiting = instance("r2", "deferred")
        ended = estate.job(instance("r1"))
        gone = estate.job(instance("deleted"))
        own = estate.job(waiting)
        taken_over = estate.job(instance("r3", "success"))
        holder = waiting._replace(holds=taken_over)
        report = estate.reap(Airflow(instance("r1"), holder, instance("r3", "success")))
        assert estate.fates(report) == {
            ended: Fate.CANCELLED,
            gone: Fate.CANCELLED,
            own: Fate.WANTED,
            taken_over: Fate.WANTED,
        }
        states = {name: estate.state(name) for name in (ended, gone, own, taken_over)}
        assert states == {ended: "CANCELLED", gone: "CANCELLED", own: "PENDING", taken_over: "PENDING"}
        assert not report.troubles

    def test_a_dry_run_touches_nothing_and_says_what_it_would(self, estate):
        job = estate.job()
        report = estate.reap(Airflow(instance()), dry_run=True)
        assert estate.fates(report) == {job: Fate.UNWANTED}
        assert estate.state(job) == "PENDING"
        assert estate.shop.requests(path=":cancel$") == []
        assert report.summary().endswith("Dry run: nothing was touched.")

    def test_another_installation_s_job_is_left(self, estate):
        job = estate.job(**{INSTALLATION_LABEL: "somebody-else"})
        report = estate.reap(Airflow(instance()))
        assert estate.fates(report) == {job: Fate.LEFT}
        assert estate.state(job) == "PENDING"

    def test_a_young_job_is_left(self, estate):
        job = estate.job(created=dt.datetime.now(dt.UTC).isoformat())
        assert estate.fates(estate.reap(Airflow(instance()))) == {job: Fate.LEFT}
        assert estate.fates(estate.reap(Airflow(instance()), grace_minutes=0)) == {job: Fate.CANCELLED}

    def test_jobs_that_have_ended_or_are_not_ours_are_not_spoken_of(self, estate):
        estate.job(state="SUCCEEDED")
        estate.job(state="CANCELLING")
        estate.job(**{KEY_LABEL: None})
        assert estate.fates(estate.reap(Airflow(instance()))) == {}

    def test_the_job_of_a_pipeline_whose_file_is_gone_is_judged_by_its_dag(self, estate):
        waiting = instance("r1", "deferred", dag_id="tune_gone")
        wanted = estate.job(waiting, pipeline="gone")
        unwanted = estate.job(instance("r2", dag_id="tune_gone"), pipeline="gone")
        somebody_elses = estate.job(instance("r1", dag_id="my_own"), pipeline="gone")
        report = estate.reap(Airflow(waiting._replace(holds=wanted)))
        assert estate.fates(report) == {wanted: Fate.WANTED, unwanted: Fate.CANCELLED, somebody_elses: Fate.LEFT}

    def test_a_job_that_ends_before_its_cancellation_is_not_said_to_be_cancelled(self, estate):
        estate.shop.settle(list_lag_seconds=0)
        scenario = {"labels": {KEY_LABEL: estate.shop.key}, "seconds": {"PENDING": 10_000}}
        estate.shop.cloud.control("POST", "scenarios", {**scenario, "cancel": "JOB_STATE_FAILED"})
        spec = estate.shop.order(instance().owner).attempt(1)
        labels = {**spec.labels, INSTALLATION_LABEL: estate.name}
        job = estate.shop.service.create(spec.model_copy(update={"labels": labels}))
        report = estate.reap(Airflow(instance()), grace_minutes=0)
        (verdict,) = [verdict for verdict in report.verdicts if verdict.job == job.name]
        assert (verdict.fate, verdict.state) == (Fate.LEFT, "FAILED")
        assert "ended FAILED before that took effect" in verdict.why


class TestLookingAgain:
    """What was read first is old by the time a job is cancelled."""

    def changing(self, estate, change):
        """Return an Airflow that changes after the states were read first."""

        class Changing(Airflow):
            def of(self, task):
                yield from list(super().of(task))
                if len(self.asked) == 1:
                    change(self)

        return Changing(instance())

    def test_a_task_cleared_meanwhile_keeps_its_job(self, estate):
        job = estate.job()

        def clear(airflow):
            airflow.instances = [instance(state=None)]

        assert estate.fates(estate.reap(self.changing(estate, clear))) == {job: Fate.WANTED}
        assert estate.state(job) == "PENDING"

    def test_a_run_that_took_it_over_meanwhile_keeps_it(self, estate):
        job = estate.job()

        def adopt(airflow):
            airflow.instances.append(instance("r2", "deferred", holds=job))

        assert estate.fates(estate.reap(self.changing(estate, adopt))) == {job: Fate.WANTED}

    def test_a_job_that_ended_meanwhile_is_left(self, estate):
        job = estate.job()

        def end(airflow):
            estate.shop.service.cancel(job)

        assert estate.fates(estate.reap(self.changing(estate, end))) == {job: Fate.LEFT}
        assert len(estate.shop.requests(path=":cancel$")) == 1

    def test_who_holds_what_is_asked_only_where_it_matters(self, estate):
        estate.job(instance("r2", "deferred"))
        airflow = Airflow(instance(), instance("r2", "deferred"))
        estate.reap(airflow)
        assert airflow.pulls == 0
        estate.job()
        estate.reap(airflow)
        assert airflow.pulls == 2


class TestTrouble:
    def test_a_job_that_may_not_be_cancelled_keeps_no_other_from_it(self, estate):
        first, second = estate.job(), estate.job()
        refused = second.rsplit("/", 1)[-1]
        estate.shop.fault(path=f"{refused}:cancel$", status=403, times=None)
        report = estate.reap(Airflow(instance()))
        assert estate.fates(report) == {first: Fate.CANCELLED, second: Fate.LEFT}
        (verdict,) = [verdict for verdict in report.verdicts if verdict.job == second]
        assert "HTTP 403" in verdict.why
        with pytest.raises(ServiceRefusedError, match=r"1 could not be seen to\. Cancelling .* HTTP 403"):
            report.require_no_trouble()

    def test_trouble_that_may_pass_is_tried_again_once_all_others_are_seen_to(self, estate):
        first, second, third = estate.job(), estate.job(), estate.job()
        for name, status in ((first, 403), (second, 503)):
            estate.shop.fault(method="GET", path=f"{name.rsplit('/', 1)[-1]}$", status=status, times=None)
        report = estate.reap(Airflow(instance()))
        assert estate.fates(report) == {first: Fate.LEFT, second: Fate.LEFT, third: Fate.CANCELLED}
        with pytest.raises(TransientError, match="HTTP 503"):
            report.require_no_trouble()

    def test_a_place_that_cannot_be_reached_keeps_no_other_from_it(self, estate):
        job = estate.job()
        away = Place(gcp_conn_id="away")

        def connect(place):
            if place == away:
                raise ConfigError("Airflow has no connection 'away'.")
            return estate.shop.new_service()

        report = estate.reap(Airflow(instance()), places=[away, HERE], connect=connect)
        assert estate.fates(report) == {job: Fate.CANCELLED}
        with pytest.raises(ServiceRefusedError, match=r"connection away: Airflow has no connection 'away'\."):
            report.require_no_trouble()

    def test_nothing_is_done_while_airflow_cannot_be_asked(self, estate):
        job = estate.job()
        airflow = Airflow(instance())
        airflow.broken = TransientError("Airflow could not be asked.")
        with pytest.raises(TransientError, match="could not be asked"):
            estate.reap(airflow)
        assert estate.state(job) == "PENDING"

    def test_a_job_is_left_when_airflow_cannot_be_asked_again(self, estate):
        job = estate.job()

        class Failing(Airflow):
            def held(self, instance):
                raise TransientError("Airflow could not be asked for an XCom.")

        report = estate.reap(Failing(instance(), instance("r2", "running")))
        assert estate.fates(report) == {job: Fate.LEFT}
        assert estate.state(job) == "PENDING"
        with pytest.raises(TransientError, match="for an XCom"):
            report.require_no_trouble()


class TestTheReport:
    def test_each_verdict_is_told_as_it_is_reached_and_kept(self, estate):
        job = estate.job()
        report = estate.reap(Airflow(instance()))
        assert list(report.verdicts) == estate.told
        (verdict,) = [verdict for verdict in report.verdicts if verdict.job == job]
        assert verdict.sentence() == (
            f"{job} (CANCELLED, pipeline replies, run r1) cancelled: its task instance, "
            f"tune of run r1 of Dag tune_replies, is failed. Tuning job {job} is cancelled."
        )
        assert type(report).from_json(report.to_json()) == report

    def test_two_ways_to_one_place_are_one_job(self, estate):
        job = estate.job()
        report = estate.reap(Airflow(instance()), places=[HERE, Place(project="local-dev"), HERE])
        assert [verdict.job for verdict in report.verdicts].count(job) == 1
        assert len(report.places) == 2

    def test_airflow_is_not_asked_when_there_is_no_job(self, estate):
        airflow = Airflow(instance())
        report = estate.reap(airflow, places=[Place(location="nowhere")], connect=lambda place: NoJobs())
        assert airflow.asked == []
        assert report.summary() == "0 live tuning jobs with our labels in 1 place."


class NoJobs:
    def pages(self, filter_):
        yield ()
