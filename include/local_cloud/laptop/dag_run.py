"""One Dag run, triggered and followed over Airflow's REST API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from local_cloud.laptop.airflow_api import AirflowApiError
from local_cloud.laptop.job_watch import JobWatch
from local_cloud.laptop.narrator import Narrator
from local_cloud.laptop.run_report import (
    error_events,
    failed_stage,
    failure_reason,
    import_error,
    stage_changes,
    states,
)
from local_cloud.laptop.stack import Stack

_POLL_SECONDS = 1.0
_PARSE_SECONDS = 60.0
_IMPORT_ERROR_SECONDS = 15.0
_ATTEMPTS = 10
_UNFINISHED = ("queued", "running")
_TUNE = "tune"
_ENDED = ("success", "failed", "upstream_failed", "skipped")

Answer = TypeVar("Answer")


class DemoError(RuntimeError):
    """The demo cannot go on, or the run did not do what it should. Raised with the sentence to show."""


@dataclass(frozen=True)
class Failure:
    """Why a run failed.

    :param stage: id of the task that failed.
    :param reason: the sentence its log ends with.
    :param details: other errors its log reports.
    :param log: the whole log.
    """

    stage: str
    reason: str
    details: tuple[str, ...]
    log: Path


class DagRun:
    """A run of one Dag.

    :param stack: where it runs.
    """

    def __init__(self, stack: Stack, dag_id: str, run_id: str) -> None:
        self.stack = stack
        self.dag_id = dag_id
        self.run_id = run_id
        self._path = f"/dags/{dag_id}/dagRuns/{run_id}"

    @classmethod
    def trigger(cls, stack: Stack, dag_id: str, conf: Mapping[str, Any] | None = None) -> DagRun:
        """Unpause the Dag and trigger a run of it.

        :param conf: values for the Dag's params.
        :raises DemoError: there is no such Dag; the sentence holds the import errors, if there are any.
        """
        _await_dag(stack, dag_id)
        _patiently(stack, lambda: stack.api.patch(f"/dags/{dag_id}", {"is_paused": False}))
        run = cls(stack, dag_id, f"demo__{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}")
        body = {"dag_run_id": run.run_id, "logical_date": None, "conf": dict(conf or {})}
        # looking first, since the answer to an earlier attempt may have been lost
        _patiently(stack, lambda: stack.api.find(run._path) or stack.api.post(f"/dags/{dag_id}/dagRuns", body))
        return run

    def follow(self, narrator: Narrator, *, seconds: float) -> str:
        """Tell about each change until the run has ended.

        :return: the run's final state, ``success`` or ``failed``.
        :raises DemoError: it has not ended after ``seconds``.
        :raises StackError: a part of the stack stopped.
        """
        deadline = time.monotonic() + seconds
        seen: dict[str, str | None] = {}
        watch: JobWatch | None = None
        while True:
            state, instances = self._look()
            if watch:  # before the stages' own news: a job's last loss comes before the end of the wait for it
                _tell(narrator, watch)
            for stage, words in stage_changes(seen, instances):
                narrator.event(words + self._why_again(stage, instances), stage=stage)
            seen = states(instances)
            if seen.get(_TUNE) in _ENDED:
                watch = None
            elif watch is None and seen.get(_TUNE):
                watch = self._watch()
            if state not in _UNFINISHED:
                return state
            if time.monotonic() > deadline:
                raise DemoError(self._stuck(seconds, seen))
            time.sleep(_POLL_SECONDS)

    def failure(self) -> Failure:
        """Which stage failed and why, from that task's log."""
        instance = failed_stage(self._instances())
        if instance is None:
            return Failure("scheduling", "no stage failed, but the run did", (), self._log_folder)
        stage, attempt = instance["task_id"], instance["try_number"]
        content = self._log(stage, attempt)
        log = self._log_folder / f"task_id={stage}" / f"attempt={attempt}.log"
        return Failure(stage, failure_reason(content), tuple(error_events(content)), log)

    def xcom(self, stage: str, key: str = "return_value") -> Any | None:
        """What a task returned or pushed, or None when there is no such thing."""
        entry = self.stack.api.find(f"{self._path}/taskInstances/{stage}/xcomEntries/{key}")
        return None if entry is None else entry["value"]

    @property
    def page(self) -> str:
        """The run in the Airflow UI."""
        return f"{self.stack.airflow_url}/dags/{self.dag_id}/runs/{self.run_id}"

    @property
    def _log_folder(self) -> Path:
        return self.stack.settings.airflow_home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"

    def _look(self) -> tuple[str, Sequence[Mapping[str, Any]]]:
        def look() -> tuple[str, Sequence[Mapping[str, Any]]]:
            # The state first: when it says ended, the instances read after it are final.
            return self.stack.api.get(self._path)["state"], self._instances()

        return _patiently(self.stack, look)

    def _instances(self) -> Sequence[Mapping[str, Any]]:
        instances: list[dict[str, Any]] = self.stack.api.get(f"{self._path}/taskInstances")["task_instances"]
        return instances

    def _log(self, stage: str, attempt: int) -> Sequence[Mapping[str, Any] | str]:
        try:
            content = self.stack.api.get(f"{self._path}/taskInstances/{stage}/logs/{attempt}")["content"]
        except AirflowApiError:
            return ()
        return content if isinstance(content, list) else ()

    def _watch(self) -> JobWatch | None:
        name = self.xcom(_TUNE, "tuning_job")
        return JobWatch(self.stack, name) if isinstance(name, str) else None

    def _why_again(self, stage: str, instances: Sequence[Mapping[str, Any]]) -> str:
        """The reason of a failure that Airflow is going to try again; nothing for other states."""
        for instance in instances:
            if instance["task_id"] == stage and instance["state"] == "up_for_retry":
                return f": {failure_reason(self._log(stage, instance['try_number']))}"
        return ""

    def _stuck(self, seconds: float, seen: Mapping[str, str | None]) -> str:
        where = ", ".join(f"{stage} is {state}" for stage, state in seen.items() if state not in {None, "success"})
        return (
            f"the run has not ended after {seconds:.0f} s ({where or 'no stage has started'}); "
            f"see {self.stack.settings.logs / 'scheduler.log'} and the task logs in {self._log_folder}"
        )


