"""The course of one tuning job, stage by stage, from its creation to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.jobs.endings import end_job, scripted_error, status
from local_cloud.vertex.jobs.products import experiment_of
from local_cloud.vertex.jobs.progress import Progress
from local_cloud.vertex.jobs.training_process import training_process
from local_cloud.vertex.names import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from local_cloud.vertex.control.script import Behaviour, Ending, JobScenario, Stage
    from local_cloud.vertex.jobs.places import Places
    from local_cloud.vertex.jobs.products import Products
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings

_BEFORE_RUNNING: tuple[Stage, ...] = ("QUEUED", "PENDING")
_NO_ENDPOINT = "Failed to create endpoint. Tuned model is uploaded and can be accessed through Model Registry."


@dataclass(frozen=True)
class Workshop:
    """What all jobs share.

    Attributes:
        store: the job store.
        settings: of the service.
        products: registers what jobs make.
        readers: places to read a dataset.
        trainers: places to train.
        quota: tells a project's places, by its number.
    """

    store: Store
    settings: Settings
    products: Products
    readers: Places
    trainers: Places
    quota: Callable[[str], Places]


class _EndsHereError(Exception):
    """The job's scenario ends it after this stage."""


class Course:
    """What happens to a job until it has ended; cancel the task that runs it and the job stops where it is."""

    def __init__(self, job: Job, scenario: JobScenario, workshop: Workshop) -> None:
        self._job = job
        self._scenario = scenario
        self._workshop = workshop
        self._store = workshop.store
        self._directory = workshop.settings.job_directory(job.id)
        self._progress = Progress(workshop.store, job)

    async def run(self) -> None:
        """Take the job from where it is to its end."""
        try:
            await self._wait_to_run()
            await self._run()
        except _EndsHereError:
            pass
        ending = self._scenario.end
        if self._progress.failure:
            error = status(self._progress.failure_code, self._progress.failure)
            end_job(self._store, self._job, "JOB_STATE_FAILED", error=error)
        elif ending is None:
            self._finish("JOB_STATE_SUCCEEDED")
        elif ending.stage == "POST_PROCESSING":
            self._end_without_endpoint(ending)
        else:
            end_job(self._store, self._job, ending.state, error=scripted_error(ending))

    async def _wait_to_run(self) -> None:
        """QUEUED and PENDING last from the creation on, however often the server is restarted meanwhile."""
        behaviour = self._workshop.settings.behaviour
        usual = {"QUEUED": behaviour.queued_seconds, "PENDING": behaviour.pending_seconds}
        until = datetime.fromisoformat(self._job.document["createTime"]).timestamp()
        for stage in _BEFORE_RUNNING:
            until += self._scenario.seconds.get(stage, usual[stage])
            if self._job.state not in ("JOB_STATE_QUEUED", "JOB_STATE_PENDING"):
                continue
            if stage == "PENDING" or self._job.state == "JOB_STATE_QUEUED":
                self._proceed(f"JOB_STATE_{stage}")
                await asyncio.sleep(until - time.time())
                self._end_here(stage)

    async def _run(self) -> None:
        workshop = self._workshop
        async with contextlib.AsyncExitStack() as held:
            await self._take_place("WAITING_FOR_QUOTA", workshop.quota(self._job.parent.split("/")[1]), held)
            async with self._stage("PROCESSING_DATASET"), workshop.readers.place():
                await self._work("prepare")
            async with contextlib.AsyncExitStack() as machine:
                await self._take_place("WAITING_FOR_CAPACITY", workshop.trainers, machine)
                async with self._stage("TUNING"):
                    await self._work("train")
            async with self._stage("POST_PROCESSING"):
                pass

    async def _take_place(self, stage: Stage, places: Places, held: contextlib.AsyncExitStack) -> None:
        """Take a place; the stage is only passed through by a job that has to wait, or is told to."""
        scripted = self._scenario.seconds.get(stage) or (self._scenario.end and self._scenario.end.stage == stage)
        if places.free and not scripted:
            await held.enter_async_context(places.place())
        else:
            async with self._stage(stage):
                await held.enter_async_context(places.place())

    @contextlib.asynccontextmanager
    async def _stage(self, stage: Stage) -> AsyncIterator[None]:
        """Show the stage, let it last as long as it should, and end the job after it if that is its scenario."""
        began = time.monotonic()
        self._show(stage)
        yield
        await asyncio.sleep(self._scenario.seconds.get(stage, 0.0) - (time.monotonic() - began))
        self._end_here(stage)

    def _end_here(self, stage: Stage) -> None:
        if self._scenario.end and self._scenario.end.stage == stage:
            raise _EndsHereError

    def _show(self, stage: Stage) -> None:
        changes: dict[str, Any] = {"tuningJobState": f"TUNING_JOB_STATE_{stage}"}
        if "startTime" not in self._current().document:
            changes |= {"startTime": now(), "experiment": experiment_of(self._job)}
        if stage == "PROCESSING_DATASET":
            self._store.forget_points(self._job.id)
            changes["tuningJobMetadata"] = {"completedEpochCount": 0, "completedStepCount": 0}
        self._proceed("JOB_STATE_RUNNING", **changes)

    def _proceed(self, state: str, **changes: Any) -> None:
        """Show a further state, but not in the place of CANCELLING: a job that was cancelled too late goes on so."""
        if self._current().state != "JOB_STATE_CANCELLING":
            changes["state"] = state
        self._store.update_job(self._job.id, **changes)

    def _current(self) -> Job:
        return self._store.job(self._job.id) or self._job

    async def _work(self, stage: str) -> None:
        """Let a child process do a stage of the training.

        Raises:
            _EndsHereError: the process says that it failed, or the scenario ends the job at this step.
        """
        scripted = self._scenario.step_seconds
        pace = self._workshop.settings.behaviour.step_seconds if scripted is None else scripted
        if stage == "train":
            self._store.count("trainings_started")
        last_step = self._scenario.end.step if self._scenario.end else None
        async with training_process(self._directory, stage, pace) as process:
            await self._progress.follow(process, last_step)
        if self._progress.failure:
            raise _EndsHereError

    def _finish(self, state: str, endpoints: int | None = None, **changes: Any) -> None:
        """Register the model and end the job."""
        made = self._workshop.products.register(self._job, self._progress.checkpoints, endpoints=endpoints)
        tuned = {name: value for name, value in made.items() if value is not None}
        end_job(self._store, self._job, state, tunedModel=tuned, tuningDataStats=self._progress.data_stats(), **changes)

    def _end_without_endpoint(self, ending: Ending) -> None:
        """The model is made but not, or not wholly, deployed."""
        if ending.state == "JOB_STATE_PARTIALLY_SUCCEEDED":
            self._finish(ending.state, len(self._progress.checkpoints) - 1, error=scripted_error(ending))
        elif ending.state == "JOB_STATE_FAILED":
            self._finish(ending.state, 0, error=scripted_error(ending, _NO_ENDPOINT))
        else:
            end_job(self._store, self._job, ending.state, error=scripted_error(ending))


def first_stage(scenario: JobScenario, behaviour: Behaviour) -> Stage:
    """Return what a new job is: QUEUED only where that is set or scripted, as Vertex AI begins with PENDING."""
    ends_queued = scenario.end is not None and scenario.end.stage == "QUEUED"
    queued = scenario.seconds.get("QUEUED", behaviour.queued_seconds)
    return "QUEUED" if queued or ends_queued else "PENDING"
