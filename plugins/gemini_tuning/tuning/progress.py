"""What a wait tells about its job, and how often: every change of state, progress now and then, silence rarely."""

from __future__ import annotations

from gemini_tuning.tuning.metrics import TRAIN_LOSS, VALIDATION_LOSS, Metrics
from gemini_tuning.tuning.spec import TuningJob

STEPS_EVERY_SECONDS = 300.0
SILENT_FOR_SECONDS = 1800.0
_LOSSES = {"train loss": TRAIN_LOSS, "validation loss": VALIDATION_LOSS}


class Teller:
    """Decides when a look is worth a line, and writes it.

    ``since`` is when the job entered its state and detail state (Unix time), as far as one can know: ``exact`` is false
    when it was there already at the first look and the job's own times don't tell.
    """

    def __init__(self) -> None:
        self.since = 0.0
        self._exact = True
        self._phase: tuple[object, ...] | None = None
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0

    def see(self, job: TuningJob, now: float) -> bool:
        """Take note of a look; return whether it is worth a line.

        :param now: Unix time.
        """
        phase = (job.state_words, job.detail_state)
        if phase != self._phase:
            began = _phase_began(job) if self._phase is None else now
            self.since, self._exact = (now, False) if began is None else (began, True)
            self._phase = phase
            return True
        if job.completed_epochs != self._told[0]:
            return True
        quiet = now - self._told_at
        return quiet >= (STEPS_EVERY_SECONDS if job.completed_steps != self._told[1] else SILENT_FOR_SECONDS)

    def line(self, job: TuningJob, now: float, metrics: Metrics | None = None) -> str:
        """Return the line: state, what the job does and since when, epoch, step, latest losses."""
        self._told, self._told_at = (job.completed_epochs, job.completed_steps), now
        lasting = f"{'' if self._exact else 'at least '}{lasted(now - self.since)}"
        parts = [job.state_words, f"{job.doing}, {lasting}" if job.doing else lasting]
        if job.completed_epochs is not None:
            parts.append(f"epoch {job.completed_epochs}")
        if job.completed_steps is not None:
            parts.append(f"step {job.completed_steps}")
        return ", ".join([*parts, *_losses(metrics)])

    def quiet_until(self) -> float:
        """Return when even an unchanged job is worth a line again (Unix time)."""
        return self._told_at + SILENT_FOR_SECONDS


def lasted(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``42 min``, ``3 h 05 min``."""
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    minutes = int(seconds // 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _phase_began(job: TuningJob) -> float | None:
    """Return since when a job that is seen for the first time does what it does, where its own times say so."""
    if job.start_time is None:
        return job.create_time.timestamp() if job.create_time else None
    return job.start_time.timestamp() if job.detail_state is None else None


def _losses(metrics: Metrics | None) -> list[str]:
    if metrics is None:
        return []
    last = {words: metrics.last(name) for words, name in _LOSSES.items()}
    return [f"{words} {point.value:.4f} (step {point.step})" for words, point in last.items() if point]
