"""The jobs that have not ended: each takes its course in a task, and can be cancelled.

The store always holds the truth: whatever had not ended when the server stopped is taken up again at the next start, a
running job from the beginning of its training and under the same name.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING

from local_cloud.vertex.control.script import JobScenario
from local_cloud.vertex.errors import INTERNAL_CODE
from local_cloud.vertex.jobs.course import Course, Workshop
from local_cloud.vertex.jobs.endings import end_job, status, usual_error
from local_cloud.vertex.jobs.places import Places
from local_cloud.vertex.training.files import remove_dataset

if TYPE_CHECKING:
    from local_cloud.vertex.jobs.products import Products
    from local_cloud.vertex.jobs.store import Job, Store
    from local_cloud.vertex.settings import Settings

log = logging.getLogger(__name__)

_PLANTED_AT_WORK = ("JOB_STATE_RUNNING", "JOB_STATE_CANCELLING")


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
        self._stopping = False

    def start(self) -> None:
        """Take up every job that has not ended, those first that were running."""
        jobs = [job for job in self._store.unfinished_jobs() if not job.planted or job.state == "JOB_STATE_CANCELLING"]
        for job in sorted(jobs, key=_was_waiting):
            self.submit(job)

    async def stop(self) -> None:
        """End all training processes; the jobs keep their states for the next start."""
        self._stopping = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def submit(self, job: Job) -> None:
        """Let a new or unfinished job take its course."""
        task = asyncio.create_task(self._live(job), name=job.name)
        self._tasks[job.id] = task
        task.add_done_callback(functools.partial(self._stopped, job))

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
        """Whether a project has as many unfinished jobs as its quota allows; of planted ones, those at work count."""
        quota = self._settings.behaviour.quota
        return quota is not None and self._holders(project, created=True) >= quota

    def admit(self) -> None:
        """Let waiting jobs go on if they may; call it when settings or planted jobs have changed."""
        for places in self._quotas.values():
            places.admit()

    def _quota(self, project: str) -> Places:
        """Return the places of a project's quota; planted jobs that are at work hold theirs for good."""

        def limit() -> int | None:
            quota = self._settings.behaviour.quota
            return None if quota is None else quota - self._holders(project, created=False)

        if project not in self._quotas:
            self._quotas[project] = Places(limit)
        return self._quotas[project]

    def _holders(self, project: str, *, created: bool) -> int:
        """Count the planted jobs that are at work and, if wanted, all created ones that have not ended."""
        jobs = (job for job in self._store.unfinished_jobs() if job.parent.split("/")[1] == project)
        return sum(job.state in _PLANTED_AT_WORK if job.planted else created for job in jobs)

    async def _live(self, job: Job) -> None:
        try:
            if job.state == "JOB_STATE_CANCELLING" and not _cancelled_too_late(job):
                await self._end_cancelled(job)
            else:
                await Course(job, _scenario(job), self._workshop).run()
        except Exception:
            log.exception("%s could not be run", job.name)
            end_job(self._store, job, "JOB_STATE_FAILED", error=usual_error("JOB_STATE_FAILED"))
        remove_dataset(self._settings.job_directory(job.id))
        if job.planted:
            self.admit()

    def _stopped(self, job: Job, task: asyncio.Task[None]) -> None:
        """Go on with a job that a client has cancelled: all that is left to do is to end it."""
        del self._tasks[job.id]
        if task.cancelled() and not self._stopping:
            self.submit(self._current(job))

    async def _end_cancelled(self, job: Job) -> None:
        scenario = _scenario(job)
        await asyncio.sleep(scenario.seconds.get("CANCELLING", 0.0))
        if scenario.cancel == "JOB_STATE_FAILED":
            error = status(INTERNAL_CODE, "The tuning job failed while it was cancelled.")
            end_job(self._store, job, "JOB_STATE_FAILED", error=error)
        else:
            end_job(self._store, job, "JOB_STATE_CANCELLED", error=usual_error("JOB_STATE_CANCELLED"))

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
