"""Wait for a tuning job in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
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
KILL_SECONDS = 120.0  # to cancel a job and see it end; many may be killed at once

_KILLED = ("__airflow_user_action__",)  # with what the triggerer cancels a trigger whose task was marked or cleared
_stopping: set[asyncio.Task[None]] = set()  # the event loop itself keeps no task alive


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
        self._stopping: asyncio.Task[None] | None = None

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
        try:
            async with poller.watch(self.name, self.poll_interval) as watch:
                event = await self._wait(poller, watch) or await self._time_out(poller, watch)
        except asyncio.CancelledError as cancelled:
            if cancelled.args == _KILLED and self.cancel_on_kill:
                self._begin_to_stop()
            raise
        yield TriggerEvent(event)

    async def on_kill(self) -> None:
        """Cancel the job when a user ended the task, and see to it that it has ended.

        The triggerer cancels a trigger that it is killing anew each second. That may come before it gets to this call,
        so ``run`` begins already; and it would take back a request that waits for a thread, so stopping goes on by
        itself.
        """
        if not self.cancel_on_kill:
            await self._write(
                "info", "%s is left as it is, and may still be billed (cancel_on_kill is off).", self.name
            )
            return
        stopping = self._begin_to_stop()
        await self._write("info", "Cancelling %s: its task was marked or cleared.", self.name)
        await asyncio.shield(stopping)

    def _begin_to_stop(self) -> asyncio.Task[None]:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
            _stopping.add(self._stopping)
            self._stopping.add_done_callback(_stopping.discard)
        return self._stopping

    async def _stop(self) -> None:
        poller = self._poller()
        try:
            with poller.used():
                cancelled = await stop(poller, self.name, KILL_SECONDS)
        except GeminiTuningError as error:
            await self._write("error", "%s %s may go on and be billed.", error, self.name)
        else:
            await self._write("info", "%s", cancelled.sentence())

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
                await self._write("warning", "%s The job is looked at again until it can be seen.", update.error)
            job = watch.job
            if job is None:
                continue
            if teller.see(job, now):
                losses = await poller.losses(job) if job.state is JobState.RUNNING and job.completed_steps else None
                async with nullcontext() if job.state.ended else poller.turn:
                    await self._tell(teller.line(job, now, losses))
            quiet_until = teller.quiet_until()
            if judge(job, now, self.deadline) is Look.ENDED:
                return _ended(job)
        return None

    async def _time_out(self, poller: Poller, watch: Watch) -> dict[str, Any]:
        """Look a last time, and do with the job what the policy says."""
        if self.on_timeout == OnTimeout.CANCEL:
            await self._write("warning", "Cancelling %s: it has not ended in time.", self.name)
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
        await self._write("info", "%s: %s", self.name, line)
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
            await self._write("warning", "The XCom %r could not be written: %s", PROGRESS_KEY, error)

    async def _write(self, level: str, text: str, *values: object) -> None:
        """Write to the task's log: into a pipe, so it may take as long as the triggerer's supervisor is busy."""
        await asyncio.to_thread(getattr(self.log, level), text, *values)

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
