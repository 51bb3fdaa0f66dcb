"""What a tuning job is doing, read from the Vertex API as any user of it could."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from local_cloud.laptop.environment import SEALED
from local_cloud.laptop.settings import LOCAL_LOCATION, LOCAL_PROJECT
from local_cloud.laptop.stack import Stack

if TYPE_CHECKING:
    from gemini_tuning.tuning.metrics import Metrics
    from gemini_tuning.tuning.spec import TuningJob

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class JobWatch:
    """Follows one tuning job; ``news`` tells what has changed since the last look.

    :param name: ``projects/…/locations/…/tuningJobs/…``.
    """

    def __init__(self, stack: Stack, name: str) -> None:
        # The clients are slow to import; nobody needs them before there is a job.
        from google.oauth2.service_account import Credentials

        from gemini_tuning.tuning.client import json_reader, vertex_client
        from gemini_tuning.tuning.service import TuningService
        from gemini_tuning.tuning.spec import location_of

        os.environ.update(SEALED, GOOGLE_VERTEX_BASE_URL=stack.vertex_url)
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # what is sealed off is not worth a warning
        project = stack.state.services.get("project", LOCAL_PROJECT)
        location = stack.state.services.get("location", LOCAL_LOCATION)
        credentials = Credentials.from_service_account_file(stack.credentials_path, scopes=[_SCOPE])
        self.name = name
        self._service = TuningService(vertex_client(credentials, project, location))
        self._read = json_reader(credentials, location_of(name))
        self._state = ""
        self._step = 0
        self._unreadable = False

    def news(self) -> Iterator[str]:
        """Lines about what changed; a service that cannot be read is news once, and the pipeline's own affair."""
        from gemini_tuning.errors import GeminiTuningError
        from gemini_tuning.tuning.metrics import TRAIN_LOSS, read_metrics

        try:
            job = self._service.get(self.name)
            if (state := describe_state(job)) != self._state:
                self._state = state
                yield state
            metrics = read_metrics(self._read, job)
            last = metrics.last(TRAIN_LOSS)
            if last and last.step > self._step:
                self._step = last.step
                yield describe_curves(job, metrics)
        except GeminiTuningError as error:
            if not self._unreadable:
                self._unreadable = True
                yield f"the tuning job can't be followed from here: {error}"


def describe_state(job: TuningJob) -> str:
    """The job's state, and while it runs what it is busy with."""
    state = f"tuning job {job.state.short}"
    return f"{state}, {job.doing}" if job.doing else state


def describe_curves(job: TuningJob, metrics: Metrics) -> str:
    """How far the job is and how much it has learned: epoch, step, train and validation loss."""
    from gemini_tuning.tuning.metrics import TRAIN_LOSS, VALIDATION_LOSS

    train, validation = metrics.last(TRAIN_LOSS), metrics.last(VALIDATION_LOSS)
    parts = []
    if job.completed_epochs is not None:
        parts.append(f"{job.completed_epochs} epoch{'' if job.completed_epochs == 1 else 's'} done")
    if train:
        parts += [f"step {train.step}", f"train loss {train.value:.3f}"]
    if validation:
        parts.append(f"validation loss {validation.value:.3f} (step {validation.step})")
    return ", ".join(parts)
