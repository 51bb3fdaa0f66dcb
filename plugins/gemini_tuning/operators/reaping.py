"""Cancel tuning jobs that nobody wants any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowRuntimeError

from gemini_tuning.airflow_errors import airflow_errors
from gemini_tuning.errors import TransientError
from gemini_tuning.links import TUNING_JOB_KEY, TUNING_JOB_LEFT_KEY
from gemini_tuning.settings import installation
from gemini_tuning.tuning.reaping import Place, Reaper
from gemini_tuning.tuning.unwanted import ENDED, Fate, Instance, Task, Terms, Verdict

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gemini_tuning.tuning.service import TuningService

REPORT_KEY = "reap_report"


class ReapTuningJobsOperator(BaseOperator):
    """Find live tuning jobs of this installation whose task instance has ended or is gone, and cancel them.

    Returns the ``ReapReport``; pushes it as ``reap_report`` before it fails for trouble with some of the jobs. Airflow
    is asked through the running task: no credentials of its API are needed.

    :param tasks: the tasks whose jobs may be cancelled: ``dag_id`` (for its task ``tune``) or ``dag_id:task_id``.
    :param places: where to look: ``gcp_conn_id``, ``project`` (None = the connection's) and ``location`` of each
        (templated).
    :param also_ask: more ``tasks`` (templated).
    :param dry_run: only say what would be cancelled (templated).
    :param grace_minutes: younger jobs are left alone (templated).
    :param impersonation_chain: service accounts to act as (templated).
    """

    template_fields: ClassVar[Sequence[str]] = (
        "places",
        "also_ask",
        "dry_run",
        "grace_minutes",
        "impersonation_chain",
    )

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        places: Sequence[dict[str, Any]],
        also_ask: Sequence[str] = (),
        dry_run: bool = True,
        grace_minutes: float = 15,
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tasks = tasks
        self.places = places
        self.also_ask = also_ask
        self.dry_run = dry_run
        self.grace_minutes = grace_minutes
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the report; trouble with some of the jobs fails the task once the others are seen to."""
        with airflow_errors(self.log):
            reaper = Reaper(
                AirflowInstances(context["ti"]),
                [Task.parse(text) for text in (*self.tasks, *self.also_ask)],
                Terms.from_json({
                    "installation": installation(),
                    "grace_minutes": self.grace_minutes,
                    "dry_run": self.dry_run,
                }),
                self._connect,
                tell=self._tell,
            )
            report = reaper.reap([Place.from_json(place) for place in self.places])
            document = report.to_json()
            if report.troubles:
                context["ti"].xcom_push(REPORT_KEY, document)
                for trouble in report.troubles:
                    self.log.warning("%s", trouble.message)
            else:
                self.log.info("%s", report.summary())
            report.require_no_trouble()
            return document

    def _connect(self, place: Place) -> TuningService:
        from gemini_tuning.hooks.tuning import GeminiTuningHook

        return GeminiTuningHook(place.gcp_conn_id, place.project, place.location, self.impersonation_chain).jobs

    def _tell(self, verdict: Verdict) -> None:
        told = self.log.info if verdict.fate in {Fate.WANTED, Fate.LEFT} else self.log.warning
        told("%s", verdict.sentence())


class AirflowInstances:
    """The ``TaskInstances`` of this Airflow, asked by the running task.

    :param asker: the running task's instance.
    """

    def __init__(self, asker: Any) -> None:
        self._asker = asker

    def of(self, task: Task) -> Iterator[Instance]:
        """Yield the instances of all runs."""
        with _asking(f"the states of task {task.task_id} of Dag {task.dag_id}"):
            runs = self._asker.get_task_states(dag_id=task.dag_id, task_ids=[task.task_id])
        for run_id, states in runs.items():
            # what waits for a retry in a run that has ended waits for ever
            over = not ENDED.issuperset(states.values()) and self._has_ended(task.dag_id, run_id)
            for name, found in states.items():
                state = "removed" if over and found not in ENDED else found
                # an instance of a mapped task goes by the name TASK_INDEX
                index = name.removeprefix(task.task_id).removeprefix("_")
                yield Instance(task.dag_id, run_id, task.task_id, int(index) if index else -1, state)

    def _has_ended(self, dag_id: str, run_id: str) -> bool:
        with _asking(f"the state of run {run_id} of Dag {dag_id}"):
            return self._asker.get_dagrun_state(dag_id=dag_id, run_id=run_id) in {"success", "failed"}

    def held(self, instance: Instance) -> str | None:
        """Return what the instance has pushed as ``tuning_job``."""
        return self._pushed(instance, TUNING_JOB_KEY)

    def left(self, instance: Instance) -> str | None:
        """Return what the instance has pushed as ``tuning_job_left``."""
        return self._pushed(instance, TUNING_JOB_LEFT_KEY)

    def _pushed(self, instance: Instance, key: str) -> str | None:
        with _asking(f"the XCom {key} of {instance}"):
            value = self._asker.xcom_pull(
                dag_id=instance.dag_id,
                run_id=instance.run_id,
                task_ids=instance.task_id,
                map_indexes=instance.map_index,
                key=key,
            )
        return value if isinstance(value, str) else None


@contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        yield
    except AirflowRuntimeError as error:
        raise TransientError(
            f"Airflow could not be asked for {what}: {error}. No job is cancelled without knowing it."
        ) from error
