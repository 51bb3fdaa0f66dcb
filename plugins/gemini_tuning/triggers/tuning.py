"""Wait for a tuning job in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from gemini_tuning.errors import PermanentError, TransientError
from gemini_tuning.tuning.spec import location_of
from gemini_tuning.tuning.wait import Look, judge

if TYPE_CHECKING:
    from gemini_tuning.tuning.spec import TuningJob


class TuningJobTrigger(BaseTrigger):
    """Look at a tuning job until it ends or the deadline passes.

    Fires ``{"look": "ended" | "timed_out", "job": {…}}``, or ``{"look": "failed", "message": …}`` when the job can't be
    read for a reason that waiting won't cure. Broken connections and overload are waited out.

    :param name: the job's full resource name.
    :param gcp_conn_id: Airflow's Google Cloud connection; no secret is ever a trigger argument.
    :param project_id: the project; None = the connection's.
    :param impersonation_chain: service accounts to act as.
    :param poll_interval: seconds between two looks.
    :param deadline: Unix time after which waiting ends; kept here because a deferral's own timeout never tells the job.
    """

    def __init__(
        self,
        name: str,
        gcp_conn_id: str,
        project_id: str | None,
        impersonation_chain: str | list[str] | None,
        poll_interval: float,
        deadline: float,
    ) -> None:
        super().__init__()
        self.name = name
        self.gcp_conn_id = gcp_conn_id
        self.project_id = project_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make an equal trigger elsewhere."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "name": self.name,
                "gcp_conn_id": self.gcp_conn_id,
                "project_id": self.project_id,
                "impersonation_chain": self.impersonation_chain,
                "poll_interval": self.poll_interval,
                "deadline": self.deadline,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll; every blocking call runs in a thread, so that no other trigger waits for it."""
        shown = None
        get: Callable[[str], TuningJob] | None = None
        while True:
            try:
                if get is None:
                    get = await asyncio.to_thread(self._getter)
                job = await asyncio.to_thread(get, self.name)
            except TransientError as error:
                self.log.warning("%s Looking again in %s s.", error, self.poll_interval)
                if time.time() >= self.deadline:
                    yield TriggerEvent({
                        "look": "failed",
                        "message": f"{error} The wait is over; the job is left as it is.",
                    })
                    return
            except PermanentError as error:
                yield TriggerEvent({"look": "failed", "message": str(error)})
                return
            else:
                if job.progress() != shown:
                    shown = job.progress()
                    self.log.info("%s: %s", self.name, shown)
                look = judge(job, time.time(), self.deadline)
                if look is not Look.WAIT:
                    yield TriggerEvent({"look": look.value, "job": job.to_json()})
                    return
            await asyncio.sleep(self.poll_interval)

    def _getter(self) -> Callable[[str], TuningJob]:
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        hook = GeminiTuningHook(self.gcp_conn_id, self.project_id, location_of(self.name), self.impersonation_chain)
        return hook.jobs.get
