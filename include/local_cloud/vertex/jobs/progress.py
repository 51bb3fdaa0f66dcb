"""What a training process tells about its work, kept in the store as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import INTERNAL_CODE
from local_cloud.vertex.jobs.products import statistics_field
from local_cloud.vertex.jobs.request import spec_of
from local_cloud.vertex.jobs.store import Point
from local_cloud.vertex.names import now

if TYPE_CHECKING:
    from local_cloud.vertex.jobs.store import Job, Store

_BATCH_SECONDS = 0.05


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

    async def follow(self, process: asyncio.subprocess.Process, last_step: int | None = None) -> None:
        """Read events until the process ends, or until it has made ``last_step``: what it did then is not kept.

        Afterwards ``failure`` is None or says why the process did not finish.
        """
        if process.stdout is None:
            raise ValueError("the training process was started without a pipe")
        done = False
        while line := await process.stdout.readline():
            batch = [line]
            with contextlib.suppress(TimeoutError):  # a fast learner makes hundreds of steps a second
                async with asyncio.timeout(_BATCH_SECONDS):
                    while line := await process.stdout.readline():
                        batch.append(line)
            # The last line of a process that was killed may have no end.
            events = _up_to(last_step, [json.loads(item) for item in batch if item.endswith(b"\n")])
            self._keep(events)
            done = done or any(event["event"] in ("dataset", "done") for event in events)
            if last_step is not None and self._step >= last_step:
                return
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
        name = spec_of(self._job.document) or ""
        spec = self._job.document[name]
        chosen = {**spec["hyperParameters"], "epochCount": event["epochs"]}
        changes = {name: {**spec, "hyperParameters": chosen}, "tuningDataStats": self.data_stats()}
        self._store.update_job(self._job.id, **changes)

    def data_stats(self) -> dict[str, Any]:
        """Return ``tuningDataStats``; the number of steps is in it once there are any."""
        steps = {"tuningStepCount": self._step} if self._step else {}
        return statistics_field(self._job.document, {**self._statistics, **steps})


def _up_to(last_step: int | None, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for number, event in enumerate(events, start=1):
        if last_step is not None and event["event"] == "step" and event["step"] >= last_step:
            return events[:number]
    return events
