"""The life of a tuning job, from PENDING to its end.

Training happens in a child process per job, a few at a time; the others wait in order. The store always holds the
truth: whatever had not ended when the server stopped is taken up again at the next start, a running job from the
beginning of its training and under the same name.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import local_cloud
from local_cloud.vertex.job_files import ORDER
from local_cloud.vertex.jobs import experiment_of, tuned_model
from local_cloud.vertex.names import now
from local_cloud.vertex.store import ENDED, Point

if TYPE_CHECKING:
    from local_cloud.vertex.catalogue import Catalogue
    from local_cloud.vertex.settings import Settings
    from local_cloud.vertex.store import Job, Store

log = logging.getLogger(__name__)

CANCELLED_CODE = 1
INTERNAL_CODE = 13
_EVENT_BYTES = 2**26
_BATCH_SECONDS = 0.05
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


class Runner:
    """Runs the jobs of a store. Create, start and stop it on the event loop of the main thread."""

    def __init__(self, store: Store, settings: Settings, catalogue: Catalogue) -> None:
        self._store = store
        self._settings = settings
        self._catalogue = catalogue
        self._slots = asyncio.Semaphore(settings.training_processes)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Take up every job that has not ended."""
        for job in self._store.unfinished_jobs():
            self.submit(job)

    async def stop(self) -> None:
        """End all training processes; the jobs keep their states for the next start."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def directory(self, job_id: str) -> Path:
        """Return the directory of a job's dataset and weights."""
        return self._settings.state_dir / "jobs" / job_id

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
        if task is not None:
            task.cancel()

    async def _live(self, job: Job) -> None:
        try:
            if job.state != "JOB_STATE_CANCELLING":
                created = datetime.fromisoformat(job.document["createTime"])
                waited = (datetime.now(created.tzinfo) - created).total_seconds()
                await asyncio.sleep(max(0.0, self._settings.behaviour.pending_seconds - waited))
                async with self._slots:
                    await self._run(job)
        except asyncio.CancelledError:
            if self._state(job) != "JOB_STATE_CANCELLING":
                raise  # the server stops
        except Exception:
            log.exception("%s could not be run", job.name)
            self._end(job, "JOB_STATE_FAILED", error=_status(INTERNAL_CODE, "Internal error encountered."))
        if self._state(job) == "JOB_STATE_CANCELLING":
            self._end(job, "JOB_STATE_CANCELLED", error=_status(CANCELLED_CODE, "The tuning job was cancelled."))

    def _state(self, job: Job) -> str:
        current = self._store.job(job.id)
        return current.state if current else ""

    async def _run(self, job: Job) -> None:
        self._store.forget_points(job.id)
        self._store.update_job(
            job.id,
            state="JOB_STATE_RUNNING",
            tuningJobState="TUNING_JOB_STATE_PROCESSING_DATASET",
            tuningJobMetadata={"completedEpochCount": 0, "completedStepCount": 0},
            startTime=job.document.get("startTime") or now(),
            experiment=experiment_of(job),
        )
        directory = self.directory(job.id)
        order = {
            **json.loads((directory / ORDER).read_text()),
            "step_seconds": self._settings.behaviour.step_seconds,
        }
        (directory / ORDER).write_text(json.dumps(order))
        events = Progress(self._store, job)
        async with _training_process(directory) as process:
            await events.follow(process)
        if events.failure:
            self._end(job, "JOB_STATE_FAILED", error=_status(events.failure_code, events.failure))
        else:
            self._publish(job, events)

    def _publish(self, job: Job, events: Progress) -> None:
        """Make the model and its endpoints, and end the job well."""
        self._store.update_job(job.id, tuningJobState="TUNING_JOB_STATE_POST_PROCESSING")
        result, endpoints = tuned_model(job, events.checkpoints, self._catalogue)
        model = result["model"].partition("@")[0]
        self._store.add_model(model, job.id, endpoints)
        self._end(job, "JOB_STATE_SUCCEEDED", tunedModel=result, tuningDataStats=events.final_statistics())

    def _end(self, job: Job, state: str, **changes: Any) -> None:
        if state not in ENDED:
            raise ValueError(state)
        ended = now()
        self._store.update_job(job.id, state=state, tuningJobState=None, endTime=ended, updateTime=ended, **changes)
        log.info("%s ended as %s", job.name, state)


class Progress:
    """What a training process has told so far, kept in the store as it comes."""

    def __init__(self, store: Store, job: Job) -> None:
        self._store = store
        self._job = job
        self._statistics: dict[str, Any] = {}
        self._step = 0
        self.checkpoints: list[dict[str, Any]] = []
        self.failure: str | None = None
        self.failure_code = INTERNAL_CODE

    async def follow(self, process: asyncio.subprocess.Process) -> None:
        """Read events until the process ends; afterwards ``failure`` is None or says why it did not finish."""
        if process.stdout is None:
            raise ValueError("the training process was started without a pipe")
        done = False
        while line := await process.stdout.readline():
            batch = [line]
            with contextlib.suppress(TimeoutError):  # a fast learner makes hundreds of steps a second
                async with asyncio.timeout(_BATCH_SECONDS):
                    while line := await process.stdout.readline():
                        batch.append(line)
            events = [json.loads(item) for item in batch]
            self._keep(events)
            done = done or any(event["event"] == "done" for event in events)
        status = await process.wait()
        if not done and self.failure is None:
            self.failure = f"The training process ended early with status {status}."

    def _keep(self, events: list[dict[str, Any]]) -> None:
        points, epochs_done = [], None
        for event in events:
            match event["event"]:
                case "dataset":
                    self._dataset(event)
                case "step":
                    time = now()
                    points += [Point(name, event["step"], value, time) for name, value in event["values"].items()]
                    self._step, epochs_done = event["step"], event["epoch"] - 1
                case "checkpoint":
                    self.checkpoints.append(event)
                    epochs_done = event["epoch"]
                case "failed":
                    self.failure, self.failure_code = event["message"], event["code"]
        self._store.add_points(self._job.id, points)
        if epochs_done is not None:
            progress = {"completedEpochCount": epochs_done, "completedStepCount": self._step}
            self._store.update_job(self._job.id, tuningJobMetadata=progress)

    def _dataset(self, event: dict[str, Any]) -> None:
        """The dataset has been read: its statistics and the epoch count chosen for it show in the job."""
        self._statistics = event["statistics"]
        current = self._store.job(self._job.id)
        spec = current.document["supervisedTuningSpec"] if current else {}
        chosen = {**spec.get("hyperParameters", {}), "epochCount": event["epochs"]}
        self._store.update_job(
            self._job.id,
            tuningJobState="TUNING_JOB_STATE_TUNING",
            supervisedTuningSpec={**spec, "hyperParameters": chosen},
            tuningDataStats={"supervisedTuningDataStats": self._statistics},
        )

    def final_statistics(self) -> dict[str, Any]:
        """Return the data statistics with the number of steps that were made."""
        return {"supervisedTuningDataStats": {**self._statistics, "tuningStepCount": self._step}}


@contextlib.asynccontextmanager
async def _training_process(directory: Path) -> Any:
    """Start the training process of a job directory; it is gone when the context ends, however it ends."""
    package_root = str(Path(local_cloud.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (package_root, os.environ.get("PYTHONPATH"))))
    with (directory / "training.log").open("w") as log_file:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "local_cloud.vertex.trainer", str(directory), str(os.getpid())),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
            limit=_EVENT_BYTES,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _status(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message}
