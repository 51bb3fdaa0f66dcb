"""Airflow's cluster policies for a rehearsal: many runs at once, and a retry follows at once."""

from __future__ import annotations

import datetime as dt


def dag_policy(dag):
    """Let every run of a test start, whatever its pipeline allows."""
    dag.max_active_runs = 500
    dag.max_active_tasks = 500


def task_policy(task):
    """Try again after a second."""
    task.retry_delay = dt.timedelta(seconds=1)
    task.retry_exponential_backoff = False
    task.max_retry_delay = None
