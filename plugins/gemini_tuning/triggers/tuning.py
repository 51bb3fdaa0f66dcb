"""Wait for a tuning job in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import BaseTrigger, TriggerEvent

from gemini_tuning.errors import GeminiTuningError, PermanentError
from gemini_tuning.links import PROGRESS_KEY
from gemini_tuning.tuning.polling import Poller
from gemini_tuning.tuning.progress import Teller
from gemini_tuning.tuning.sharing import shared_poller
from gemini_tuning.tuning.spec import location_of
from gemini_tuning.tuning.states import JobState
from gemini_tuning.tuning.stopping import stop
from gemini_tuning.tuning.wait import Look, OnTimeout, judge

if TYPE_CHECKING:
    from gemini_tuning.tuning.spec import TuningJob
    from gemini_tuning.tuning.watching import Source, Watch

TROUBLE_EVERY_SECONDS = 600.0


class TuningJobTrigger(BaseTrigger):
    """Look at a tuning job until it ends or the deadline passes; all triggers of a connection share one poller.

    Fires ``{"look": "ended", "job": {…}}``, ``{"look": "timed_out", "job": {…}, "on_timeout": …}`` with the job as it
    was left or cancelled, or ``{"look": "failed", "message": …}`` when the job can't be read for a reason that waiting
    won't cure. Broken connections and overload are waited out.

    :param name: the job's full resource name.
    :param gcp_conn_id: Airflow's Google Cloud connection; no secret is ever a trigger argument.
    :param project_id: the project; None = the connection's.
    :param impersonation_chain: service accounts to act as.
    :param poll_interval: seconds that a job at work is left alone at most.
    :param deadline: Unix time after which waiting ends; kept here because a deferral's own timeout never tells the job.
    :param on_timeout: ``cancel`` or ``leave``: what becomes of the job then.
    :param cancel_on_kill: cancel the job when somebody marks or clears the task; a restart of the triggerer never does.
    """

    def __init__(
        self,
        name: str,
        gcp_conn_id: str,
        project_id: str | None,
        impersonation_chain: str | list[str] | None,
        poll_interval: float,
        deadline: float,
        on_timeout: str = OnTimeout.LEAVE.value,
        cancel_on_kill: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.gcp_conn_id = gcp_conn_id
        self.project_id = project_id
        self.impersonation_chain = impersonation_chain
        self.poll_interval = poll_interval
        self.deadline = deadline
        self.on_timeout = on_timeout
        self.cancel_on_kill = cancel_on_kill

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
                "on_timeout": self.on_timeout,
                "cancel_on_kill": self.cancel_on_kill,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait; every blocking call runs in a thread, so that no other trigger waits for it."""
        poller = self._poller()
        async with poller.watch(self.name, self.poll_interval) as watch:
            event = await self._wait(poller, watch) or await self._time_out(poller, watch)
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """Cancel the job when a user ended the task, and see to it that it has ended."""
        if not self.cancel_on_kill:
            self.log.info("%s is left as it is, and may still be billed (cancel_on_kill is off).", self.name)
            return
        self.log.info("Cancelling %s: its task was marked or cleared.", self.name)
        stopping = asyncio.ensure_future(self._stop())
        while not stopping.done():
            with suppress(asyncio.CancelledError):  # Airflow 3.3 repeats its cancelling each second, and this with it
                await asyncio.shield(stopping)

    async def _stop(self) -> None:
        try:
            cancelled = await stop(self._poller(), self.name)
        except GeminiTuningError as error:
            self.log.error("%s %s may go on and be billed.", error, self.name)
        else:
            self.log.info("%s", cancelled.sentence())

    async def _wait(self, poller: Poller, watch: Watch) -> dict[str, Any] | None:
        """Return the event of a job that ended or can't be read, or None when the time is over."""
        teller = Teller()
        trouble_told = 0.0
        quiet_until = self.deadline
        while (now := time.time()) < self.deadline:
            update = await watch.next(min(self.deadline, quiet_until) - now)
            now = time.time()
            if update and isinstance(update.error, PermanentError):
                return _failed(str(update.error))
            if update and update.error and now - trouble_told >= TROUBLE_EVERY_SECONDS:
                trouble_told = now
                self.log.warning("%s The job is looked at again until it can be seen.", update.error)
            job = watch.job
            if job is None:
                continue
            if teller.see(job, now):
                losses = await poller.losses(job) if job.state is JobState.RUNNING and job.completed_steps else None
                await self._tell(teller.line(job, now, losses))
            quiet_until = teller.quiet_until()
            if judge(job, now, self.deadline) is Look.ENDED:
                return _ended(job)
        return None

    async def _time_out(self, poller: Poller, watch: Watch) -> dict[str, Any]:
        """Look a last time, and do with the job what the policy says."""
        if self.on_timeout == OnTimeout.CANCEL:
            self.log.warning("Cancelling %s: it has not ended in time.", self.name)
            try:
                cancelled = await stop(poller, self.name)
            except GeminiTuningError as error:
                return _failed(f"The wait is over. {error} {self.name} may go on and be billed.")
            job, over = cancelled.job, cancelled.too_late
        else:
            try:
                job = await poller.call(lambda source: source.get(self.name))
            except GeminiTuningError as error:
                if watch.job is None or isinstance(error, PermanentError):
                    return _failed(f"{error} The wait is over; the job is left as it is.")
                job = watch.job
            over = job.state.ended
        return _ended(job) if over else {"look": "timed_out", "job": job.to_json(), "on_timeout": self.on_timeout}

    async def _tell(self, line: str) -> None:
        """Log how the job is doing, and show it among the task's XComs while the task is deferred."""
        self.log.info("%s: %s", self.name, line)
        task = self.task_instance
        if task is None:
            return
        try:
            await XCom.aset(
                PROGRESS_KEY,
                line,
                dag_id=task.dag_id,
                task_id=task.task_id,
                run_id=task.run_id,
                map_index=task.map_index,
            )
        except Exception as error:  # what is only shown must not end the wait
            self.log.warning("The XCom %r could not be written: %s", PROGRESS_KEY, error)

    def _poller(self) -> Poller:
        chain = self.impersonation_chain
        accounts = tuple(chain) if isinstance(chain, list) else chain
        key = (self.gcp_conn_id, self.project_id, location_of(self.name), accounts)
        return shared_poller(key, self._connect)

    def _connect(self) -> Source:
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        location = location_of(self.name)
        return GeminiTuningHook(self.gcp_conn_id, self.project_id, location, self.impersonation_chain).polled()


def _ended(job: TuningJob) -> dict[str, Any]:
    return {"look": Look.ENDED.value, "job": job.to_json()}


def _failed(message: str) -> dict[str, Any]:
    return {"look": "failed", "message": message}
