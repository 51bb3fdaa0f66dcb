"""Airflow's cluster policy for a rehearsal: many runs at once."""

from __future__ import annotations


def dag_policy(dag):
    """Let every run of a test start, whatever its pipeline allows."""
    dag.max_active_runs = 500
    dag.max_active_tasks = 500