def _tell(narrator: Narrator, watch: JobWatch) -> None:
    for news in watch.news():
        narrator.event(news, stage=_TUNE)


def end_abandoned_runs(stack: Stack, dag_id: str) -> list[str]:
    """Mark runs as failed that an earlier, interrupted stack has left unfinished.

    They would hold the place of the one run that a pipeline allows at a time.

    :return: their ids.
    """
    ended = []
    for state in _UNFINISHED:
        for run in (stack.api.find(f"/dags/{dag_id}/dagRuns", state=state) or {"dag_runs": []})["dag_runs"]:
            stack.api.patch(f"/dags/{dag_id}/dagRuns/{run['dag_run_id']}", {"state": "failed"})
            ended.append(run["dag_run_id"])
    return ended


def _await_dag(stack: Stack, dag_id: str) -> None:
    began = time.monotonic()
    while _patiently(stack, lambda: stack.api.find(f"/dags/{dag_id}")) is None:
        waited = time.monotonic() - began
        reason = import_error(stack.api.get("/importErrors")["import_errors"])
        if reason and waited > _IMPORT_ERROR_SECONDS:  # another file's error is no reason to give this one up
            raise DemoError(f"there is no Dag {dag_id}: {reason}")
        if waited > _PARSE_SECONDS:
            raise DemoError(
                f"there is no Dag {dag_id} in {stack.settings.dags}, after {_PARSE_SECONDS:.0f} s; "
                f"see {stack.settings.logs / 'dag-processor.log'}"
            )
        time.sleep(_POLL_SECONDS / 2)


def _patiently(stack: Stack, ask: Callable[[], Answer]) -> Answer:
    """Ask again when the API fails to answer, as long as the stack is whole: it may be busy for a moment."""
    for attempt in range(_ATTEMPTS):
        stack.check()
        try:
            return ask()
        except AirflowApiError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_POLL_SECONDS)
    raise AssertionError
