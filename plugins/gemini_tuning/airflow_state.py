"""What a task remembers, in Airflow's task state store.

Airflow 3.3 hands a running task its store as ``context["task_state_store"]`` (the task instance has no attribute of
that name, and a trigger has no store at all). Its calls are ``get(key, default=None)``, ``set(key, value, *,
retention=None)``, ``delete(key)`` and ``clear()``. Rows belong to the task instance (Dag, run, task, map index): they
survive its process, its tries and a clear, and go with the Dag run. Values are JSON and never None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]  # public, but missing from its stub

if TYPE_CHECKING:
    from airflow.sdk import Context


class TaskRecords:
    """The ``Records`` of the running task.

    :param context: of the task.
    :raises KeyError: this Airflow is older than 3.3 and has no store.
    """

    def __init__(self, context: Context) -> None:
        self._store = context["task_state_store"]

    def get(self, name: str) -> Any:
        """Return what was set last, or None."""
        return self._store.get(name)

    def set(self, name: str, value: dict[str, Any]) -> None:
        """Remember for as long as the run is kept: a job can wait for longer than the store's usual retention."""
        self._store.set(name, value, retention=NEVER_EXPIRE)
