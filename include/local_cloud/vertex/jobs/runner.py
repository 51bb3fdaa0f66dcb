"""The jobs that have not ended: each takes its course in a task, and can be cancelled.

The store always holds the truth: whatever had not ended when the server stopped is taken up again at the next start, a
running job from the beginning of its training and under the same name.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from local_cloud.vertex.control.script import JobScenario
from local_cloud.vertex.jobs.course import CANCELLED_CODE, INTERNAL_CODE, Course, Workshop, end_job, status
from local_cloud.vertex.jobs.places import Places

if TYPE_CHECKING:
    from pathlib import Path

    from local_cloud.vertex.jobs.products import Products
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings

log = logging.getLogger(__name__)


class Runner:
    """Runs the jobs of a store. Create, start and stop it on the event loop of the main thread."""

    def __init__(self, store: Store, settings: Settings, products: Products) -> None:
        self._store = store
        self._settings = settings
        self._workshop = Workshop(
            store=store,
            settings=settings,
            products=products,
            readers=Places(lambda: settings.training_processes),
            trainers=Places(lambda: settings.training_processes),
            quota=self._quota,
        )
        self._quotas: dict[str, Places] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Take up every job that has not ended, those first that were running."""
        jobs = [job for job in self._store.unfinished_jobs() if not job.planted or job.state == "JOB_STATE_CANCELLING"]
        for job in sorted(jobs, key=_was_waiting):
            self.submit(job)

    async def stop(self) -> None:
        """End all training processes; the jobs keep their states for the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def directory(self, job_id: str) -> Path:
        """Return the directory of a job's dataset and weights."""
        return self._settings.job_directory(job_id)

    def submit(self, job: Job) -> None:
        """Let a new or unfinished job take its course."""
        task = asyncio.create_task(self._live(job), name=job.name)
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))

    def cancel(self, job: Job) -> None:
        """Begin to cancel a job that has not ended; it is CANCELLING until its process is gone."""
        if job.state == "JOB_STATE_CANCELLING":
            return
        self._store.update_job(job.id, state="JOB_STATE_CANCELLING")
        task = self._tasks.get(job.id)
        if task is None:
            self.submit(self._current(job))  # a planted job
        elif not _cancelled_too_late(job):
            task.cancel()

    def quota_is_used_up(self, project: str) -> bool:
        """Whether a project has as many jobs that have not ended as its quota allows."""
        quota = self._settings.behaviour.quota
        return quota is not None and self._unfinished(project) >= quota

    def _unfinished(self, project: str, *, planted_only: bool = False) -> int:
        jobs = (job for job in self._store.unfinished_jobs() if job.parent.split("/")[1] == project)
        return sum(job.planted or not planted_only for job in jobs)

    def admit(self) -> None:
        """Let waiting jobs go on if they may; call it when settings or planted jobs have changed."""
        for places in self._quotas.values():
            places.admit()

    def _quota(self, project: str) -> Places:
        """Return the places of a project's quota; planted jobs that have not ended hold theirs for good."""

        def limit() -> int | None:
            quota = self._settings.behaviour.quota
            return None if quota is None else quota - self._unfinished(project, planted_only=True)

        if project not in self._quotas:
            self._quotas[project] = Places(limit)
        return self._quotas[project]

    async def _live(self, job: Job) -> None:
        try:
            if not job.planted and (job.state != "JOB_STATE_CANCELLING" or _cancelled_too_late(job)):
                await Course(job, _scenario(job), self._workshop).run()
        except asyncio.CancelledError:
            if self._current(job).state != "JOB_STATE_CANCELLING":
                raise  # the server stops
        except Exception:
            log.exception("%s could not be run", job.name)
            end_job(self._store, job, "JOB_STATE_FAILED", error=status(INTERNAL_CODE, "Internal error encountered."))
        if self._current(job).state == "JOB_STATE_CANCELLING":
            await self._end_cancelled(job)
        if job.planted:
            self.admit()

    async def _end_cancelled(self, job: Job) -> None:
        scenario = _scenario(job)
        await asyncio.sleep(scenario.seconds.get("CANCELLING", 0.0))
        if scenario.cancel == "JOB_STATE_FAILED":
            error = status(INTERNAL_CODE, "The tuning job failed while it was cancelled.")
            end_job(self._store, job, "JOB_STATE_FAILED", error=error)
        else:
            error = status(CANCELLED_CODE, "The tuning job was cancelled.")
            end_job(self._store, job, "JOB_STATE_CANCELLED", error=error)

    def _current(self, job: Job) -> Job:
        return self._store.job(job.id) or job


def _scenario(job: Job) -> JobScenario:
    return JobScenario.model_validate_json(job.scenario)


def _cancelled_too_late(job: Job) -> bool:
    """Whether the job is scripted to succeed although it is cancelled."""
    return _scenario(job).cancel == "JOB_STATE_SUCCEEDED"


def _was_waiting(job: Job) -> bool:
    """Whether a job had not begun with its dataset: others have their places in the quota already."""
    detail = job.document.get("tuningJobState")
    return detail in (None, "TUNING_JOB_STATE_WAITING_FOR_QUOTA")
