"""The demo: trigger a pipeline as a user would, tell what happens, and show what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from local_cloud.laptop.dag_run import DagRun, DemoError, Failure, end_abandoned_runs
from local_cloud.laptop.narrator import Narrator
from local_cloud.laptop.settings import StackSettings
from local_cloud.laptop.stack import Stack, attach, running_stack

_DETAILS_SHOWN = 20


def demo(settings: StackSettings, dag_id: str, conf: Mapping[str, Any] | None, *, seconds: float) -> None:
    """Run a pipeline to its end and show its summary.

    :param seconds: the longest the pipeline may take.
    :raises DemoError: a stage failed; the sentence names it, the reason, and the log.
    :raises StackError: the stack could not be started, or broke.
    """
    narrator = Narrator()
    with stack_for(settings, dag_id, narrator) as stack:
        run, state = _run(stack, narrator, dag_id, conf, seconds=seconds)
        if state != "success":
            failure = run.failure()
            raise DemoError(f"{failure.stage} failed: {failure.reason} (the whole log: {failure.log})")
        took = narrator.seconds
        narrator.line(f"\nThe pipeline took {took:.0f} s; the stack had started in {stack.state.seconds:.0f} s.\n")
        narrator.line(_summary_text(run.xcom("summary")))
        narrator.line(_where_to_read_more(stack, run))


def demo_rejected(
    settings: StackSettings, dag_id: str, conf: Mapping[str, Any] | None, *, stage: str, seconds: float
) -> None:
    """Run a pipeline on bad data and show that it is rejected, and that nothing was bought.

    :param stage: the stage that has to reject it.
    :raises DemoError: it was not rejected, or by another stage, or a tuning job was created.
    """
    narrator = Narrator()
    with stack_for(settings, dag_id, narrator) as stack:
        bought = _jobs_created(stack)
        run, state = _run(stack, narrator, dag_id, conf, seconds=seconds)
        if state == "success":
            raise DemoError(f"{dag_id} was to be rejected by {stage}, but it succeeded: see {run.page}")
        failure = run.failure()
        if failure.stage != stage:
            raise DemoError(
                f"{dag_id} was to be rejected by {stage}, but {failure.stage} failed: "
                f"{failure.reason} (the whole log: {failure.log})"
            )
        if (jobs := _jobs_created(stack) - bought) != 0:
            raise DemoError(f"{dag_id} was rejected, but {jobs} tuning job(s) had been created before")
        narrator.line(rejection_text(failure))
        narrator.line(_where_to_read_more(stack, run))


@contextlib.contextmanager
def stack_for(settings: StackSettings, dag_id: str, narrator: Narrator) -> Iterator[Stack]:
    """The stack that `make up` left running, or one for the time of the demo."""
    running = attach(settings)
    if running is not None and running.state.detached:
        narrator.line(f"Using the stack that is running already: {running.airflow_url} (it stays; stop: make down)")
        yield running
        return
    narrator.title(f"Starting the local cloud and Airflow in {settings.state_dir}")
    with running_stack(settings, on_progress=narrator.event) as stack:
        narrator.event("everything is up")
        narrator.line(login_lines(stack))
        for run_id in end_abandoned_runs(stack, dag_id):
            narrator.line(f"An interrupted run was still open and is marked as failed: {run_id}")
        try:
            yield stack
        finally:
            narrator.title("Stopping everything that was started")
    narrator.event("stopped")


def login_lines(stack: Stack) -> str:
    """Where the UI is and how to get in."""
    return f"Airflow UI: {stack.airflow_url}   user: admin   password: {stack.password}"


def _run(
    stack: Stack, narrator: Narrator, dag_id: str, conf: Mapping[str, Any] | None, *, seconds: float
) -> tuple[DagRun, str]:
    narrator.title(f"Triggering {dag_id}")
    run = DagRun.trigger(stack, dag_id, conf)
    narrator.event(f"run {run.run_id}: {run.page}")
    return run, run.follow(narrator, seconds=seconds)


def _jobs_created(stack: Stack) -> int:
    answer = httpx.get(f"{stack.vertex_url}/_local/counters", timeout=10, trust_env=False)
    created: int = answer.raise_for_status().json()["tuning_jobs_created"]
    return created


def _summary_text(document: Any) -> str:
    from gemini_tuning.summary import RunSummary

    if document is None:
        raise DemoError("the run succeeded, but its summary task returned nothing")
    return RunSummary.from_json(document).text()


def rejection_text(failure: Failure) -> str:
    """Why a dataset was rejected: the sentence, then the first of the errors behind it."""
    lines = ["", f"Rejected by {failure.stage}, as it should be: nothing was uploaded, no tuning job was created.", ""]
    lines += [f"  {line}" for line in failure.reason.splitlines()]
    details = [line for line in failure.details if line != failure.reason]
    lines += [f"  {line}" for line in details[:_DETAILS_SHOWN]]
    if len(details) > _DETAILS_SHOWN:
        lines.append(f"  ... and {len(details) - _DETAILS_SHOWN} more in {failure.log}")
    return "\n".join(lines)


def _where_to_read_more(stack: Stack, run: DagRun) -> str:
    again = run.page if stack.state.detached else f"make up, then Dag {run.dag_id}, run {run.run_id}"
    rows = [
        ("The run", again),
        ("Task logs", f"{stack.settings.airflow_home / 'logs'}"),
        ("Process logs", f"{stack.settings.logs}"),
        ("How it works", f"{stack.settings.root / 'README.md'}"),
    ]
    return "\n" + "\n".join(f"{label:<16} {text}" for label, text in rows)
