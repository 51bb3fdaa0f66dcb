"""The last states of tuning jobs, and the ``error`` that goes with each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from local_cloud.vertex.errors import CANCELLED_CODE, INTERNAL_CODE
from local_cloud.vertex.jobs.store import ENDED
from local_cloud.vertex.names import now

if TYPE_CHECKING:
    from local_cloud.vertex.control.script import Ending
    from local_cloud.vertex.jobs.store import Job, Store

log = logging.getLogger(__name__)

_USUAL_CODES = {"JOB_STATE_FAILED": INTERNAL_CODE, "JOB_STATE_CANCELLED": CANCELLED_CODE}
_USUAL_MESSAGES = {
    "JOB_STATE_FAILED": "Internal error encountered.",
    "JOB_STATE_CANCELLED": "The tuning job was cancelled.",
    "JOB_STATE_EXPIRED": "The tuning job expired.",
    "JOB_STATE_PARTIALLY_SUCCEEDED": "The tuning job succeeded in part.",
}


def end_job(store: Store, job: Job, state: str, **changes: Any) -> None:
    """Bring a job to its last state."""
    if state not in ENDED:
        raise ValueError(state)
    ended = now()
    store.update_job(job.id, state=state, tuningJobState=None, endTime=ended, updateTime=ended, **changes)
    log.info("%s ended as %s", job.name, state)


def status(code: int, message: str) -> dict[str, Any]:
    """Return a ``google.rpc.Status``."""
    return {"code": code, "message": message}


def usual_error(state: str) -> dict[str, Any] | None:
    """Return the ``error`` of a job that has ended like this: only FAILED and CANCELLED have one."""
    code = _USUAL_CODES.get(state)
    return status(code, _USUAL_MESSAGES[state]) if code else None


def scripted_error(ending: Ending, message: str | None = None) -> dict[str, Any] | None:
    """Return the ``error`` of a scripted ending; ``message`` takes the place of the usual one."""
    code = ending.code or _USUAL_CODES.get(ending.state)
    return status(code, ending.message or message or _USUAL_MESSAGES[ending.state]) if code else None
